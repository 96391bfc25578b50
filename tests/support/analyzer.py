"""A tiny analyzer of the tests' own: bytes written by hand from LIS01-A2 and the HL7 transport, nothing of `protocols`.

Blocking, over any pair of `send` and `receive`; a deadline ends every wait.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

ENQ, ACK, NAK, EOT = b"\x05", b"\x06", b"\x15", b"\x04"


def frame(number: int, text: bytes, *, last: bool = True) -> bytes:
    """``STX number text ETX|ETB checksum CR LF``; the checksum is the sum from the number to ETX/ETB, modulo 256."""
    body = b"%d%b%b" % (number % 8, text, b"\x03" if last else b"\x17")
    return b"\x02%b%02X\r\n" % (body, sum(body) & 0xFF)


def xn_result(specimen: str, value: str = "6.52", code: str = "WBC") -> list[bytes]:
    """The records of one result message as an XN-1000 writes them."""
    return [
        b"H|\\^&|||XN-10^00-25^11001^^^^AP123456||||||||E1394-97",
        b"P|1",
        b"O|1||1^1^%22b^B|^^^^%b|R||20261123080000||||N||||||||||||||F" % (specimen.encode(), code.encode()),
        b"R|1|^^^^%b^1|%b|10*3/uL||N||F||||20261123080100" % (code.encode(), value.encode()),
        b"L|1|N",
    ]


def xn_query(specimen: str) -> list[bytes]:
    return [
        b"H|\\^&|||XN-10^00-25^11001^^^^AP123456||||||||E1394-97",
        b"Q|1|2^1^%22b^B||^^^^ALL|0|20261123080000" % specimen.encode(),
        b"L|1|N",
    ]


def oru(control_id: str, specimen: str, value: str = "21.0") -> bytes:
    """An HL7 result in its MLLP block."""
    segments = [
        b"MSH|^~\\&|Mindray|BS-380|||20261123080000||ORU^R01|%b|P|2.3.1||||0||ASCII|||" % control_id.encode(),
        b"PID|1",
        b"OBR|1|%b|1|Mindray^BS-380" % specimen.encode(),
        b"OBX|1|NM|2|ALT|%b|U/L|-|N|||F||%b|20261123080000" % (value.encode(), value.encode()),
    ]
    return b"\x0b" + b"\r".join(segments) + b"\r\x1c\r"


class Silent(AssertionError):
    """The host did not answer in time."""


class HungUp(Exception):
    """The line is gone."""


@dataclass
class Analyzer:
    """One instrument. `acknowledged` keeps every frame that the host answered with ACK, `finished` whole messages."""

    send: Callable[[bytes], None]
    receive: Callable[[float], bytes]
    """Some bytes within so many seconds, b"" for none; raises `HungUp`."""
    close: Callable[[], None] = lambda: None
    acknowledged: list[bytes] = field(default_factory=list)
    finished: list[bytes] = field(default_factory=list)
    _unread: bytes = b""

    def byte(self, within_s: float = 10.0) -> bytes:
        deadline = time.monotonic() + within_s
        while not self._unread:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silent("the host did not answer")
            self._unread = self.receive(left)
        first, self._unread = self._unread[:1], self._unread[1:]
        return first

    def says_nothing(self, within_s: float) -> bool:
        try:
            self._unread = self.byte(within_s) + self._unread
        except Silent:
            return True
        return False

    def begin(self) -> bytes:
        self.send(ENQ)
        return self.byte()

    def put(self, raw: bytes) -> bytes:
        """One frame; what the host answered."""
        self.send(raw)
        answer = self.byte()
        if answer == ACK:
            self.acknowledged.append(raw)
        return answer

    def report(self, records: Sequence[bytes]) -> None:
        """A whole message; fails unless every frame is acknowledged."""
        answer = self.begin()
        assert answer == ACK, f"ENQ was answered with {answer!r}"
        raws = [frame(number, record + b"\r") for number, record in enumerate(records, start=1)]
        for raw in raws:
            answer = self.put(raw)
            assert answer == ACK, f"a frame was answered with {answer!r}"
        self.finished.append(b"".join(raws))
        self.send(EOT)

    def take_message(self, within_s: float = 20.0) -> list[bytes]:
        """The host's message as its records; every frame is acknowledged."""
        assert self.byte(within_s) == ENQ
        self.send(ACK)
        records: list[bytes] = []
        while (first := self.byte(within_s)) != EOT:
            assert first == b"\x02", first
            text = b""
            while not text.endswith(b"\n"):
                text += self.byte()
            records.append(text[1 : text.index(b"\r")])
            self.send(ACK)
        return records

    def take_block(self) -> bytes:
        """One MLLP block, without its envelope."""
        assert self.byte() == b"\x0b"
        text = b""
        while not text.endswith(b"\x1c\r"):
            text += self.byte()
        return text[:-2]


def over_tcp(host: str, port: int, within_s: float = 20.0) -> Analyzer:
    """Connects, trying again until the host listens."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            connected = socket.create_connection((host, port), timeout=5)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    return over_socket(connected)


def over_socket(connected: socket.socket) -> Analyzer:
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(within_s: float) -> bytes:
        connected.settimeout(max(within_s, 0.001))
        try:
            data = connected.recv(65536)
        except TimeoutError:
            return b""
        except OSError as error:
            raise HungUp(str(error)) from error
        if not data:
            raise HungUp("the host closed the connection")
        return data

    def send(data: bytes) -> None:
        try:
            connected.sendall(data)
        except OSError as error:
            raise HungUp(str(error)) from error

    return Analyzer(send, receive, connected.close)


def over_fd(fd: int) -> Analyzer:
    """A pty's end; the caller keeps and closes it."""

    def receive(within_s: float) -> bytes:
        ready, _, _ = select.select([fd], [], [], within_s)
        return os.read(fd, 65536) if ready else b""

    def send(data: bytes) -> None:
        os.write(fd, data)

    return Analyzer(send, receive)
