"""How much of the loop's time one line may take: what floods waits, what waits for its answer never does.

All lines share one event loop. A read takes at most `READ_BYTES`, so that no line holds a turn for long; and a line
that sends without waiting for us (noise at full speed, frames without end, a replayed capture) gets a tenth of the
time, while its bytes wait in the kernel and then at the sender. An instrument that waits for its acknowledgement is
measured from answer to answer and is never held up, nor is a serial line at any rate that a UART has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

READ_BYTES = 4096
_SHARE = 0.1
_AHEAD_S = 0.02
"""So much of our time may be taken in one go, seconds."""


class Pace:
    """`stop` and `go` switch the reading of one connection; it is on at first."""

    def __init__(self, stop: Callable[[], None], go: Callable[[], None]) -> None:
        self._stop = stop
        self._go = go
        self._loop = asyncio.get_running_loop()
        self._credit_s = _AHEAD_S
        self._counted_at = self._loop.time()
        self._answered = False
        self._line_is_full = False
        self._rest: asyncio.TimerHandle | None = None
        self.rests = 0
        """How often the line was made to wait."""

    def pause(self) -> None:
        """The line has more than it can store."""
        if not self._line_is_full:
            self._line_is_full = True
            if self._rest is None:
                self._stop()

    def resume(self) -> None:
        if self._line_is_full:
            self._line_is_full = False
            if self._rest is None:
                self._go()

    def answered(self) -> None:
        """We wrote something: who waits for it may be at the line."""
        self._answered = True

    def took(self, size: int, began: float) -> None:
        """A read of `size` bytes was dealt with from `began` (loop time) until now."""
        now = self._loop.time()
        if self._answered and size < READ_BYTES:
            self._answered = False
            self._credit_s = _AHEAD_S
            self._counted_at = now
            return
        earned = (began - self._counted_at) * _SHARE
        self._credit_s = min(_AHEAD_S, self._credit_s + earned) - (now - began)
        self._counted_at = now
        if self._credit_s < 0 and self._rest is None:
            self.rests += 1
            if not self._line_is_full:
                self._stop()
            self._rest = self._loop.call_later(-self._credit_s / _SHARE, self._rested)

    def _rested(self) -> None:
        self._rest = None
        if not self._line_is_full:
            self._go()

    def close(self) -> None:
        """No more timers."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
