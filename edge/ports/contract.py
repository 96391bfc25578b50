"""What a port is: it brings an instrument's bytes to its line and takes the line's bytes to the instrument.

A port opens, re-opens and closes by itself and knows nothing of protocols. It calls its `Line` on the event loop:
`opened`, then `received` any number of times, then `closed`, and from the start again.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Protocol


class PortState(StrEnum):
    """`LinkState.state` in the uplink contract."""

    OPEN = "open"
    LISTENING = "listening"
    CONNECTING = "connecting"
    CLOSED = "closed"
    FAILED = "failed"


class Connection(Protocol):
    """One open connection to an instrument."""

    def write(self, data: bytes) -> None:
        """Send now; what the instrument does not take is buffered (answers are small)."""

    def pause(self) -> None:
        """Stop reading: the line has more than it can store."""

    def resume(self) -> None:
        """Read again."""

    def close(self, reason: str) -> None:
        """Drop the connection; the port opens the next one."""


class Line(Protocol):
    """What a port serves; `edge.session` is one."""

    def opened(self, connection: Connection, peer: str) -> None: ...

    def received(self, data: bytes) -> None: ...

    def closed(self, reason: str) -> None: ...


class Port(ABC):
    """One way to one instrument."""

    state: PortState = PortState.CLOSED
    reason: str = ""
    """Why it is not open, in words."""

    @abstractmethod
    async def serve(self, line: Line) -> None:
        """Until cancelled. An error that a second try may cure is retried inside; what comes out is supervised."""


_SHORTEST_S = 0.05
"""A port that fails at once is not tried in a hot loop, however the dice fall."""


class Backoff:
    """Waits with full jitter: anything from 0 to a bound that doubles with every failure.

    After a power cut everything dials at once; equal waits would keep it so.
    """

    def __init__(self, first_s: float, longest_s: float, pick: random.Random | None = None) -> None:
        self._first_s = first_s
        self.longest_s = longest_s
        self._pick = pick or random.Random()  # noqa: S311 - spreads load, guards no secret
        self._failures = 0

    def next_s(self) -> float:
        bound = min(self.longest_s, self._first_s * 2 ** min(self._failures, 32))
        self._failures += 1
        return max(_SHORTEST_S, self._pick.uniform(0, bound))

    def succeeded(self) -> None:
        self._failures = 0
