"""The wiring of the box, and the only place that knows every part."""

from __future__ import annotations

import asyncio
import signal
import sys

import structlog

from edge.clock import Clock, kernel_synchronised, restore, save
from edge.config import BoxConfig
from edge.errors import StoreError
from edge.forwarder import Forwarder
from edge.health import WRITE_EVERY_S, Health, Served, write_snapshot
from edge.ports.opening import port_of
from edge.recovery import recover
from edge.session import Session
from edge.store.reader import Reader
from edge.store.store import Store
from edge.supervise import supervise

_MEGABYTE = 1024 * 1024
_PRUNE_EVERY_S = 10.0
_SAVE_CLOCK_EVERY_S = 600.0
_WATCHED_S = 3.0
_GROUP_WAIT_S = 0.0
_SWITCH_INTERVAL_S = 0.001
"""The writer's thread gets the interpreter back sooner than by default (5 ms), which an ACK would wait for."""

log = structlog.get_logger()


class Daemon:
    """`run` until SIGTERM or SIGINT. Raises `StoreError` when the store cannot be opened."""

    def __init__(self, config: BoxConfig) -> None:
        self._config = config
        self._clock = Clock(synchronised=kernel_synchronised)
        self._clock_file = config.store.path.with_name(config.store.path.name + ".clock")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        settings = self._config.store
        with Store(
            settings.path,
            max_bytes=settings.max_megabytes * _MEGABYTE,
            ballast_bytes=settings.ballast_megabytes * _MEGABYTE,
            loop=loop,
            group_wait_s=_GROUP_WAIT_S,
        ) as store:
            reader = store.reader()
            try:
                await self._serve(store, reader)
            finally:
                reader.close()

    async def _serve(self, store: Store, reader: Reader) -> None:
        """Open frames become messages, then the ports open, then the cloud is looked for."""
        restore(self._clock, self._clock_file)
        newest = reader.newest_time()
        if newest is not None:
            self._clock.not_before(newest)
        served: dict[str, Served] = {}
        health = Health(self._config, store, reader, self._clock, served)
        forwarder = Forwarder(self._config, store, health.gateway_state, self._clock)
        store.on_mended = forwarder.announce
        open_frames = reader.open_frames()
        for section in self._config.links:
            session = Session(section, store, reader, self._clock, forwarder.announce, forwarder.desk)
            frames = open_frames.get(section.id, [])
            if frames:
                sequences = recover(section.id, session.interpreter, frames, store)
                log.warning("link.recovered", link=section.id, frames=len(frames), sequences=sequences)
            served[section.id] = Served(session, port_of(section, reader.newest_raw))
        tasks = [
            asyncio.create_task(supervise(f"port {link}", lambda each=each: each.port.serve(each.session)))  # type: ignore[misc]
            for link, each in served.items()
        ]
        tasks.append(asyncio.create_task(supervise("forwarder", forwarder.run)))
        tasks.append(asyncio.create_task(supervise("pruning", lambda: self._prune(store))))
        tasks.append(asyncio.create_task(supervise("clock", self._save_clock)))
        tasks.append(asyncio.create_task(supervise("health", lambda: self._report(health, forwarder))))
        log.info("box.started", gateway=self._config.gateway.id, epoch=store.epoch, links=len(served))
        await _stop_signal()
        log.info("box.stopping")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        save(self._clock, self._clock_file)

    async def _save_clock(self) -> None:
        """For a box that wakes up without a clock: it is later than this."""
        while True:
            await asyncio.sleep(_SAVE_CLOCK_EVERY_S)
            save(self._clock, self._clock_file)

    async def _prune(self, store: Store) -> None:
        def done(_dropped: int | None, error: StoreError | None) -> None:
            if error is not None:
                log.warning("store.cannot_prune", reason=str(error))

        while True:
            store.prune(self._clock.now(), self._config.store.keep_delivered_days, done)
            await asyncio.sleep(_PRUNE_EVERY_S)

    async def _report(self, health: Health, forwarder: Forwarder) -> None:
        """Often in the first seconds, when somebody watches it start; then now and then."""
        loop = asyncio.get_running_loop()
        watched_until = loop.time() + _WATCHED_S
        while True:
            cloud = {"connected": forwarder.connected, "reason": forwarder.reason, **forwarder.counts}
            write_snapshot(self._config.status_file, health.snapshot(cloud))
            await asyncio.sleep(WRITE_EVERY_S if loop.time() > watched_until else WRITE_EVERY_S / 20)


async def _stop_signal() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
