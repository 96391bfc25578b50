"""Instruments on a serial line: a tty, or a pty that stands in for one. pyserial sets the line, asyncio reads it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import serial
import structlog

from edge.config import SerialLine
from edge.ports.contract import Backoff, Line, Port, PortState

_PARITY = {
    "none": serial.PARITY_NONE,
    "even": serial.PARITY_EVEN,
    "odd": serial.PARITY_ODD,
    "mark": serial.PARITY_MARK,
    "space": serial.PARITY_SPACE,
}
_READ_BYTES = 65536
_UNWRITTEN_LIMIT = 1024 * 1024
"""An instrument that takes nothing (flow control held) is cut off before its answers fill the memory."""

log = structlog.get_logger()


class _SerialConnection:
    """The open device, read when it has something; writes what it can and keeps the rest until the line takes it."""

    def __init__(self, device: serial.Serial, line: Line) -> None:
        self._device = device
        self._fd: int = device.fileno()
        os.set_blocking(self._fd, False)
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._unwritten = bytearray()
        self.ended: asyncio.Future[str] = self._loop.create_future()

    def start(self) -> None:
        self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:  # EIO: the adapter was pulled out, or the pty's other end closed
            self.close(error.strerror or str(error))
            return
        if data:
            self._line.received(data)
        else:
            self.close("the line was hung up")

    def write(self, data: bytes) -> None:
        if self.ended.done():
            return
        waited = bool(self._unwritten)
        self._unwritten += data
        if len(self._unwritten) > _UNWRITTEN_LIMIT:
            self.close("the instrument takes no bytes")
        elif not waited:
            self._write_some()

    def _write_some(self) -> None:
        try:
            written = os.write(self._fd, self._unwritten)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self.close(error.strerror or str(error))
            return
        del self._unwritten[:written]
        if self._unwritten:
            self._loop.add_writer(self._fd, self._write_some)
        else:
            self._loop.remove_writer(self._fd)

    def pause(self) -> None:
        if not self.ended.done():
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        if not self.ended.done():
            self._loop.add_reader(self._fd, self._readable)

    def close(self, reason: str) -> None:
        if self.ended.done():
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._device.close()
        self.ended.set_result(reason)
        self._line.closed(reason)


class SerialPort(Port):
    """Opens the device, and opens it again when it went away."""

    def __init__(self, link: str, settings: SerialLine) -> None:
        self._link = link
        self._settings = settings
        self._backoff = Backoff(0.2, 5.0)

    async def serve(self, line: Line) -> None:
        while True:
            connection = self._open(line)
            if connection is not None:
                self._backoff.succeeded()
                self.state, self.reason = PortState.OPEN, ""
                try:
                    line.opened(connection, str(self._settings.device))
                    connection.start()
                    self.reason = await connection.ended
                finally:
                    connection.close("the box stops")
                    self.state = PortState.CLOSED
            await asyncio.sleep(self._backoff.next_s())

    def _open(self, line: Line) -> _SerialConnection | None:
        try:
            return _SerialConnection(open_device(self._settings), line)
        except (serial.SerialException, OSError, ValueError) as error:
            self.state, self.reason = PortState.FAILED, str(error)
            log.debug("port.cannot_open", link=self._link, device=str(self._settings.device), reason=self.reason)
            return None


def open_device(settings: SerialLine) -> serial.Serial:
    """The device, set as configured, for this process alone. Raises `serial.SerialException` or `OSError`."""
    return serial.Serial(
        port=str(Path(settings.device)),
        baudrate=settings.baud_rate,
        bytesize=settings.data_bits,
        parity=_PARITY[settings.parity],
        stopbits=settings.stop_bits,
        rtscts=settings.flow_control == "rtscts",
        xonxoff=settings.flow_control == "xonxoff",
        timeout=0,
        exclusive=True,
    )
