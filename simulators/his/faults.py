"""How this HIS misbehaves on request: slow, wrong, deaf; for the next messages of a kind."""

from __future__ import annotations

import threading
from dataclasses import dataclass

HOW = ("slow", "lost_before", "lost_after", "refuse", "wrong_number", "garbage")
"""lost_before: it hangs up and has done nothing; lost_after: it has done it and hangs up; refuse: AE 207; wrong_number:
answers to another message; garbage: answers no HL7."""


@dataclass(slots=True)
class Fault:
    """For the `next` messages whose kind begins with `kind` (``SRM^S01``, ``DFT``; empty: all)."""

    how: str
    kind: str = ""
    next: int = 1
    slow_s: float = 0.0


class Temper:
    """The faults that are due."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def set(self, fault: Fault) -> None:
        if fault.how not in HOW:
            raise ValueError(f"{fault.how} is none of {', '.join(HOW)}")
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def due(self, kind: str) -> Fault | None:
        """The fault for this message, counted down."""
        with self._lock:
            found = next((each for each in self._faults if kind.startswith(each.kind) and each.next > 0), None)
            if found is not None:
                found.next -= 1
            return found
