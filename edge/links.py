"""The links that run: each a session on a port in a task of its own, taken into service and out of it one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from edge.clock import Clock
from edge.config import LinkSection
from edge.desk import CloudDesk
from edge.ports.contract import Port
from edge.ports.opening import port_of
from edge.recovery import recover
from edge.session import Session
from edge.store.reader import Reader
from edge.store.rows import OpenFrame
from edge.store.store import Store
from edge.supervise import supervise

_LOOK_EVERY_S = 0.02
_CLOSES_WITHIN_S = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Served:
    """One link as the daemon runs it."""

    section: LinkSection
    session: Session
    port: Port
    task: asyncio.Task[None]


class Links:
    """Keeps `served`, by link, as it is."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        clock: Clock,
        announce: Callable[[str], None],
        desk: CloudDesk | None,
        served: dict[str, Served],
    ) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._announce = announce
        self._desk = desk
        self._served = served

    @property
    def served(self) -> Mapping[str, Served]:
        return self._served

    def start(self, section: LinkSection, frames: Sequence[OpenFrame] = ()) -> None:
        """Open its port. `frames`: acknowledged before the box was stopped in the middle of a message."""
        session = Session(section, self._store, self._reader, self._clock, self._announce, self._desk)
        if frames:
            sequences = recover(section.id, session.interpreter, frames, self._store)
            log.warning("link.recovered", link=section.id, frames=len(frames), sequences=sequences)
        port = port_of(section, self._reader.newest_raw)
        task = asyncio.create_task(supervise(f"port {section.id}", lambda: port.serve(session)))
        self._served[section.id] = Served(section, session, port, task)

    async def stop(self, link: str, patience_s: float) -> None:
        """Out of service when its current message has ended, or after `patience_s`.

        What was acknowledged of a message that is cut off is kept as an incomplete one; the instrument sends it again.
        Messages that the cloud has not confirmed are sent as before.
        """
        served = self._served[link]
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        while served.session.in_message and loop.time() < until:
            await asyncio.sleep(_LOOK_EVERY_S)
        log.info("link.stopped", link=link, in_message=served.session.in_message)
        served.task.cancel()
        await asyncio.wait([served.task])
        until = loop.time() + _CLOSES_WITHIN_S
        while served.session.is_connected and loop.time() < until:
            await asyncio.sleep(_LOOK_EVERY_S / 10)
        served.session.end()
        del self._served[link]

    async def restart(self, section: LinkSection, patience_s: float) -> None:
        """With other settings, or for the first time."""
        if section.id in self._served:
            await self.stop(section.id, patience_s)
        self.start(section)

    async def close(self) -> None:
        """The box stops."""
        tasks = [each.task for each in self._served.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
