"""How much of the loop's time one line may take: what floods waits, what waits for its answer never does.

All lines share one event loop. A read takes at most `READ_BYTES`, so that no line holds a turn for long; and a line
that sends without waiting for us (noise at full speed, frames without end, a replayed capture) gets a tenth of the
time, while its bytes wait in the kernel and then at the sender. An instrument that waits for its acknowledgement is
measured from answer to answer and is never held up, nor is a serial line at any rate that a UART has.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from collections.abc import Callable

READ_BYTES = 4096
LITTLE_BYTES = 256
_SHARE = 0.1
_AHEAD_S = 0.02
"""So much of our time may be taken in one go, seconds."""
_ASK_BELOW_S = 0.018
"""With less left, a line is asked whether it waits at all; one frame takes a few tenths of a millisecond."""


def unread_bytes(descriptor: int) -> int:
    """What came on a socket or a tty and was not read yet; 0 where it is gone."""
    try:
        return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:
        return 0


class Pace:
    """`stop` and `go` switch the reading of one connection; it is on at first.

    `unread`: whether bytes of the line wait to be read. Who sent more before our answer was there does not wait for it:
    its answers buy it no time (a query repeated without end, a replayed capture).
    """

    def __init__(
        self, stop: Callable[[], None], go: Callable[[], None], unread: Callable[[], bool] = lambda: False
    ) -> None:
        self._stop = stop
        self._go = go
        self._unread = unread
        self.read_bytes = READ_BYTES
        """How much to read at once: little of a line that had to rest, whose every byte may ask for an answer."""
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
        """We are about to write something: who waits for it may be at the line."""
        self._answered = self._credit_s >= _ASK_BELOW_S or not self._unread()

    def took(self, size: int, began: float) -> None:
        """A read of `size` bytes was dealt with from `began` (loop time) until now."""
        now = self._loop.time()
        if self._answered and size < self.read_bytes:
            self._answered = False
            self._credit_s = _AHEAD_S
            self._counted_at = now
            self.read_bytes = READ_BYTES
            return
        earned = (began - self._counted_at) * _SHARE
        self._credit_s = min(_AHEAD_S, self._credit_s + earned) - (now - began)
        self._counted_at = now
        if self._credit_s < 0 and self._rest is None:
            self.rests += 1
            self.read_bytes = LITTLE_BYTES
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
