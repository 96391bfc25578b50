"""Modbus frames: requests as pymodbus writes them, answers found in a stream of bytes. No I/O, no time.

Unit, function and length of an answer are known before it comes, so it is looked for and noise before it is borne: a
transceiver that turns round sends a stray byte, a two-wire adapter echoes the request. What passes its check but
belongs to another unit, function or request is refused with the reason.

Source: MODBUS Application Protocol V1.1b3 (functions 1 to 4, exceptions), MODBUS over Serial Line V1.02 (RTU, ASCII),
MODBUS Messaging on TCP/IP V1.0b (MBAP). pymodbus is imported where a link needs it: a reader of stored polls does not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

BIT_FUNCTIONS = (1, 2)
"""Coils and discrete inputs; 3 and 4 read registers."""
LONGEST = 600
"""Bytes that may stand in a line's buffer: the longest answer is 513 (ASCII)."""
_MBAP = struct.Struct(">HHHB")
_EXCEPTION = 0x80
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}
"""Application Protocol, section 7."""


class Framing(StrEnum):
    TCP = "tcp"
    RTU = "rtu"
    ASCII = "ascii"


@dataclass(frozen=True, slots=True)
class Request:
    """Read `count` registers (or bits) from `address`, which counts from 0 as on the wire."""

    unit_id: int
    function: int
    address: int
    count: int

    @property
    def answer_bytes(self) -> int:
        return (self.count + 7) // 8 if self.function in BIT_FUNCTIONS else self.count * 2


@dataclass(frozen=True, slots=True)
class Answer:
    """`exception`: the code given instead of data. `length` counts from the buffer's start, noise included."""

    length: int
    raw: bytes
    noise: bytes = b""
    exception: int | None = None


@dataclass(frozen=True, slots=True)
class Junk:
    """So many bytes at the buffer's start are no answer of ours."""

    length: int
    reason: str


Found = Answer | Junk | None


# ---------------------------------------------------------------------- requests


def request_bytes(framing: Framing, request: Request, transaction: int) -> bytes:
    return _codec(framing)(request, transaction)


@cache
def _codec(framing: Framing) -> Callable[[Request, int], bytes]:
    from pymodbus.framer.ascii import FramerAscii
    from pymodbus.framer.rtu import FramerRTU
    from pymodbus.framer.socket import FramerSocket
    from pymodbus.pdu import DecodePDU
    from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
    from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

    framers = {Framing.TCP: FramerSocket, Framing.RTU: FramerRTU, Framing.ASCII: FramerAscii}
    framer = framers[framing](DecodePDU(False))
    reads = {
        1: ReadCoilsRequest,
        2: ReadDiscreteInputsRequest,
        3: ReadHoldingRegistersRequest,
        4: ReadInputRegistersRequest,
    }

    def write(request: Request, transaction: int) -> bytes:
        pdu = reads[request.function](
            dev_id=request.unit_id, transaction_id=transaction, address=request.address, count=request.count
        )
        return framer.buildFrame(pdu)

    return write


@cache
def _crc() -> Callable[[bytes], int]:
    from pymodbus.framer.rtu import FramerRTU

    return FramerRTU.compute_CRC


def _crc_holds(frame: bytes) -> bool:
    return _crc()(frame[:-2]) == int.from_bytes(frame[-2:], "big")


# ---------------------------------------------------------------------- answers


def find_answer(framing: Framing, buffer: bytes, request: Request, transaction: int) -> Found:
    """The answer to `request`, or what has to be thrown away, or None: more bytes are needed."""
    if framing is Framing.TCP:
        return _find_tcp(buffer, request, transaction)
    return _find_rtu(buffer, request) if framing is Framing.RTU else _find_ascii(buffer, request)


def _find_tcp(buffer: bytes, request: Request, transaction: int) -> Found:
    if len(buffer) < _MBAP.size:
        return None
    number, protocol, length, unit_id = _MBAP.unpack_from(buffer)
    if protocol != 0 or not 3 <= length <= 254:
        return Junk(len(buffer), "no header of Modbus/TCP")
    if len(buffer) < length + 6:
        return None
    raw = buffer[: length + 6]
    if number != transaction:
        return Junk(len(raw), "an answer to another request")
    if unit_id != request.unit_id:
        return Junk(len(raw), "an answer of another unit")
    return _judged(len(raw), raw, raw[7:], request)


