"""A capture as the cases of a new driver's transcripts: its messages without people in them, put back on the line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from protocols.capture import Message, pieces, reader_of
from protocols.driver import Driver, discover
from protocols.links.astm_frames import AstmOptions, build_frame, cut_message
from protocols.messages.charset import decode_text
from protocols.model import HostQuery, Item, Observation, Order, Undecoded
from tools import text_driver_code
from tools.anonymise import Anonymiser

_MESSAGES = 12
_BYTES = 60_000
"""Of one case: enough to show an instrument, little enough to read."""
_SENT_BY_DEVICE = ("HEL", "DST", "OBS", "EVS", "EOT", "END")
_ORDER_CODES = 3
_FRAME = re.compile(rb"\x02[0-7](.*)([\x03\x17])[0-9A-Fa-f]{0,2}[\r\n]*", re.DOTALL)


FrameText = tuple[bytes, bool]
"""Text of a frame, and whether it ended with ETX (else ETB)."""


class NoDriver(Exception):
    """Why no driver can be made of the capture, in words for the person who asked."""


@dataclass
class Capture:
    """All that a new driver is made from."""

    protocol: str
    payloads: list[bytes]
    frames: list[tuple[FrameText, ...]]
    """The frames as they were cut on the line; () where the capture kept none."""
    items: list[list[Item]]
    framing: str = ""
    """Of a family of texts: its name in `protocols.links.text_framing`."""
    warnings: list[str] = field(default_factory=list)
    free_texts: list[str] = field(default_factory=list)
    replaced: int = 0

    @property
    def observations(self) -> list[Observation]:
        return [item for items in self.items for item in items if isinstance(item, Observation)]

    @property
    def asks(self) -> bool:
        return any(isinstance(item, HostQuery) for items in self.items for item in items)


def read_captures(files: Sequence[Path], kept: Sequence[str] = ()) -> Capture:
    """The messages of the files, anonymised. Raises `NoDriver`."""
    messages: list[Message] = []
    warnings: list[str] = []
    framings = set()
    for file in files:
        found = pieces(file.read_bytes())
        if any(each.readers and each.readers[0].id == "generic_text" for each in found if isinstance(each, Message)):
            framing, texts = text_driver_code.framed(file.read_bytes())
            framings.add(framing)
            found = [Message(text) for text in texts]
        for piece in found:
            if isinstance(piece, Message):
                messages.append(piece)
            else:
                warnings.append(f"{file.name}: left out, {piece.reason}: {piece.text[:60]!r}")
    if not messages:
        raise NoDriver("\n".join(["nothing in the capture is a message that any family knows", *warnings]))
    if len(framings) > 1:
        raise NoDriver(f"the captures are framed in different ways: {', '.join(sorted(framings))}")
    reader = _generic_reader(messages)
    people = Anonymiser()
    capture = Capture(reader.protocol, [], [], [], "".join(framings), warnings)
    for message in messages:
        if reader.protocol == "poct1a" and not _from_device(message.payload):
            continue
        payload = _without_people(message.payload, reader.protocol, people, kept)
        capture.payloads.append(payload)
        capture.frames.append(_cut_alike(message.frames, payload))
        capture.items.append(list(reader.decode(payload).items))
    capture.free_texts = list(dict.fromkeys(people.free_texts))
    capture.replaced = people.count
    if not any(isinstance(item, Observation) for items in capture.items for item in items):
        raise NoDriver("the capture holds no result; give one that does (several files may follow --from)")
    return capture


def _generic_reader(messages: Sequence[Message]) -> Driver:
    """The generic driver of the family. Raises `NoDriver` where an instrument's own driver knows a message."""
    family = ""
    for message in messages:
        driver, match = reader_of(message)
        if driver is None:
            continue
        if not driver.id.startswith("generic_") and match.score > 0.1:
            raise NoDriver(f"{driver.id} reads this instrument already ({match.reason}): correct that driver instead")
        family = family or driver.protocol
    if family == "file":
        raise NoDriver("a table needs no driver of its own: name its columns in the options of generic_file")
    generic = discover().get(f"generic_{family}")
    if generic is None:
        raise NoDriver(f"there is no generic driver of the family {family!r} to start from")
    return generic


