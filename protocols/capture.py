"""What a captured file holds: the messages in it, however it was stored.

Files of captures lost bytes that no line loses: LF stands for CR or CR LF, ENQ and EOT are missing, frames were
stripped, an ACK of the host stands before the first STX. Frames are put back on a line as their sender sent them and
read by the same `AstmLink` that serves the bench, so that a file and a live line give the same answer and a wrong
checksum is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from protocols.driver import Driver, identify
from protocols.links.astm import AstmLink
from protocols.links.astm_frames import AstmOptions, checksum
from protocols.links.contract import FrameReceived, FrameRefused, LinkEvent, MessageAbandoned, MessageReceived
from protocols.model import Item, Undecoded

_FRAME = re.compile(rb"\x02([0-7][^\x02\x03\x17]*[\x03\x17])([0-9A-Fa-f]{0,2})[\r\n]*")
_HEADER = re.compile(rb"(?:\A|[\r\n\x02-\x06])[0-7]?([Hh][^A-Za-z0-9\s][^\r\n]{2,})")
_HL7_START = re.compile(rb"(?:\A|(?<=[\r\n\x0b\x1c]))(?=(?:MSH|FHS|BHS)[^A-Za-z0-9\r\n])")
_STRAY = re.compile(rb"[\x03\x17](?:[0-9A-Fa-f]{2}(?=[\r\n]|\Z))?|[\x00-\x08\x0b\x0c\x0e-\x1f]")
_FRAME_NUMBER = re.compile(rb"(?m)^[0-7](?=[HPORCQMLS][^A-Za-z0-9\s])")
_RECORD = re.compile(rb"(?m)^(?=[Hh][^A-Za-z0-9\s])")
_SHOWN = 2000


@dataclass(frozen=True, slots=True)
class Found:
    """One item of a capture and the driver that read it (None: nothing could)."""

    driver: str | None
    item: Item


@dataclass(frozen=True, slots=True)
class Message:
    payload: bytes


Piece = Message | Undecoded


def read_capture(data: bytes, driver: Driver | None = None) -> Iterator[Found]:
    """All that `data` holds. Without `driver` each message's own is recognised. Never raises."""
    for piece in pieces(data):
        if isinstance(piece, Undecoded):
            yield Found(None, piece)
            continue
        reader, match = (driver, None) if driver is not None else identify(piece.payload)
        if reader is None:
            reason = match.reason if match is not None else "no driver"
            yield Found(None, Undecoded(reason, _shown(piece.payload)))
            continue
        for item in reader.decode(piece.payload).items:
            yield Found(reader.id, item)


def pieces(data: bytes) -> list[Piece]:
    """The messages of a capture in their order, and what could not be one."""
    if not data.strip():
        return [Undecoded("the file is empty")]
    if _HL7_START.search(data):
        return [Message(each) for each in _hl7_messages(data)]
    if _FRAME.search(data):
        return _framed(data)
    if _HEADER.search(data):
        return [Message(each) for each in _bare_messages(data)]
    return [Undecoded(_unknown(data), _shown(data))]


def _shown(data: bytes) -> str:
    return data[:_SHOWN].decode("latin-1")


def _unknown(data: bytes) -> str:
    head = data.lstrip()[:200]
    if head.startswith(b"<") and b".R01" in data[:2000]:
        return "POCT1-A (XML): no driver reads it yet"
    if head.startswith(b"<"):
        return "XML: no driver reads it yet"
    if b"mtrsl|" in head:
        return "labelled text of a mini VIDAS: no driver reads it yet"
    if head.count(b"\t") >= 3:
        return "a table with tabs: no driver reads it yet"
    return "neither ASTM, HL7 nor any other protocol that is known"


def _hl7_messages(data: bytes) -> Iterator[bytes]:
    starts = [match.start() for match in _HL7_START.finditer(data)]
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        message = data[start:end].strip(b"\x0b\x1c\r\n\x00")
        if message.startswith(b"MSH"):
            yield message + b"\r"


def _bare_messages(data: bytes) -> Iterator[bytes]:
    """Records without frames; frame numbers left before them are taken away."""
    text = _STRAY.sub(b"", data).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = _FRAME_NUMBER.sub(b"", text)
    starts = [match.start() for match in _RECORD.finditer(text)]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield text[start:end].replace(b"\n", b"\r")


# ---------------------------------------------------------------------- frames


def _framed(data: bytes) -> list[Piece]:
    link = AstmLink(AstmOptions(enq_optional=True))
    found: list[Piece] = []
    raw_of: dict[int, bytes] = {}
    now = 0.0
    for chunk in (*_line(data), b"\x04"):
        now += 1.0  # a pause after each frame, as a sender that waits for its ACK makes
        waiting = [*link.wake(now), *link.receive(chunk, now)]
        now += 1.0
        waiting += link.wake(now)
        while waiting:
            event = waiting.pop(0)
            if isinstance(event, FrameReceived):
                raw_of[event.frame_id] = event.raw
                waiting += link.acknowledge(event.frame_id, now)
            else:
                found += _pieces_of(event, raw_of)
        link.bytes_to_send()
    return found


def _pieces_of(event: LinkEvent, raw_of: dict[int, bytes]) -> list[Piece]:
    if isinstance(event, MessageReceived):
        return [Message(event.payload)]
    if isinstance(event, FrameRefused):
        return [Undecoded(event.reason, _shown(event.raw))]
    if isinstance(event, MessageAbandoned):
        text = b"".join(raw_of.get(frame_id, b"") for frame_id in event.frame_ids)
        return [Undecoded(f"incomplete message: {event.reason}", _shown(text))]
    return []


def _line(data: bytes) -> Iterator[bytes]:
    """The capture as its sender had it on the line: ENQ before each message, CR where LF was stored."""
    end = 0
    in_session = False
    previous = b""
    for match in _FRAME.finditer(data):
        between = data[end : match.start()]
        end = match.end()
        body = _restored(match[1], match[2])
        begins = body[:1] == b"1" and body[1:2] in (b"H", b"h") and not body[2:3].isalnum() and body != previous
        if begins or not in_session or b"\x05" in between or b"\x04" in between:
            yield b"\x04"
            yield b"\x05"
            in_session = True
        previous = body
        yield b"\x02%b%b\r\n" % (body, match[2])
    rest = _STRAY.sub(b"", data[end:]).strip()
    if rest:
        yield data[end:].strip()


def _restored(body: bytes, sent: bytes) -> bytes:
    """`body` with the line ends that its checksum was made with."""
    wanted = sent.upper()
    for candidate in (
        body,
        body.replace(b"\n", b"\r"),
        body.replace(b"\r\n", b"\r"),
        body.replace(b"\n", b"\r\n"),
    ):
        if b"%02X" % checksum(candidate) == wanted:
            return candidate
    return body
