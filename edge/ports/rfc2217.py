"""Instruments behind a serial server that lets its line be set over the network (RFC 2217)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from edge.config import Rfc2217
from edge.ports.com_port import ComPort, ComPortEvent, LineSettings, ModemLines, Ready, Unusable
from edge.ports.contract import Line, PortState
from edge.ports.tcp import DialledPort, TcpConnection

_UNSENT_LIMIT = 1024 * 1024

log = structlog.get_logger()


class Rfc2217Port(DialledPort["_ServerConnection"]):
    """Open when the server has confirmed every setting; connects again for ever."""

    def __init__(self, link: str, settings: Rfc2217) -> None:
        super().__init__(link, settings.host, settings.port)
        self._settings = LineSettings(
            settings.baud_rate, settings.data_bits, settings.parity, settings.stop_bits, settings.flow_control
        )

    async def serve(self, line: Line) -> None:
        while True:
            connection = await self.dialled(lambda: _ServerConnection(line, self._link, self._settings, self))
            if connection is not None:
                await self.served(connection)
                self.state = PortState.CLOSED if connection.ready else PortState.FAILED
            await self.wait()

    def became_ready(self) -> None:
        self.state, self.reason = PortState.OPEN, ""

    def heard_faults(self, faults: Mapping[str, int]) -> None:
        """The wire's own errors, where `edge status` shows them: a wrong parity looks like this."""
        self.reason = "on the wire: " + ", ".join(f"{count} x {name}" for name, count in sorted(faults.items()))


class _ServerConnection(TcpConnection):
    """The line hears of it when the settings are confirmed, and only of the instrument's bytes."""

    def __init__(self, line: Line, link: str, settings: LineSettings, port: Rfc2217Port) -> None:
        super().__init__(line, link)
        self._port = port
        self._com_port = ComPort(settings, self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._faults = 0
        self.ready = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._flush()

    def took(self, data: bytes) -> None:
        self._follow(self._com_port.receive(data, self._loop.time()))

    def gone(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.ready:
            self._line.closed(reason)

    def write(self, data: bytes) -> None:
        self._com_port.write(data)
        if self._com_port.unsent > _UNSENT_LIMIT:
            self.close("the serial server takes no bytes")
        self._flush()

    def _follow(self, events: list[ComPortEvent]) -> None:
        for event in events:
            if isinstance(event, bytes):
                self._line.received(event)
            elif isinstance(event, Ready):
                self.ready = True
                self._port.became_ready()
                self._line.opened(self, self.peer)
            elif isinstance(event, ModemLines):
                log.info("port.modem_lines", link=self._link, on=event.on)
            elif isinstance(event, Unusable):
                log.warning("port.serial_server", link=self._link, peer=self.peer, reason=event.reason)
                self.close(event.reason)
        if (faults := self._com_port.line_faults.total()) != self._faults:
            self._faults = faults
            self._port.heard_faults(self._com_port.line_faults)
        self._flush()

    def _flush(self) -> None:
        data = self._com_port.bytes_to_send()
        if data:
            super().write(data)
        if self._timer is None and not self.ended.done():
            self._timer = self._loop.call_at(self._com_port.wake_at, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self._follow(self._com_port.wake(self._loop.time()))
