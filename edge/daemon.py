"""The wiring of the box, and the only place that knows every part."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from typing import Any

import structlog

from edge import service_manager
from edge.clock import Clock, kernel_synchronised, restore, save
from edge.config import BoxConfig
from edge.config_start import Chosen
from edge.console.service import Console
from edge.errors import StoreError
from edge.forwarder import Forwarder
from edge.health import WRITE_EVERY_S, Health, Served, write_snapshot
from edge.links import Links
from edge.reload import Reload
from edge.reload_desk import ReloadDesk
from edge.store.reader import Reader
from edge.store.store import Store
from edge.supervise import supervise, watch_loop

_MEGABYTE = 1024 * 1024
_PRUNE_EVERY_S = 10.0
_SAVE_CLOCK_EVERY_S = 600.0
_WATCHED_S = 3.0
_SWITCH_INTERVAL_S = 0.001
"""The writer's thread gets the interpreter back sooner than by default (5 ms), which an ACK would wait for."""

log = structlog.get_logger()


class Daemon:
    """`run` until SIGTERM or SIGINT. Raises `StoreError` when the store cannot be opened."""

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self._config = chosen.config
        self._clock = Clock(synchronised=kernel_synchronised)
        self._clock_file = chosen.config.store.path.with_name(chosen.config.store.path.name + ".clock")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        watch_loop(loop)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        settings = self._config.store
        with Store(
            settings.path,
            max_bytes=settings.max_megabytes * _MEGABYTE,
            ballast_bytes=settings.ballast_megabytes * _MEGABYTE,
            loop=loop,
        ) as store:
            self._chosen.begin()
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
        links = Links(store, reader, self._clock, forwarder.announce, forwarder.desk, served)
        open_frames = reader.open_frames()
        for section in self._config.links:
            links.start(section, open_frames.get(section.id, ()))
        forwarding = _Forwarding(forwarder)

        def snapshot() -> dict[str, Any]:
            return health.snapshot({"connected": forwarder.connected, "reason": forwarder.reason, **forwarder.counts})

        def report() -> None:
            try:
                write_snapshot(self._config.status_file, snapshot())
            except OSError as error:  # a disk that is full or gone: the box goes on, its page and the cloud hear it
                log.warning("status.not_written", reason=str(error))

        async def take(config: BoxConfig) -> None:
            self._config = config
            await forwarding.use(config)

        reload = Reload(self._config, self._chosen.versions, links, self._clock, store.reader, take, forwarder)
        desk = ReloadDesk(self._chosen.file, reload, report)
        health.configuration = lambda: {**reload.condition(), "answer": desk.answer}
        reload.go_on(self._chosen)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, desk.called)
        console = Console(lambda: self._config, store, self._clock, served, snapshot, desk)
        tasks = [
            asyncio.create_task(supervise("console", console.run)),
            asyncio.create_task(supervise("watchdog", service_manager.watch)),
            asyncio.create_task(supervise("pruning", lambda: self._prune(store))),
            asyncio.create_task(supervise("clock", self._save_clock)),
            asyncio.create_task(supervise("health", lambda: _report(report))),
        ]
        gc.collect()
        gc.freeze()  # what the start made stays: searching all of it again (15 ms) would make an instrument wait
        log.info("box.started", gateway=self._config.gateway.id, epoch=store.epoch, links=len(served))
        service_manager.tell("READY=1")
        await _stop_signal()
        service_manager.tell("STOPPING=1")
        log.info("box.stopping")
        await reload.stopping()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, links.close(), forwarding.stop(), return_exceptions=True)
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


class _Forwarding:
    """The forwarder's task, begun anew when another broker is configured."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._task = asyncio.create_task(supervise("forwarder", forwarder.run))

    async def use(self, config: BoxConfig) -> None:
        if self._forwarder.use(config):
            await self.stop()
            self._task = asyncio.create_task(supervise("forwarder", self._forwarder.run))

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


async def _report(report: Callable[[], None]) -> None:
    """Often in the first seconds, when somebody watches it start; then now and then."""
    loop = asyncio.get_running_loop()
    watched_until = loop.time() + _WATCHED_S
    while True:
        report()
        await asyncio.sleep(WRITE_EVERY_S if loop.time() > watched_until else WRITE_EVERY_S / 20)


async def _stop_signal() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
