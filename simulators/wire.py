"""A line as a simulator sees it: bytes in with a time limit, bytes out, and the news that it broke.

TCP (dialled or listening), a serial device, or a pseudo-terminal made here for a box to open as its serial port.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class LineBroken(Exception):
    """The other side hung up, or the line cannot be reached."""


class Line(Protocol):
    """An open line. Not for sharing between threads."""

    def read(self, timeout_s: float) -> bytes:
        """What has arrived, at least one byte; b"" when the time ran out. Raises LineBroken."""
        ...

    def write(self, data: bytes) -> None:
        """Send all of it. Raises LineBroken."""
        ...

    def close(self) -> None: ...


Connect = Callable[[], Line]


class TcpLine:
    """One TCP connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, timeout_s: float) -> bytes:
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            return b""
        except OSError as error:
            raise LineBroken(str(error)) from error
        if not data:
            raise LineBroken("the other side hung up")
        return data

    def write(self, data: bytes) -> None:
        self._socket.settimeout(30)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise LineBroken(str(error)) from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class FileLine:
    """A serial device or the instrument's end of a pseudo-terminal, by file descriptor."""

    def __init__(self, descriptor: int, *, owned: bool = True) -> None:
        self._descriptor = descriptor
        self._owned = owned

    def read(self, timeout_s: float) -> bytes:
        try:
            ready, _, _ = select.select([self._descriptor], [], [], max(timeout_s, 0))
            return os.read(self._descriptor, 65536) if ready else b""
        except OSError as error:
            raise LineBroken(str(error)) from error

    def write(self, data: bytes) -> None:
        deadline = time.monotonic() + 30
        while data:
            try:
                _, ready, _ = select.select([], [self._descriptor], [], max(deadline - time.monotonic(), 0))
                if not ready:
                    raise LineBroken("nobody takes the bytes from the serial line")
                data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                raise LineBroken(str(error)) from error

    def close(self) -> None:
        if self._owned:
            os.close(self._descriptor)


def dial(host: str, port: int) -> Connect:
    """The instrument calls the host's port, as most analyzers with a network card do."""

    def connect() -> Line:
        try:
            return TcpLine(socket.create_connection((host, port), timeout=5))
        except OSError as error:
            raise LineBroken(f"{host}:{port}: {error}") from error

    return connect


class Answering:
    """The instrument (or its terminal server) waits to be called; calling this gives the next caller's line."""

    def __init__(self, host: str, port: int) -> None:
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]

    def __call__(self) -> Line:
        self._listener.settimeout(5)
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            raise LineBroken(f"nobody called port {self.port}: {error}") from error
        return TcpLine(connection)

    def close(self) -> None:
        self._listener.close()


def serial_device(path: Path) -> Connect:
    """A tty that exists already, opened raw."""

    def connect() -> Line:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
        except OSError as error:
            raise LineBroken(f"{path}: {error}") from error
        tty.setraw(descriptor)
        return FileLine(descriptor)

    return connect


def pseudo_terminal(link: Path) -> Connect:
    """A pty whose far end is `link`: the box opens it as its serial port, as often as it likes.

    We hold the far end open too: like a real cable, the line does not break when the box goes away, it falls silent.
    """
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    tty.setraw(ours)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(os.ttyname(theirs))
    return lambda: FileLine(ours, owned=False)
