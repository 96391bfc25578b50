"""Serial lines that speak are read a few hundred times a second together instead of being waited for one by one.

A UART hands over fourteen bytes at a time: at 115200 baud that is a wake-up every 1.2 ms for each line, 53,000 a second
for 64, of which all but the last of a frame have nothing to answer. So a line that spoke is taken out of the selector
and read with its neighbours at each turn; after some quiet turns it goes back. What an instrument waits for is late by
one turn at most.
"""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary

TURN_S = 0.004
_QUIET_TURNS = 8


class Polled(Protocol):
    """A line that is read at each turn until it is quiet."""

    quiet_turns: int

    def read(self) -> bool:
        """Take what is there; False when there was nothing."""

    def wait_for_more(self) -> None:
        """Back into the selector."""


class Polling:
    """The lines of one event loop that speak now."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._speaking: dict[Polled, None] = {}
        self._asked = False

    def add(self, line: Polled) -> None:
        line.quiet_turns = 0
        self._speaking[line] = None
        if not self._asked:
            self._asked = True
            self._loop.call_later(TURN_S, self._turn)

    def discard(self, line: Polled) -> None:
        self._speaking.pop(line, None)

    def _turn(self) -> None:
        try:
            for line in list(self._speaking):
                if line in self._speaking:  # not closed or held up by what another one said
                    self._read(line)
        finally:  # whatever a line does, the next turn comes
            self._asked = bool(self._speaking)
            if self._asked:
                self._loop.call_later(TURN_S, self._turn)

    def _read(self, line: Polled) -> None:
        if line.read():
            line.quiet_turns = 0
            return
        line.quiet_turns += 1
        if line.quiet_turns > _QUIET_TURNS and line in self._speaking:
            del self._speaking[line]
            line.wait_for_more()


_polling: WeakKeyDictionary[asyncio.AbstractEventLoop, Polling] = WeakKeyDictionary()


def polling() -> Polling:
    """The one of the running loop."""
    loop = asyncio.get_running_loop()
    found = _polling.get(loop)
    if found is None:
        found = _polling[loop] = Polling()
    return found
