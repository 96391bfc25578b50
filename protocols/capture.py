"""What a captured file holds: the messages in it, however it was stored.

Files of captures lost bytes that no line loses: LF stands for CR or CR LF, ENQ and EOT are missing, frames were
stripped, an ACK of the host stands before the first STX. Frames are put back on a line as their sender sent them and
read by the same `AstmLink` that serves the bench, so that a file and a live line give the same answer and a wrong
checksum is refused. Families that are neither ASTM nor HL7 are taken apart by their own drivers (`Driver.split`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from protocols.driver import Driver, Match, discover, identify
from protocols.links.astm import AstmLink
from protocols.links.astm_frames import AstmOptions, checksum
from protocols.links.contract import FrameReceived, FrameRefused, LinkEvent, MessageAbandoned, MessageReceived
from protocols.model import Item, Undecoded

_FRAME = re.compile(rb"\x02([0-7][^\x02\x03\x17]*[\x03\x17])([0-9A-Fa-f]{0,2})[\r\n]*")
_HEADER = re.compile(rb"(?:\A|[\r\n\x02-\x06])[0-7]?[Hh][!-/:-@\[-`{-~]{2}")
_HL7_START = re.compile(rb"(?:\A|(?<=[\r\n\x0b\x1c]))(?=(?:MSH|FHS|BHS)[^A-Za-z0-9\r\n])")
_STRAY = re.compile(rb"[\x03\x17](?:[0-9A-Fa-f]{2}(?=[\r\n]|\Z))?|[\x00-\x08\x0b\x0c\x0e-\x1f]")
_FRAME_NUMBER = re.compile(rb"(?m)^[0-7](?=[HPORCQMLS][^A-Za-z0-9\s])")
_RECORD = re.compile(rb"(?m)^(?=[Hh][^A-Za-z0-9\s])")
_NOTHING = bytes(range(0x21))
"""Blanks and control characters of a line."""
_SHOWN = 2000


_SPLIT_BY_US = ("astm", "hl7")
_SURE = 0.5
"""A driver that takes a file apart itself and knows its instrument with this score goes before a look of ASTM or HL7:
a printed line may begin like a header record."""

_GENERIC = 0.1
"""What a generic driver claims of any message of its family (decision 0003)."""


@dataclass(frozen=True, slots=True)
class Found:
    """One item of a capture and the driver that read it (None: nothing could)."""

    driver: str | None
    item: Item
    payload: bytes = b""
    """The message it stood in; `protocols.provenance` finds the bytes of its record there."""
    message: int = 0
    """Which message of the capture that was, counted from 1 (0: bytes that are no message)."""


@dataclass(frozen=True, slots=True)
class Message:
    payload: bytes
    frames: tuple[bytes, ...] = ()
    """The frames as they stood on the line, where the capture kept them."""
    readers: tuple[Driver, ...] = ()
    """The drivers that took the file apart in this way; empty: any driver may read it."""


Piece = Message | Undecoded


def read_capture(data: bytes, driver: Driver | None = None) -> Iterator[Found]:
    """All that `data` holds. Without `driver` each message's own is recognised. Never raises."""
    number = 0
    for piece in pieces(data, driver):
        if isinstance(piece, Undecoded):
            yield Found(None, piece)
            continue
        number += 1
        reader, match = (driver, Match(1.0, "named")) if driver is not None else reader_of(piece)
        if reader is None:
            yield Found(None, Undecoded(match.reason, _shown(piece.payload)), piece.payload, number)
            continue
        for item in reader.decode(piece.payload).items:
            yield Found(reader.id, item, piece.payload, number)


def reader_of(message: Message) -> tuple[Driver | None, Match]:
    """The driver that claims a message best: among those that took the file apart, if any did."""
    if not message.readers:
        return identify(message.payload)
    claims = [(each, each.fingerprint(message.payload)) for each in message.readers]
    best = max(claims, key=lambda claim: claim[1].score)
    if best[1].score > _GENERIC:
        return best
    return message.readers[0], Match(_GENERIC, "the rest of a capture that this driver takes apart")


