"""Instruments on a serial line: a tty, or a pty that stands in for one. pyserial sets the line, asyncio reads it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import threading
from pathlib import Path

import serial
import structlog

from edge.config import SerialLine
from edge.ports.contract import Backoff, Line, Port, PortState
from edge.ports.pace import Pace, unread_bytes
from edge.ports.polling import polling

_PARITY = {
    "none": serial.PARITY_NONE,
    "even": serial.PARITY_EVEN,
    "odd": serial.PARITY_ODD,
    "mark": serial.PARITY_MARK,
    "space": serial.PARITY_SPACE,
}
_UNWRITTEN_LIMIT = 1024 * 1024
"""An instrument that takes nothing (flow control held) is cut off before its answers fill the memory."""

log = structlog.get_logger()


class _SerialConnection:
    """The open device, read when it has something; writes what it can and keeps the rest until the line takes it."""

    def __init__(self, device: serial.Serial, line: Line) -> None:
        self._device = device
        self._fd: int = device.fileno()
        os.set_blocking(self._fd, False)
        _tell_nothing_from_hung_up(self._fd)
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._unwritten = bytearray()
        self._stopped = False
        self._pace = Pace(self._stop_reading, self._go_on_reading, lambda: unread_bytes(self._fd) > 0)
        self._polling = polling()
        self.quiet_turns = 0
        self.ended: asyncio.Future[str] = self._loop.create_future()

    def start(self) -> None:
        self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        """It begins to speak."""
        if self.read() and not self._stopped and not self.ended.done():
            self._loop.remove_reader(self._fd)
            self._polling.add(self)

    def read(self) -> bool:
        try:
            data = os.read(self._fd, self._pace.read_bytes)
        except BlockingIOError:
            return False
        except OSError as error:  # EIO: the adapter was pulled out, or the pty's other end closed
            self.close(error.strerror or str(error))
            return False
        if data:
            began = self._loop.time()
            self._line.received(data)
            self._pace.took(len(data), began)
        else:
            self.close("the line was hung up")
        return bool(data)

    def wait_for_more(self) -> None:
        if not self._stopped and not self.ended.done():
            self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        if self.ended.done():
            return
        self._pace.answered()
        if self._unwritten:
            self._unwritten += data
            if len(self._unwritten) > _UNWRITTEN_LIMIT:
                self.close("the instrument takes no bytes")
        elif (written := self._give(data)) < len(data):
            self._unwritten += data[written:]
            self._loop.add_writer(self._fd, self._write_more)

    def _write_more(self) -> None:
        del self._unwritten[: self._give(self._unwritten)]
        if not self._unwritten and not self.ended.done():
            self._loop.remove_writer(self._fd)

    def _give(self, data: bytes | bytearray) -> int:
        """How many bytes the line takes now; all of them where it is gone, for nobody waits for them then."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.close(error.strerror or str(error))
            return len(data)

    def pause(self) -> None:
        self._pace.pause()

    def resume(self) -> None:
        self._pace.resume()

    def _stop_reading(self) -> None:
        self._stopped = True
        if not self.ended.done():
            self._polling.discard(self)
            self._loop.remove_reader(self._fd)

    def _go_on_reading(self) -> None:
        self._stopped = False
        self.wait_for_more()

    def close(self, reason: str) -> None:
        if self.ended.done():
            return
        self._pace.close()
        self._polling.discard(self)
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        _let_go(self._device)
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
            connection = await self._open(line)
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

    async def _open(self, line: Line) -> _SerialConnection | None:
        try:
            return _SerialConnection(await _opened_elsewhere(self._settings), line)
        except (serial.SerialException, OSError, ValueError, termios.error) as error:
            self.state, self.reason = PortState.FAILED, str(error)
            log.debug("port.cannot_open", link=self._link, device=str(self._settings.device), reason=self.reason)
            return None


def _tell_nothing_from_hung_up(fd: int) -> None:
    """pyserial leaves VMIN at 0, with which a read of an idle line and of a hung-up one are the same."""
    modes = termios.tcgetattr(fd)
    modes[6][termios.VMIN] = 1
    termios.tcsetattr(fd, termios.TCSANOW, modes)


def _let_go(device: serial.Serial) -> None:
    """Close without waiting: the kernel keeps a closing tty up to 30 s for bytes that the instrument does not take."""
    with contextlib.suppress(termios.error):  # a device that is gone has nothing left to flush
        termios.tcflush(device.fileno(), termios.TCOFLUSH)
    device.close()


async def _opened_elsewhere(settings: SerialLine) -> serial.Serial:
    """`open_device` in a thread of its own: a dying adapter may keep who opens it for seconds."""
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[serial.Serial] = loop.create_future()

    def hand_over(device: serial.Serial | None, error: Exception | None) -> None:
        if opened.done():  # nobody waits any more
            if device is not None:
                device.close()
        elif device is not None:
            opened.set_result(device)
        else:
            opened.set_exception(error or OSError("it did not open"))

    def work() -> None:
        device, error = None, None
        try:
            device = open_device(settings)
        except (serial.SerialException, OSError, ValueError, termios.error) as failed:
            error = failed
        try:
            loop.call_soon_threadsafe(hand_over, device, error)
        except RuntimeError:  # the loop is closed: the box has stopped meanwhile
            if device is not None:
                device.close()

    threading.Thread(target=work, name="serial-open", daemon=True).start()
    return await opened


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