def _find_rtu(buffer: bytes, request: Request) -> Found:
    """A frame whose check passes at any place; one that is still short waits, with what stands before it."""
    size = request.answer_bytes
    good = _place(buffer, bytes((request.unit_id, request.function, size)), size + 5)
    bad = _place(buffer, bytes((request.unit_id, request.function | _EXCEPTION)), 5)
    if good is None and bad is None:
        return None
    start, length = (good, size + 5) if bad is None or (good is not None and good < bad) else (bad, 5)
    assert start is not None
    frame = buffer[start : start + length]
    return Answer(start + length, frame, buffer[:start], frame[2] if frame[1] & _EXCEPTION else None)


def _place(buffer: bytes, begin: bytes, length: int) -> int | None:
    """Where the first whole frame stands that begins so."""
    start = buffer.find(begin)
    while 0 <= start <= len(buffer) - length:
        if _crc_holds(buffer[start : start + length]):
            return start
        start = buffer.find(begin, start + 1)
    return None


def _find_ascii(buffer: bytes, request: Request) -> Found:
    end = buffer.find(b"\r\n")
    if end < 0:
        return None
    length = end + 2
    start = buffer.rfind(b":", 0, end)
    if start < 0:
        return Junk(length, "noise")
    try:
        frame = bytes.fromhex(buffer[start + 1 : end].decode("ascii"))
    except ValueError:
        return Junk(length, "not hexadecimal")
    if len(frame) < 4 or sum(frame) & 0xFF:
        return Junk(length, "wrong checksum")
    if frame[0] != request.unit_id:
        return Junk(length, "an answer of another unit")
    found = _judged(length, buffer[start:length], frame[1:-1], request)
    return Answer(length, found.raw, buffer[:start], found.exception) if isinstance(found, Answer) else found


def _judged(length: int, raw: bytes, pdu: bytes, request: Request) -> Answer | Junk:
    if pdu[0] == request.function | _EXCEPTION and len(pdu) == 2:
        return Answer(length, raw, exception=pdu[1])
    if pdu[0] != request.function:
        return Junk(length, "an answer to another function")
    if len(pdu) != request.answer_bytes + 2 or pdu[1] != request.answer_bytes:
        return Junk(length, "an answer of another length")
    return Answer(length, raw)


def why_no_answer(framing: Framing, left: bytes, request: Request) -> str:
    """What the bytes were that had come when the time ran out."""
    if framing is not Framing.RTU:
        return "an answer without its end"
    length = 5 if len(left) > 1 and left[1] & _EXCEPTION else 5 + left[2] if len(left) > 2 else 0
    if length and len(left) >= length and _crc_holds(left[:length]):
        if left[0] != request.unit_id:
            return "an answer of another unit"
        if left[1] & ~_EXCEPTION != request.function:
            return "an answer to another function"
        return "an answer of another length"
    if left[:2] == bytes((request.unit_id, request.function)) and len(left) >= request.answer_bytes + 5:
        return "wrong checksum"
    return "bytes that are no answer"


# ---------------------------------------------------------------------- what was kept of a line


def read_request(framing: Framing, raw: bytes) -> Request | None:
    """The request that these bytes were; None where they are none."""
    body = _body(framing, raw)
    if body is None or len(body) != 6 or body[1] not in (1, 2, 3, 4):
        return None
    address, count = struct.unpack_from(">HH", body, 2)
    return Request(body[0], body[1], address, count)


def read_answer(framing: Framing, raw: bytes, request: Request) -> bytes | int | None:
    """The data of an answer, or the exception's code; None where the bytes do not answer `request`."""
    body = _body(framing, raw)
    if body is None or len(body) < 3 or body[0] != request.unit_id:
        return None
    found = _judged(0, raw, body[1:], request)
    if isinstance(found, Junk):
        return None
    return found.exception if found.exception is not None else body[3:]


def _body(framing: Framing, raw: bytes) -> bytes | None:
    """Unit and PDU; the checks were made when the bytes came."""
    if framing is Framing.TCP:
        return raw[6:] if len(raw) >= 8 else None
    if framing is Framing.RTU:
        return raw[:-2] if len(raw) >= 5 else None
    try:
        return bytes.fromhex(raw.strip().removeprefix(b":").decode("ascii"))[:-1]
    except ValueError:
        return None