def _from_device(document: bytes) -> bool:
    root = re.search(rb"<([A-Z]{3})\.R\d\d", document)
    return root is not None and root[1].decode() in _SENT_BY_DEVICE


def _without_people(payload: bytes, protocol: str, people: Anonymiser, kept: Sequence[str]) -> bytes:
    text, charset = decode_text(payload)
    return people.message(text, protocol, kept=kept).encode(charset, errors="replace")


def _cut_alike(frames: Sequence[bytes], payload: bytes) -> tuple[FrameText, ...]:
    """The payload cut where the sender cut it: replacements keep their length."""
    texts = [_FRAME.fullmatch(frame) for frame in frames]
    known = [each for each in texts if each is not None]
    if not known or len(known) < len(texts) or sum(len(each[1]) for each in known) != len(payload):
        return ()
    cut, start = [], 0
    for each in known:
        end = start + len(each[1])
        cut.append((payload[start:end], each[2] == b"\x03"))
        start = end
    return tuple(cut)


# ---------------------------------------------------------------------- cases


@dataclass
class NewCase:
    name: str
    chunks: list[bytes]
    orders: list[Order] = field(default_factory=list)


def cases(capture: Capture) -> list[NewCase]:
    """`results`, `quality_control` and, for an ASTM instrument that asks, both cases of a host query."""
    groups: dict[str, list[int]] = {}
    for number, items in enumerate(capture.items):
        groups.setdefault(_kind(items), []).append(number)
    conversation = groups.pop("conversation", [])
    if "results" not in groups:  # controls alone: they are what the driver is proved by
        groups = {"results_of_controls": groups.pop("quality_control"), **groups}
    made = []
    for name, numbers in groups.items():
        if name == "host_query":
            made += _queries(capture, numbers[0])
            continue
        if capture.protocol == "poct1a":
            numbers = sorted([*conversation, *numbers])
        made.append(NewCase(name, _enough(capture, numbers)))
    return made


def _kind(items: Sequence[Item]) -> str:
    results = [item for item in items if isinstance(item, Observation)]
    if any(isinstance(item, HostQuery) for item in items):
        return "host_query"
    if not results:
        return "conversation"
    return "quality_control" if all(item.qc is not None for item in results) else "results"


def _enough(capture: Capture, numbers: Sequence[int]) -> list[bytes]:
    """On the line, until the case is big enough."""
    chunks: list[bytes] = []
    taken = 0
    for count, number in enumerate(numbers):
        size = len(capture.payloads[number])
        if count and (count >= _MESSAGES or taken + size > _BYTES):
            capture.warnings.append(f"{len(numbers) - count} more messages of the same kind were left out")
            break
        taken += size
        chunks += on_the_line(capture, number)
    return chunks


def _queries(capture: Capture, number: int) -> list[NewCase]:
    chunks = on_the_line(capture, number)
    if capture.protocol != "astm":
        return [NewCase("host_query_refused", chunks)]
    query = next(item for item in capture.items[number] if isinstance(item, HostQuery))
    seen = tuple(dict.fromkeys(item.code for item in capture.observations))[:_ORDER_CODES]
    orders = [Order(specimen, seen) for specimen in query.specimens[:1]]
    return [NewCase("host_query", chunks, orders), NewCase("host_query_without_order", chunks)]


def on_the_line(capture: Capture, number: int) -> list[bytes]:
    """What the instrument writes for one message, cut where it waits for an answer."""
    payload = capture.payloads[number]
    if capture.protocol == "hl7":
        return [b"\x0b" + payload + b"\x1c\r"]
    if capture.protocol == "text":
        return [text_driver_code.FRAMINGS[capture.framing].wrap(payload)]
    if capture.protocol != "astm":
        return [payload]
    if capture.frames[number]:
        frames = [build_frame(n, text, last=last) for n, (text, last) in enumerate(capture.frames[number], start=1)]
    else:
        frames = cut_message(payload.replace(b"\n", b"\r"), AstmOptions())
    return [b"\x05", *frames, b"\x04"]


def undecoded(capture: Capture) -> list[Undecoded]:
    return [item for items in capture.items for item in items if isinstance(item, Undecoded)]
