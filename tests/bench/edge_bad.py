"""One bad instrument, as a process of its own: what it does to its line must be felt by nobody else.

``python -m tests.bench.edge_bad KIND PORT`` until it is killed; without a port on a pty whose name it prints.
"""

from __future__ import annotations

import contextlib
import os
import pty
import random
import select
import signal
import socket
import sys
import tty
from collections.abc import Callable, Iterator

from tests.support.analyzer import ENQ, frame, xn_result

_CHUNK = 16 * 1024


def _flood() -> Iterator[bytes]:
    """Endless bytes in which no frame ever begins."""
    while True:
        yield b"U" * _CHUNK


def _noise() -> Iterator[bytes]:
    """Random bytes: every control character is among them."""
    pick = random.Random(20261123)
    pieces = [pick.randbytes(_CHUNK) for _ in range(64)]
    while True:
        yield from pieces


def _chatter() -> Iterator[bytes]:
    """Good messages one after the other that wait for no answer."""
    records = [frame(number, each + b"\r") for number, each in enumerate(xn_result("2601"), start=1)]
    message = ENQ + b"".join(records) + b"\x04"
    while True:
        yield message * (_CHUNK // len(message))


def _begging() -> Iterator[bytes]:
    """ENQ without end, and our answers are never read."""
    while True:
        yield ENQ * _CHUNK


def _dead() -> Iterator[bytes]:
    """Half a frame, then nothing."""
    yield ENQ + b"\x021H|\\^&"
    while True:
        select.select([], [], [])


KINDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "flood": _flood,
    "noise": _noise,
    "chatter": _chatter,
    "begging": _begging,
    "dead": _dead,
}
_NEVER_READS = ("begging", "dead")


def _over_tcp(kind: str, port: int) -> None:
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as line:
            line.setblocking(False)
            _send(kind, line.fileno(), line.send)


def _over_pty(kind: str) -> None:
    master, slave = pty.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    print(os.ttyname(slave), flush=True)  # both ends stay open; who started this stops it until it is wanted
    os.kill(os.getpid(), signal.SIGSTOP)
    os.set_blocking(master, False)
    _send(kind, master, lambda data: os.write(master, data))


def _send(kind: str, fd: int, send: Callable[[bytes], int]) -> None:
    """As fast as the line takes it; what the box says is read and forgotten, or never read."""
    watched = [] if kind in _NEVER_READS else [fd]
    for data in KINDS[kind]():
        rest = data
        while rest:
            readable, writable, _ = select.select(watched, [fd], [])
            if readable and not os.read(fd, 65536):
                return
            if writable:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[send(rest) :]


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _over_tcp(sys.argv[1], int(sys.argv[2]))
    else:
        _over_pty(sys.argv[1])
