"""Instruments on TCP: where they connect to us, and where we connect to them (or to their serial server)."""

from __future__ import annotations

import asyncio
import socket

import structlog

from edge.ports.contract import Backoff, Line, Port, PortState

_CONNECT_TIMEOUT_S = 10.0
_KEEP_ALIVE_S = 20
_USER_TIMEOUT_MS = 30_000
"""A peer that is gone without a word (cable, power) is noticed after this."""

log = structlog.get_logger()


class _TcpConnection(asyncio.Protocol):
    """One socket; tells the line what happens unless a newer connection has replaced it."""

    def __init__(self, line: Line, link: str, on_open: asyncio.Future[None] | None = None) -> None:
        self._line = line
        self._link = link
        self._transport: asyncio.Transport | None = None
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.peer = ""
        self.replaced = False
        self._reason = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        raw: socket.socket = transport.get_extra_info("socket")
        keep_alive(raw)
        address = transport.get_extra_info("peername")
        self.peer = f"{address[0]}:{address[1]}" if address else ""

    def data_received(self, data: bytes) -> None:
        if not self.replaced:
            self._line.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        reason = self._reason or (str(exc) if exc else "the instrument closed the connection")
        if not self.ended.done():
            self.ended.set_result(reason)
        if not self.replaced:
            self._line.closed(reason)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self, reason: str) -> None:
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()


def keep_alive(connected: socket.socket) -> None:
    """Small frames go at once; a half-open connection ends by itself."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)


class TcpListenPort(Port):
    """The instrument connects. A port serves one instrument: its new connection replaces the old one at once, because

    an instrument that lost power comes back while its old connection still looks alive.
    """

    def __init__(self, link: str, host: str, port: int, peers: tuple[str, ...] = ()) -> None:
        self._link = link
        self._host = host
        self._port = port
        self._peers = peers
        self._current: _TcpConnection | None = None
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

    def arrived(self, connection: _TcpConnection, line: Line) -> None:
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

    def left(self, connection: _TcpConnection) -> None:
        if self._current is connection:
            self._current = None
            self.state = PortState.LISTENING


class _Arrival(_TcpConnection):
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


class TcpDialPort(Port):
    """We connect, and connect again for ever."""

    def __init__(self, link: str, host: str, port: int) -> None:
        self._link = link
        self._host = host
        self._port = port
        self._backoff = Backoff(0.5, 30.0)

    async def serve(self, line: Line) -> None:
        while True:
            self.state = PortState.CONNECTING
            connection = await self._connect(line)
            if connection is not None:
                self._backoff.succeeded()
                self.state, self.reason = PortState.OPEN, ""
                try:
                    line.opened(connection, connection.peer)
                    self.reason = await connection.ended
                finally:
                    connection.close("the box stops")
                    self.state = PortState.CLOSED
            await asyncio.sleep(self._backoff.next_s())

    async def _connect(self, line: Line) -> _TcpConnection | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: _TcpConnection(line, self._link), self._host, self._port
                )
        except OSError as error:  # TimeoutError is one
            self.reason = error.strerror or str(error) or "no answer"
            log.debug("port.cannot_connect", link=self._link, host=self._host, port=self._port, reason=self.reason)
            return None
        return connection