def pieces(data: bytes, driver: Driver | None = None) -> list[Piece]:
    """The messages of a capture in their order, and what could not be one. `driver`: the instrument's, where known."""
    if not data.strip():
        return [Undecoded("the file is empty")]
    if driver is not None and driver.protocol not in _SPLIT_BY_US:
        taken = driver.split(data)
        if taken is None:
            return [Undecoded(f"not a capture that {driver.id} knows", _shown(data))]
        return [Message(each, readers=(driver,)) for each in taken]
    drivers = () if driver is not None else tuple(discover().values())
    score, split = split_by_drivers(data, drivers)
    if split and score >= _SURE:
        return split
    if _HL7_START.search(data):
        return list(_hl7_messages(data))
    headed = _HEADER.search(data) is not None
    framed = _FRAME.search(data) is not None
    if framed:
        unframed = _framed(data)
        if headed or not split or _best_claim(unframed) >= score:
            return unframed
    if headed:
        bare = list(_bare_messages(data))
        if not split or _best_claim(bare) >= score:
            return bare
    if split:
        return split
    return [Undecoded(_unknown(data), _shown(data))]


def split_by_drivers(data: bytes, drivers: Sequence[Driver]) -> tuple[float, list[Piece]]:
    """The messages as the drivers that know the file take it apart, and how sure the best of them is; (0, []) for none.

    Drivers that cut the file alike read it together (a vendor's and the generic one of its family); among different
    cuts the one whose messages are claimed best is taken.
    """
    cuts: dict[tuple[bytes, ...], list[Driver]] = {}
    for driver in drivers:
        taken = None if driver.protocol in _SPLIT_BY_US else driver.split(data)
        if taken:
            cuts.setdefault(tuple(taken), []).append(driver)
    best: tuple[float, list[Piece]] = (0.0, [])
    for cut, readers in cuts.items():
        score, chosen = max(((_claim(each, cut), each) for each in readers), key=lambda claim: claim[0])
        if score > best[0] or not best[1]:
            order = (chosen, *(each for each in readers if each is not chosen))
            best = (score, [Message(each, readers=order) for each in cut])
    return best


def _best_claim(found: Sequence[Piece]) -> float:
    """How surely any driver claims a message of these; below 0 where there is no message."""
    return max((identify(each.payload)[1].score for each in found if isinstance(each, Message)), default=-1.0)


def _claim(driver: Driver, messages: Sequence[bytes]) -> float:
    """The best score of any message: in a dialogue one document names the instrument, the host's say nothing."""
    return max(driver.fingerprint(each).score for each in messages)


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


def _hl7_messages(data: bytes) -> Iterator[Piece]:
    starts = [match.start() for match in _HL7_START.finditer(data)]
    yield from _before(data[: starts[0]])
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        message = data[start:end].strip(b"\x0b\x1c\r\n\x00")
        if message.startswith(b"MSH"):
            yield Message(message + b"\r")


def _bare_messages(data: bytes) -> Iterator[Piece]:
    """Records without frames; frame numbers left before them are taken away."""
    text = _STRAY.sub(b"", data).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = _FRAME_NUMBER.sub(b"", text)
    starts = [match.start() for match in _RECORD.finditer(text)] or [len(text)]
    yield from _before(text[: starts[0]])
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        if end > start:
            yield Message(text[start:end].replace(b"\n", b"\r"))


def _before(data: bytes) -> Iterator[Piece]:
    """What stands before the first header: the end of a message that began before the capture did."""
    if data.strip(_NOTHING):
        yield Undecoded("bytes before the first header", _shown(data))


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
        return [Message(event.payload, tuple(raw_of.get(frame_id, b"") for frame_id in event.frame_ids))]
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
        body = as_sent(match[1], match[2])
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


def as_sent(body: bytes, sent: bytes) -> bytes:
    """`body` (number to ETX) with the line ends that its checksum `sent` was made with; unchanged if it never holds."""
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
