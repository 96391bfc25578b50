"""One link on one port: its acts and its timer in turns of the event loop, and its bytes to the instrument.

What a link finds is handed to `_take`; a fault of ours begins the line again, with a fresh link, and harms no other.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import structlog

from edge.faults import where
from edge.ports.contract import Connection
from protocols.links.contract import Link, LinkEvent

_NOT_YET_S = 0.05

log = structlog.get_logger()


class Turns(ABC):
    """Of one link. Everything runs on the event loop."""

    def __init__(self, link_id: str, new_link: Callable[[], Link]) -> None:
        self.link_id = link_id
        self._new_link = new_link
        self._link = new_link()
        self._connection: Connection | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.tap: Callable[[bool, bytes], None] | None = None
        """Told of all bytes of the line (from the instrument?, bytes) while somebody looks at it."""
        if self._link.wake_at is not None:  # it speaks first: a device that is polled, whether its line is open or not
            self._loop.call_soon(self._woken)

    @abstractmethod
    def _take(self, events: Sequence[LinkEvent]) -> None:
        """What the link found, in its order."""

    @abstractmethod
    def _begins_again(self) -> None:
        """After a fault of ours, beside the fresh link: what was durable becomes an incomplete message."""

    def _step(self, act: Callable[..., list[LinkEvent]], *arguments: object) -> None:
        """One act on the link (its time comes last), what follows from it, and its bytes to the port."""
        now = self._loop.time()
        try:
            events = act(*arguments, now)
            if events:
                self._take(events)
            self._flush(now)
        except Exception as fault:  # outer loop of the session: one bad link never harms another
            self._failed(fault)

    def _say(self, payloads: Sequence[bytes], note: Callable[[list[int]], None]) -> None:
        """Into the link's queue and out. `note` gets their tokens before any of them can be said to be sent."""

        def act(now: float) -> list[LinkEvent]:
            note([self._link.send(each, now) for each in payloads])
            return []

        if payloads:
            self._step(act)

    def _flush(self, now: float) -> None:
        while True:
            data = self._link.bytes_to_send()
            if data and self._connection is not None:
                if self.tap is not None:
                    self.tap(False, data)
                self._connection.write(data)
            wake_at = self._link.wake_at
            if wake_at is None:
                return
            if wake_at > now:
                self._wake_at(wake_at)
                return
            before = self._link.wake_at
            self._take(self._link.wake(now))
            if self._link.wake_at == before:  # it has nothing to do yet
                self._wake_at(now + _NOT_YET_S)
                return

    def _wake_at(self, moment: float) -> None:
        """Waking early is harmless, so that a timer that is due earlier stays: most frames move only the deadline."""
        if self._timer is not None:
            if self._timer.when() <= moment:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self._step(self._link.wake)

    def _failed(self, fault: Exception) -> None:
        log.error("session.fault", link=self.link_id, fault=where(fault))
        self._link = self._new_link()
        self._begins_again()
        if self._connection is not None:
            self._connection.close("the box begins this line again")
