"""Looking at a line while it talks. Nothing is kept or copied while nobody looks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from edge.links import Served

_MOST_WAITING_BYTES = 256 * 1024
_JOINED_S = 0.05
"""Bytes of one direction that follow each other this closely are shown as one piece."""

Listener = Callable[[bool, bytes], None]


@dataclass(slots=True)
class Piece:
    """Bytes of one direction as they passed."""

    at: datetime
    from_instrument: bool
    data: bytes
    lost: int = 0
    """Bytes before these that whoever looks was too slow for."""


class Taps:
    """Gives the bytes of each line to those who look. A session that a reload replaced is tapped again (`renew`)."""

    def __init__(self, served: Mapping[str, Served]) -> None:
        self._served = served
        self._listeners: dict[str, tuple[Listener, ...]] = {}

    def add(self, link: str, listener: Listener) -> None:
        self._listeners[link] = (*self._listeners.get(link, ()), listener)
        self.renew(link)

    def remove(self, link: str, listener: Listener) -> None:
        self._listeners[link] = tuple(each for each in self._listeners.get(link, ()) if each != listener)
        self.renew(link)

    def renew(self, link: str) -> None:
        served = self._served.get(link)
        if served is None:
            return
        listeners = self._listeners.get(link, ())
        if len(listeners) < 2:
            served.session.tap = listeners[0] if listeners else None
            return

        def tell_all(from_instrument: bool, data: bytes) -> None:
            for each in listeners:
                each(from_instrument, data)

        served.session.tap = tell_all


class Watch:
    """One who looks at one line: an iterator over its pieces. Slow readers lose the oldest bytes, never the line."""

    def __init__(self, taps: Taps, link: str) -> None:
        self._taps = taps
        self._link = link
        self._waiting: deque[Piece] = deque()
        self._bytes = self._lost = 0
        self._something = asyncio.Event()

    def __enter__(self) -> Watch:
        self._taps.add(self._link, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        self._taps.remove(self._link, self._heard)

    def _heard(self, from_instrument: bool, data: bytes) -> None:
        self._waiting.append(Piece(datetime.now(UTC), from_instrument, bytes(data)))
        self._bytes += len(data)
        while self._bytes > _MOST_WAITING_BYTES and len(self._waiting) > 1:
            dropped = len(self._waiting.popleft().data)
            self._bytes -= dropped
            self._lost += dropped
        self._something.set()

    async def pieces(self, within_s: float) -> list[Piece]:
        """What passed, joined where it belongs together; [] when nothing did for so long."""
        self._taps.renew(self._link)
        try:
            async with asyncio.timeout(within_s):
                await self._something.wait()
        except TimeoutError:
            return []
        await asyncio.sleep(_JOINED_S)
        return self.rest()

    def rest(self) -> list[Piece]:
        """What has passed and was not given out yet."""
        self._something.clear()
        waiting, self._waiting = self._waiting, deque()
        lost, self._bytes, self._lost = self._lost, 0, 0
        found: list[Piece] = []
        for each in waiting:
            last = found[-1] if found else None
            if last is not None and last.from_instrument == each.from_instrument:
                apart_s = (each.at - last.at).total_seconds()
                if apart_s < _JOINED_S and len(last.data) < 4096:
                    last.data += each.data
                    continue
            found.append(each)
        if found:
            found[0].lost = lost
        return found
