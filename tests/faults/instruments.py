"""Analyzers that keep a ledger of what the box acknowledged; one thread each, bytes written by hand."""

from __future__ import annotations

import threading
import time
from collections import Counter

from tests.support.analyzer import ACK, EOT, Analyzer, HungUp, Silent, frame, oru, over_tcp, xn_result

_AGAIN_AFTER_S = 0.05
"""A refused instrument waits ten seconds by the standard; here it must only not spin."""

Key = tuple[str, str]
"""Specimen and value: what a message says, once in a run."""


def frames_of(key: Key) -> list[bytes]:
    specimen, value = key
    records = xn_result(specimen, value)
    return [frame(number, each + b"\r") for number, each in enumerate(records, start=1)]


class Instrument(threading.Thread):
    """Reports without end (or `limit` messages); what was not acknowledged to its end it sends again, as they do.

    `offered` counts how often a message's last frame went out without being refused: so often it may be stored.
    """

    def __init__(
        self, link: str, port: int, number: int, *, limit: int | None = None, hl7: bool = False, every_s: float = 0.0
    ) -> None:
        super().__init__(daemon=True, name=f"instrument-{link}")
        self.link = link
        self._port, self._number, self._limit, self._hl7, self._every_s = port, number, limit, hl7, every_s
        self._over = threading.Event()
        self.begun = 0
        self.offered: Counter[Key] = Counter()
        self.finished: list[Key] = []
        self.acknowledged: Counter[bytes] = Counter()
        self.frames = self.refused = self.hung_up = self.silent = 0

    def key(self, number: int) -> Key:
        return f"{self._number + 10}{number:07}", f"{number % 89 + 1}.{number % 90 + 10}"

    def run(self) -> None:
        while not self._is_over():
            try:
                analyzer = over_tcp("127.0.0.1", self._port, within_s=120)
            except OSError:
                continue
            try:
                self.talk(analyzer)
            except HungUp:
                self.hung_up += 1
            except Silent:
                self.silent += 1
            finally:
                analyzer.close()

    def talk(self, analyzer: Analyzer) -> None:
        """Message after message on one connection. Raises HungUp, Silent."""
        while not self._is_over():
            key = self.key(len(self.finished))
            self.begun = len(self.finished) + 1
            if (self._one_hl7 if self._hl7 else self._one)(analyzer, key):
                self.finished.append(key)
                if self._every_s:
                    self._over.wait(self._every_s)
            else:
                self.refused += 1
                self._over.wait(_AGAIN_AFTER_S)

    def _is_over(self) -> bool:
        return self._over.is_set() or (self._limit is not None and len(self.finished) >= self._limit)

    def _one(self, analyzer: Analyzer, key: Key) -> bool:
        if analyzer.begin() != ACK:
            return False
        raws = frames_of(key)
        for raw in raws:
            last = raw is raws[-1]
            self.offered[key] += last
            if analyzer.put(raw) != ACK:
                self.offered[key] -= last
                analyzer.send(EOT)
                return False
            self.acknowledged[raw] += 1
            self.frames += 1
        analyzer.send(EOT)
        return True

    def _one_hl7(self, analyzer: Analyzer, key: Key) -> bool:
        self.offered[key] += 1
        analyzer.send(oru(f"{len(self.finished)}", *key))
        if b"MSA|AA" in analyzer.take_block():
            self.frames += 1
            return True
        self.offered[key] -= 1
        return False

    def finish(self, within_s: float = 120.0) -> None:
        """All of `limit` messages."""
        self.join(within_s)
        assert not self.is_alive(), f"{self.link} stands at {len(self.finished)} of {self._limit}"

    def end(self) -> None:
        self._over.set()
        self.join(60)
        assert not self.is_alive(), f"{self.link} does not end"


def started(ports: dict[str, int], *, limit: int | None = None, every_s: float = 0.0) -> list[Instrument]:
    """One instrument for each link, running."""
    made = [
        Instrument(link, port, number, limit=limit, every_s=every_s)
        for number, (link, port) in enumerate(ports.items())
    ]
    for each in made:
        each.start()
    return made


def finished(instruments: list[Instrument]) -> int:
    return sum(len(each.finished) for each in instruments)


def more(instruments: list[Instrument], by: int, within_s: float = 60.0) -> None:
    """Every instrument has finished `by` more messages."""
    target = [len(each.finished) + by for each in instruments]
    deadline = time.monotonic() + within_s
    while any(len(each.finished) < many for each, many in zip(instruments, target, strict=True)):
        assert time.monotonic() < deadline, f"receiving did not go on: {[len(each.finished) for each in instruments]}"
        time.sleep(0.005)
