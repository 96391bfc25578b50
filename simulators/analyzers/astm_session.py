"""The instrument's side of an E1381 line: establishment, transfer and termination, both ways.

From LIS01-A2 (ASTM E1381): 15 s for any reply to the sender, 10 s of waiting after a busy host, a frame offered at
most six times, 30 s of patience as receiver; in contention the instrument has priority and asks again after at least 1
s.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from simulators.wire import Line, LineBroken

STX, ETX, EOT, ENQ, ACK, NAK, ETB, CR, LF = b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x15", b"\x17", b"\r", b"\n"


class NotDelivered(Exception):
    """The message was not accepted whole; the instrument keeps it and will send all of it again."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, as LIS01-A2 6.5.2 has them. Tests shorten them; a bench does not."""

    reply_s: float = 15.0
    busy_s: float = 10.0
    contention_s: float = 1.0
    receive_s: float = 30.0

    def times(self, factor: float) -> Timing:
        return replace(
            self,
            reply_s=self.reply_s * factor,
            busy_s=self.busy_s * factor,
            contention_s=self.contention_s * factor,
            receive_s=self.receive_s * factor,
        )


TRIES = 6
"""LIS01-A2 6.5.1.2: a frame is offered six times, then the session is given up."""


def checksum(data: bytes) -> bytes:
    """Two upper-case hex digits of the sum, modulo 256, from the frame number through ETX or ETB."""
    return b"%02X" % (sum(data) % 256)


def frame(number: int, text: bytes, *, last: bool) -> bytes:
    body = b"%d" % (number % 8) + text + (ETX if last else ETB)
    return STX + body + checksum(body) + CR + LF


def frames_by_record(records: list[str], *, text_limit: int = 240, charset: str = "utf-8") -> list[bytes]:
    """A frame for each record; a longer record goes on in the next frame after ETB (as an XN on a serial line)."""
    made: list[bytes] = []
    for record in records:
        text = record.encode(charset) + CR
        while text:
            part, text = text[:text_limit], text[text_limit:]
            made.append(frame(len(made) + 1, part, last=not text))
    return made


def frames_by_message(records: list[str], *, text_limit: int = 63_993, charset: str = "utf-8") -> list[bytes]:
    """The whole message in one frame (as an XN on a network): LIS01-A2 8.3.1 allows 64,000 characters with overhead."""
    text = b"".join(record.encode(charset) + CR for record in records)
    parts = [text[at : at + text_limit] for at in range(0, len(text), text_limit)]
    return [frame(at + 1, part, last=at == len(parts) - 1) for at, part in enumerate(parts)]


class AstmSession:
    """Sends and receives whole messages on one line."""

    def __init__(self, line: Line, timing: Timing) -> None:
        self.line = line
        self.timing = timing
        self._pending = b""
        self.host_asked = False
        """The host sent ENQ while we were busy sending; it has something for us."""
        self.refusals = 0
        """Frames that were refused or unanswered and offered again."""

    def _byte(self, timeout_s: float) -> bytes:
        """The next byte, or b"" when none came in time."""
        deadline = time.monotonic() + timeout_s
        while not self._pending:
            left = deadline - time.monotonic()
            if left <= 0:
                return b""
            self._pending = self.line.read(left)
        found, self._pending = self._pending[:1], self._pending[1:]
        return found

    def send(self, frames: list[bytes]) -> None:
        """Deliver one message. Returns when its last frame has been accepted; raises NotDelivered or LineBroken."""
        self._establish()
        for at, each in enumerate(frames):
            interrupted = self._transfer(each)
            if interrupted and at < len(frames) - 1:
                self.line.write(EOT)
                raise NotDelivered("the host interrupted the message with EOT")
        self.line.write(EOT)

    def _establish(self) -> None:
        for _ in range(TRIES):
            self.line.write(ENQ)
            reply = self._byte(self.timing.reply_s)
            if reply == ACK:
                return
            if reply == ENQ:
                # 6.2.7.1: both asked at once; the instrument has priority and asks again, the host waits for it.
                self.host_asked = True
                self._drain(self.timing.contention_s)
            elif reply == NAK:
                self._drain(self.timing.busy_s)
            else:
                self.line.write(EOT)
                raise NotDelivered("no answer to ENQ" if not reply else f"ENQ was answered with {reply!r}")
        self.line.write(EOT)
        raise NotDelivered("the host stayed busy")

    def _drain(self, seconds: float) -> None:
        """Wait, taking no offence at what arrives: a host that yields may repeat its ENQ."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._byte(left)

    def _transfer(self, data: bytes) -> bool:
        """Offer one frame until it is accepted; True where the host asks us to stop after it."""
        for _ in range(TRIES):
            self.line.write(data)
            reply = self._byte(self.timing.reply_s)
            if reply == ACK:
                return False
            if reply == EOT:
                return True
            self.refusals += 1
            if not reply:
                self.line.write(EOT)
                raise NotDelivered("no answer to a frame")
        self.line.write(EOT)
        raise NotDelivered("a frame was refused six times")

    def receive(self, timeout_s: float) -> bytes | None:
        """One message from the host (its text, frames joined), or None when it did not ask within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while True:
            left = deadline - time.monotonic()
            start = self._byte(left) if left > 0 else b""
            if not start:
                return None
            if start == ENQ:
                break
        self.host_asked = False
        self.line.write(ACK)
        return self._receive_frames()

    def _receive_frames(self) -> bytes | None:
        whole, last_number, complete = b"", 0, False
        while True:
            start = self._byte(self.timing.receive_s)
            if start == EOT:
                return whole if complete else None
            if not start:
                return None
            if start == ENQ:
                whole, last_number, complete = b"", 0, False
                self.line.write(ACK)
                continue
            if start != STX:
                continue
            body, good = self._frame_body()
            number = body[0] - 0x30 if body else -1
            if not good or number not in ((last_number + 1) % 8, last_number):
                self.line.write(NAK)
                continue
            if number == (last_number + 1) % 8:
                whole += body[1:-1]
                complete = body[-1:] == ETX
                last_number = number
            self.line.write(ACK)

    def _frame_body(self) -> tuple[bytes, bool]:
        """From the frame number through ETX/ETB, and whether the checksum fits."""
        body = b""
        while not body.endswith((ETX, ETB)):
            each = self._byte(self.timing.reply_s)
            if not each:
                return body, False
            body += each
        trailer = b"".join(self._byte(self.timing.reply_s) for _ in range(4))
        return body, trailer[:2].upper() == checksum(body)


__all__ = ["AstmSession", "LineBroken", "NotDelivered", "Timing", "checksum", "frame"]
