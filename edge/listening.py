"""Listening to an unknown line at one setting after another, on a tty or over TCP. It never writes unless told to.

What is told to is one ACK for an ENQ that nothing followed: the instrument then sends its first frame. That frame is
not acknowledged, so nothing counts as sent and the instrument keeps it.
"""

from __future__ import annotations

import os
import select
import socket
import termios
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from edge.config import SerialLine
from protocols.identify_line import PLAUSIBLE, SURE, Hearing, acknowledgement, hear, next_setting
from protocols.identify_samples import LineSetting, Sample, unmark

QUIET_S = 0.4
"""Silence after which what was heard is judged: longer than the pauses inside a message."""
_TELLING = 12
"""Bytes that are enough to call a setting wrong."""
_LONGEST = 256 * 1024
_READ_BYTES = 65536


class Ear(ABC):
    """One open line, at one setting."""

    marks = False
    """Whether the port marks broken characters in what it gives (termios PARMRK)."""

    @abstractmethod
    def read(self, wait_s: float) -> bytes | None:
        """What came within `wait_s`: b"" for nothing, None when the other side hung up."""

    @abstractmethod
    def write(self, data: bytes) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


Opener = Callable[[LineSetting], Ear]
Clock = Callable[[], float]


class _FileEar(Ear):
    """Anything with a file descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, wait_s: float) -> bytes | None:
        ready, _, _ = select.select([self._fd], [], [], max(wait_s, 0))
        if not ready:
            return b""
        try:
            return os.read(self._fd, _READ_BYTES) or None
        except BlockingIOError:
            return b""
        except OSError:  # EIO: the adapter was pulled out, or the other side hung up
            return None

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)


class TtyEar(_FileEar):
    """A serial device, set so that characters with a wrong stop or parity bit are marked.

    Raises `OSError` (`serial.SerialException` among them) where it cannot be opened or set.
    """

    marks = True

    def __init__(self, device: Path, setting: LineSetting) -> None:
        from edge.ports.serial_line import open_device

        wanted = {
            "baud_rate": setting.baud_rate,
            "data_bits": setting.data_bits,
            "parity": setting.parity,
            "stop_bits": setting.stop_bits,
        }
        self._serial = open_device(msgspec.convert({"device": device, **wanted}, SerialLine))
        super().__init__(self._serial.fileno())
        try:
            modes = termios.tcgetattr(self._fd)
            modes[0] |= termios.INPCK | termios.PARMRK
            modes[0] &= ~(termios.IGNPAR | termios.ISTRIP | termios.IGNBRK | termios.BRKINT)
            termios.tcsetattr(self._fd, termios.TCSANOW, modes)
        except termios.error as error:
            self.close()
            raise OSError(str(error)) from None

    def close(self) -> None:
        self._serial.close()


class TcpEar(_FileEar):
    """A TCP connection to or from an instrument."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        super().__init__(connection.fileno())

    def close(self) -> None:
        self._connection.close()


def dialled(host: str, port: int, wait_s: float) -> TcpEar:
    """Raises `OSError` where nobody answers."""
    connection = socket.create_connection((host, port), timeout=wait_s)
    connection.setblocking(False)
    return TcpEar(connection)


def listened(host: str, port: int, wait_s: float) -> TcpEar | None:
    """The first connection that comes within `wait_s`; None when none does. Raises `OSError` for a port in use."""
    with socket.create_server((host, port)) as server:
        server.settimeout(wait_s)
        try:
            connection, _ = server.accept()
        except TimeoutError:
            return None
    connection.setblocking(False)
    return TcpEar(connection)


def listen(ear: Ear, setting: LineSetting, seconds: float, *, answers: bool = False, clock: Clock) -> Hearing:
    """What is heard within `seconds`; ends early when it is understood, or plainly wrong for this setting."""
    heard = b""
    judged: Hearing = hear(Sample(b"", setting))
    until = clock() + seconds
    while (left := until - clock()) > 0 and len(heard) < _LONGEST:
        got = ear.read(min(left, QUIET_S))
        if got:
            heard += got
            continue
        if len(heard) > len(judged.sample.data) or got is None:
            sample = _sample(heard, setting, marks=ear.marks)
            if sample != judged.sample:
                judged = hear(sample)
                if answers and (answer := acknowledgement(judged)):
                    ear.write(answer)
        if got is None or judged.score >= SURE or _plainly_wrong(judged):
            return judged
    return hear(_sample(heard, setting, marks=ear.marks))


def _plainly_wrong(judged: Hearing) -> bool:
    return len(judged.sample.data) >= _TELLING and judged.score < PLAUSIBLE


def _sample(heard: bytes, setting: LineSetting, *, marks: bool) -> Sample:
    if not marks:
        return Sample(heard, setting)
    data, broken = unmark(heard)
    return Sample(data, setting, broken)


def walk(open_at: Opener, seconds: float, *, answers: bool = False, clock: Clock = time.monotonic) -> Iterator[Hearing]:
    """One hearing for each setting, until the line is known or nothing is left to try.

    Ends also at a setting that was listened to for its whole time and made sense, though not surely (a lone ENQ).
    Raises `OSError` where the line cannot be opened at its first setting; a rate that the port does not have is left
    out.
    """
    hearings: list[Hearing] = []
    tried: list[LineSetting] = []
    while (setting := next_setting(hearings, tried)) is not None:
        tried.append(setting)
        try:
            ear = open_at(setting)
        except (OSError, ValueError):
            if len(tried) == 1:
                raise
            continue
        try:
            hearing = listen(ear, setting, seconds, answers=answers, clock=clock)
        finally:
            ear.close()
        hearings.append(hearing)
        yield hearing
        if hearing.score >= PLAUSIBLE:
            return
