"""The console as the daemon runs it: one application on a socket file beside the store, and on TCP if configured."""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from edge.clock import Clock
from edge.config import BoxConfig
from edge.faults import where
from edge.ports.contract import Backoff
from edge.store.store import Store

if TYPE_CHECKING:
    from edge.console.opened import Opened
    from edge.links import Served
    from edge.reload_desk import ReloadDesk

log = structlog.get_logger()


def socket_file(store: Path) -> Path:
    return store.with_name(store.name + ".console")


def captures_folder(store: Path) -> Path:
    return store.with_name(store.name + ".captures")


class Console:
    """`run` until cancelled. That it cannot listen harms nothing else: it is said in the log and tried again."""

    def __init__(
        self,
        config: Callable[[], BoxConfig],
        store: Store,
        clock: Clock,
        served: Mapping[str, Served],
        snapshot: Callable[[], dict[str, Any]],
        desk: ReloadDesk | None = None,
    ) -> None:
        """`config` is asked each time: a reload changes it. `snapshot` is what `edge status` shows."""
        self._desk = desk
        self._config, self._store, self._clock = config, store, clock
        self._served, self._snapshot = served, snapshot
        self._opening: asyncio.Task[Opened] | None = None

    async def run(self) -> None:
        section = self._config().console
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._on_socket_file())
                if section.port is not None:
                    group.create_task(self._on_tcp(section.host, section.port))
        finally:
            opening, self._opening = self._opening, None
            if opening is not None:
                await (await opening).close()

    async def _arrived(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The pages are loaded when somebody comes for the first time: on most boxes nobody does for weeks."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        try:
            opened = await asyncio.shield(self._opening)
        except Exception as fault:  # outer loop of a client: the next one finds it opened or tries again
            log.error("console.cannot_open", fault=where(fault))
            self._opening = None
            writer.close()
            return
        await opened.http.serve(reader, writer)

    async def _open(self) -> Opened:
        loop = asyncio.get_running_loop()
        opened = await loop.run_in_executor(None, importlib.import_module, "edge.console.opened")
        made: Opened = opened.open_console(
            self._config,
            self._store,
            self._clock,
            self._served,
            self._snapshot,
            captures_folder(self._store.path),
            self._desk,
        )
        return made

    async def _on_tcp(self, host: str, port: int) -> None:
        backoff = Backoff(0.5, 30.0)
        while True:
            try:
                server = await asyncio.start_server(self._arrived, host, port, limit=64 * 1024)
                break
            except OSError as error:
                log.warning("console.cannot_listen", port=port, reason=error.strerror or str(error))
                await asyncio.sleep(backoff.next_s())
        log.info("console.listening", host=host, port=port)
        async with _closed(server):
            await asyncio.Event().wait()

    async def _on_socket_file(self) -> None:
        file = socket_file(self._store.path)
        try:
            listening = _listening(file)
        except OSError as error:
            log.warning("console.no_socket_file", file=str(file), reason=error.strerror or str(error))
            return
        server = await asyncio.start_unix_server(self._arrived, sock=listening, limit=64 * 1024)
        try:
            async with _closed(server):
                await asyncio.Event().wait()
        finally:
            file.unlink(missing_ok=True)


@asynccontextmanager
async def _closed(server: asyncio.Server) -> AsyncIterator[None]:
    """Without waiting for its clients: streams never end by themselves."""
    try:
        yield
    finally:
        server.close()


def _listening(file: Path) -> socket.socket:
    """For the daemon's user and root only. The daemon has the store's lock: what lies there is of a dead one."""
    file.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(made.fileno(), 0o600)  # the file gets these rights at its birth
        with ShortPath(file) as path:
            made.bind(path)
        os.chmod(file, 0o600)
        made.listen(16)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


class ShortPath:
    """A path of a socket file that fits into its 108 bytes, however deep the folder lies."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._folder = -1

    def __enter__(self) -> str:
        self._folder = os.open(self._file.parent, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._folder}/{self._file.name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)
