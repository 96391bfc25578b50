"""Instruments on TCP: where they connect to us, and where we connect to them (or to their raw serial server)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from edge.ports.contract import Backoff, Line, Port, PortState
from edge.ports.pace import READ_BYTES, Pace, unread_bytes

CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 20
KEEP_ALIVE_AGAIN_S = 5
KEEP_ALIVE_TRIES = 3
USER_TIMEOUT_MS = 30_000
"""A peer that is gone without a word (cable, power) is noticed after this, or after 35 s when nothing was under way."""
_WORKS_AFTER_S = 5.0
_UNREAD_BYTES = 64 * 1024
"""So much of a flood waits in our kernel, the rest at its sender."""
_UNSENT_LIMIT = 1024 * 1024
"""An instrument that takes nothing is cut off before its answers fill the memory."""

log = structlog.get_logger()


class TcpConnection(asyncio.BufferedProtocol):
    """One socket; tells the line what happens unless a newer connection has replaced it."""

    def __init__(self, line: Line, link: str) -> None:
        self._line = line
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._raw: socket.socket | None = None
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._pace = Pace(self._stop_reading, self._go_on_reading, self._has_unread)
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self.peer = ""
        self.replaced = False
        self.heard = False
        """Has anything come?"""
        self._reason = ""

    # ------------------------------------------------------------------ what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        raw: socket.socket = transport.get_extra_info("socket")
        keep_alive(raw)
        self._raw = raw
        address = transport.get_extra_info("peername")
        self.peer = f"{address[0]}:{address[1]}" if address else ""

    def get_buffer(self, sizehint: int) -> memoryview:
        pace = self._pace
        return self._buffer if pace.read_bytes == READ_BYTES else self._buffer[: pace.read_bytes]

    def buffer_updated(self, nbytes: int) -> None:
        if not self.replaced:
            self.heard = True
            began = self._loop.time()
            self.took(bytes(self._buffer[:nbytes]))
            self._pace.took(nbytes, began)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pace.close()
        reason = self._reason or (str(exc) if exc else "the instrument closed the connection")
        if not self.ended.done():
            self.ended.set_result(reason)
        if not self.replaced:
            self.gone(reason)

    # ------------------------------------------------------------------ what becomes of it

    def took(self, data: bytes) -> None:
        """Bytes came."""
        self._line.received(data)

    def gone(self, reason: str) -> None:
        """The connection ended."""
        self._line.closed(reason)

    # ------------------------------------------------------------------ what the line calls

    def write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._pace.answered()
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > _UNSENT_LIMIT:
            self.close("the instrument takes no bytes")

    def pause(self) -> None:
        self._pace.pause()

    def resume(self) -> None:
        self._pace.resume()

    def close(self, reason: str) -> None:
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def _has_unread(self) -> bool:
        return self._raw is not None and unread_bytes(self._raw.fileno()) > 0

    def _stop_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _go_on_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


def keep_alive(connected: socket.socket) -> None:
    """Small frames go at once; a half-open connection ends by itself; unread bytes are few."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UNREAD_BYTES)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_AGAIN_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_ALIVE_TRIES)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


class TcpListenPort(Port):
    """The instrument connects. A port serves one instrument: its new connection replaces the old one at once, because

    an instrument that lost power comes back while its old connection still looks alive.
    """

    def __init__(self, link: str, host: str, port: int, peers: tuple[str, ...] = ()) -> None:
        self._link = link
        self._host = host
        self._port = port
        self._peers = peers
        self._current: TcpConnection | None = None
        self._backoff = Backoff(0.5, 10.0)

    async def serve(self, line: Line) -> None:
        while True:
            try:
                server = await asyncio.get_running_loop().create_server(
                    lambda: _Arrival(line, self._link, self), self._host, self._port, reuse_address=True
                )
            except OSError as error:
                self.state, self.reason = PortState.FAILED, error.strerror or str(error)
                log.warning("port.cannot_listen", link=self._link, port=self._port, reason=self.reason)
                await asyncio.sleep(self._backoff.next_s())
                continue
            break
        self._backoff.succeeded()
        self.state, self.reason = PortState.LISTENING, ""
        log.info("port.listening", link=self._link, host=self._host, port=self._port)
        try:
            await server.serve_forever()
        finally:
            self.state = PortState.CLOSED
            if self._current is not None:
                self._current.close("the box stops")

    def arrived(self, connection: TcpConnection, line: Line) -> None:
        if self._peers and connection.peer.rsplit(":", 1)[0] not in self._peers:
            log.warning("port.stranger_refused", link=self._link, peer=connection.peer)
            connection.replaced = True
            connection.close("not an address this link expects")
            return
        previous = self._current
        if previous is not None and not previous.ended.done():
            previous.replaced = True
            previous.close("replaced by a new connection")
            line.closed("replaced by a new connection")
            log.info("port.replaced", link=self._link, peer=connection.peer)
        self._current = connection
        self.state = PortState.OPEN
        line.opened(connection, connection.peer)

    def left(self, connection: TcpConnection) -> None:
        if self._current is connection:
            self._current = None
            self.state = PortState.LISTENING


class _Arrival(TcpConnection):
    """A connection that an instrument made."""

    def __init__(self, line: Line, link: str, port: TcpListenPort) -> None:
        super().__init__(line, link)
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._port.arrived(self, self._line)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._port.left(self)


_C = TypeVar("_C", bound=TcpConnection)


class DialledPort(Port, Generic[_C]):
    """We connect, and connect again for ever, with full jitter between the attempts."""

    def __init__(self, link: str, host: str, port: int) -> None:
        self._link = link
        self._host = host
        self._port = port
        self._backoff = Backoff(0.5, 30.0)

    async def dialled(self, make: Callable[[], _C]) -> _C | None:
        """A new connection, or None with the reason why there is none."""
        self.state = PortState.CONNECTING
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(make, self._host, self._port)
        except OSError as error:  # TimeoutError is one
            self.reason = error.strerror or str(error) or "no answer"
            log.debug("port.cannot_connect", link=self._link, host=self._host, port=self._port, reason=self.reason)
            return None
        return connection

    async def served(self, connection: _C) -> None:
        """Until it ends. A server that accepts and hangs up at once (its line is taken) counts as a failure."""
        began = asyncio.get_running_loop().time()
        try:
            self.reason = await connection.ended
        finally:
            if connection.heard or asyncio.get_running_loop().time() - began > _WORKS_AFTER_S:
                self._backoff.succeeded()
            connection.close("the box stops")
            self.state = PortState.CLOSED

    async def wait(self) -> None:
        await asyncio.sleep(self._backoff.next_s())


class TcpDialPort(DialledPort[TcpConnection]):
    """The instrument listens, or a serial server that passes raw bytes."""

    async def serve(self, line: Line) -> None:
        while True:
            connection = await self.dialled(lambda: TcpConnection(line, self._link))
            if connection is not None:
                self.state, self.reason = PortState.OPEN, ""
                line.opened(connection, connection.peer)
                await self.served(connection)
            await self.wait()
