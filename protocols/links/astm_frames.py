"""Frames of ASTM E1381 / CLSI LIS01-A2: control bytes, checksum, cutting a message into frames, vendors' deviations.

``<STX> number text <ETX|ETB> C1 C2 <CR> <LF>``; the number counts 1..7,0 within a session; C1 C2 is the sum of the
bytes from the number through ETX/ETB modulo 256 in two hexadecimal digits. ETX ends a message, ETB a part of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from zlib import adler32

from protocols.errors import LocalProtocolError

STX, ETX, EOT, ENQ, ACK, NAK, ETB = 0x02, 0x03, 0x04, 0x05, 0x06, 0x15, 0x17
CR, LF = 0x0D, 0x0A

RESTRICTED = re.compile(rb"[\x01-\x06\x0a\x10-\x17]")
"""Bytes that may not stand in the text of a frame: SOH STX ETX EOT ENQ ACK LF DLE DC1-4 NAK SYN ETB (6.6)."""

_EXACT = 256
"""Bytes of any value whose sum stays below 65520, so that adler32 holds it exactly."""
_EXACT_ASCII = 515
"""The same for bytes below 128."""


def checksum(data: bytes) -> int:
    """Sum of `data` modulo 256.

    The low half of adler32 is 1 + the sum modulo 65521: several times quicker than `sum`.
    """
    size = len(data)
    if size <= _EXACT:
        return (adler32(data) - 1) & 0xFF
    step = _EXACT_ASCII if data.isascii() else _EXACT
    total = 0
    for start in range(0, size, step):
        total += (adler32(data[start : start + step]) & 0xFFFF) - 1
    return total & 0xFF


class Checksum(StrEnum):
    """What stands behind ETX or ETB."""

    REQUIRED = "required"
    IGNORED = "ignored"
    """Two bytes that are not looked at (an instrument with a broken sum)."""
    ABSENT = "absent"


class FrameNumbers(StrEnum):
    CHECKED = "checked"
    RESTARTING = "restarting"
    """The instrument starts again with 1 at a record (seen on one-record-per-frame senders)."""
    IGNORED = "ignored"
    ABSENT = "absent"
    """No number stands before the text; of two equal frames behind one another the second is a repetition."""


@dataclass(frozen=True, slots=True)
class AstmOptions:
    """How one instrument keeps to the standard; the defaults are the standard. Times in seconds, sizes in bytes."""

    checksum: Checksum = Checksum.REQUIRED
    frame_numbers: FrameNumbers = FrameNumbers.CHECKED
    enq_optional: bool = False
    """Frames are taken without a session before them."""
    unframed: bool = False
    """A message may come as bare records, `H` to `L`, without frames. It is acknowledged where ENQ stood before it."""
    bare_acknowledged: bool = False
    """A message without frames is acknowledged also where no ENQ stood before it."""
    received_text_limit: int = 64_000
    """Longest text of one frame: LIS01-A2 8.3.1; E1381-95 has 240, which real instruments exceed also over RS-232."""
    message_limit: int = 16 * 1024 * 1024
    message_frames_limit: int = 65_536
    """Most frames of one message: tiny frames would cost far more memory than their bytes."""
    sent_text_limit: int = 240
    one_record_per_frame: bool = True
    """Sending: each record in its own frame (ETX), else the message is cut only by the limit (ETB ... ETX)."""
    right_of_way: bool = False
    """False: we are the host, which yields on contention (6.5.2.2). True: we are the instrument."""
    attempts: int = 6
    reply_timeout_s: float = 15.0
    receive_timeout_s: float = 30.0
    busy_wait_s: float = 10.0
    contention_wait_s: float = 20.0
    right_of_way_wait_s: float = 1.0
    interrupt_wait_s: float = 15.0
    inside_frame_timeout_s: float = 5.0
    """Silence inside a frame after which it is refused, so that the sender repeats it before its own 15 s are over."""
    frame_end_wait_s: float = 0.3
    """How long CR LF may stay away behind the checksum before the frame counts as whole without them."""
    gave_up_after_s: float = 10.0
    """EOT that comes later than this after our last ACK, with no L record before it, is a sender that gave up."""
    settle_s: float = 0.25
    """Silence after an ENQ or EOT in the middle of a message that shows it is no damaged byte of a frame."""


def build_frame(number: int, text: bytes, *, last: bool) -> bytes:
    """One frame ready for the line."""
    body = b"%d%b%c" % (number % 8, text, ETX if last else ETB)
    return b"\x02%b%02X\r\n" % (body, checksum(body))


def _parts(payload: bytes, options: AstmOptions) -> Iterator[tuple[bytes, bool]]:
    """(text, ends with ETX) of each frame."""
    records = payload.splitlines(keepends=True) if options.one_record_per_frame else [payload]
    limit = options.sent_text_limit
    for record in records:
        for start in range(0, len(record), limit):
            yield record[start : start + limit], start + limit >= len(record)


def cut_message(payload: bytes, options: AstmOptions) -> list[bytes]:
    """The frames of one message. Raises LocalProtocolError for an empty message or a restricted byte in it."""
    if not payload:
        raise LocalProtocolError("an ASTM message cannot be empty")
    found = RESTRICTED.search(payload)
    if found is not None:
        raise LocalProtocolError(f"byte {found[0][0]:#04x} at {found.start()} may not stand in an ASTM message")
    return [build_frame(n, text, last=last) for n, (text, last) in enumerate(_parts(payload, options), start=1)]
