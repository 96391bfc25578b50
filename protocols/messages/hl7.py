"""HL7 v2 messages: a lazy splitter for the hot path, and building of messages and acknowledgements.

Delimiters come from MSH-1 and MSH-2, characters from MSH-18 and a test of validity. A segment is split into fields when
it is first read, a field into repeats and components where a driver asks; escapes go last. Fields count from 1 as in
the standard, MSH-1 being the field separator itself. Nothing is validated here: instruments break cardinality.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from protocols.messages.charset import decode_text

_HEX = re.compile(r"X((?:[0-9A-Fa-f]{2})+)")
_CHARSETS = {
    "ASCII": "ascii",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
    "GB 18030-2000": "gb18030",
    "GB18030": "gb18030",
    "GBK": "gb18030",
    "GB2312": "gb18030",
    "BIG-5": "big5",
    "ISO IR87": "iso2022_jp",
}


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2; what a short MSH-2 leaves out is standard."""

    field: str = "|"
    component: str = "^"
    repeat: str = "~"
    escape: str = "\\"
    sub: str = "&"


STANDARD = Delimiters()


class Segment:
    """One segment. All reading methods count fields from 1."""

    __slots__ = ("_fields", "delimiters", "index", "line", "name")

    def __init__(self, line: str, delimiters: Delimiters, index: int) -> None:
        self.line = line
        self.delimiters = delimiters
        self.index = index
        self.name = line[:3]
        self._fields: list[str] | None = None

    @property
    def fields(self) -> list[str]:
        """Raw fields so that ``fields[n]`` is field n; ``fields[0]`` is the name."""
        if self._fields is None:
            split = self.line.split(self.delimiters.field)
            if self.name == "MSH":
                split.insert(1, self.delimiters.field)
            self._fields = split
        return self._fields

    def raw(self, number: int) -> str:
        fields = self.fields
        return fields[number] if number < len(fields) else ""

    def text(self, number: int) -> str:
        """Field without padding and escapes, separators kept."""
        return self.plain(self.raw(number)).strip()

    def components(self, number: int) -> list[str]:
        """Components of the first repeat, without padding and escapes."""
        raw = self.raw(number)
        if self.delimiters.repeat in raw:
            raw = raw.split(self.delimiters.repeat, 1)[0]
        return [self.plain(each).strip() for each in raw.split(self.delimiters.component)]

    def component(self, number: int, position: int) -> str:
        parts = self.components(number)
        return parts[position - 1] if position <= len(parts) else ""

    def repeats(self, number: int) -> list[str]:
        """Raw repeats; [] for an empty field."""
        raw = self.raw(number)
        return raw.split(self.delimiters.repeat) if raw else []

    def plain(self, text: str) -> str:
        return unescape(text, self.delimiters) if self.delimiters.escape in text else text


@dataclass(frozen=True, slots=True)
class Hl7Message:
    """One message from its MSH to the segment before the next."""

    segments: tuple[Segment, ...]
    charset: str

    @property
    def header(self) -> Segment:
        return self.segments[0]

    @property
    def kind(self) -> str:
        """MSH-9 as type^event: "ORU^R01"."""
        parts = self.header.components(9)
        return "^".join(parts[:2]).upper()

    @property
    def control_id(self) -> str:
        return self.header.text(10)

    def first(self, name: str) -> Segment | None:
        return next((segment for segment in self.segments if segment.name == name), None)


def read_delimiters(header: str) -> Delimiters:
    """From an MSH, FHS or BHS segment."""
    field = header[3:4] or STANDARD.field
    declared = header[4:].split(field, 1)[0]
    padded = declared + "^~\\&"[len(declared) :]
    return Delimiters(field, padded[0], padded[1], padded[2], padded[3])


def declared_charset(payload: bytes) -> str | None:
    """The Python name of the first repeat of MSH-18; None where it is empty, unknown or only ASCII."""
    start = payload.find(b"MSH")
    if start < 0:
        return None
    header = re.split(rb"[\r\n]", payload[start:], maxsplit=1)[0].decode("latin-1")
    segment = Segment(header, read_delimiters(header), 0)
    name = segment.components(18)[0].upper()
    if name.startswith("8859/"):
        return f"iso8859-{name[5:]}"
    return _CHARSETS.get(name)


def read_messages(payload: bytes, charset: str | None = None) -> list[Hl7Message]:
    """Every message of a payload; a batch (FHS, BHS) holds several. Segments end with CR, LF or CR LF. Never raises."""
    text, used = decode_text(payload, charset or declared_charset(payload))
    if "\n" in text:
        text = text.replace("\n", "\r")
    messages: list[Hl7Message] = []
    open_segments: list[Segment] = []
    delimiters = STANDARD
    for line in text.split("\r"):
        name = line[:3]
        if name == "MSH":
            if open_segments:
                messages.append(Hl7Message(tuple(open_segments), used))
            delimiters = read_delimiters(line)
            open_segments = [Segment(line, delimiters, 0)]
        elif open_segments and line and name not in ("FHS", "BHS", "BTS", "FTS"):
            open_segments.append(Segment(line, delimiters, len(open_segments)))
    if open_segments:
        messages.append(Hl7Message(tuple(open_segments), used))
    return messages


def unescape(text: str, delimiters: Delimiters = STANDARD) -> str:
    r"""``\F\ \S\ \R\ \E\ \T\ \Xhh\`` and ``\.br\``; highlighting vanishes, what is unknown or unpaired stays."""
    sign = delimiters.escape
    pieces = text.split(sign)
    found = [pieces[0]]
    position = 1
    while position < len(pieces):
        meaning = _meaning(pieces[position], delimiters) if position + 1 < len(pieces) else None
        if meaning is None:
            found.append(sign + pieces[position])
            position += 1
        else:
            found.append(meaning + pieces[position + 1])
            position += 2
    return "".join(found)


def _meaning(code: str, delimiters: Delimiters) -> str | None:
    simple = {
        "F": delimiters.field,
        "S": delimiters.component,
        "R": delimiters.repeat,
        "E": delimiters.escape,
        "T": delimiters.sub,
        ".br": "\n",
        "H": "",
        "N": "",
    }.get(code)
    if simple is not None:
        return simple
    coded = _HEX.fullmatch(code)
    return decode_text(bytes.fromhex(coded[1]))[0] if coded else None


def escape(text: str) -> str:
    """`text` made safe for a field with standard delimiters; line ends become ``\\.br\\``, other controls vanish."""
    for character, code in (("\\", "E"), ("|", "F"), ("^", "S"), ("~", "R"), ("&", "T")):
        text = text.replace(character, f"\\{code}\\")
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\\.br\\")
    return "".join(each for each in text if each >= " ")


def build(segments: Iterable[Sequence[str]], charset: str = "utf-8") -> bytes:
    """Segments of ready fields (escaped by the caller where they are data). An MSH leaves MSH-1 out, as on the wire."""
    lines = ["|".join(fields) for fields in segments]
    data = ("\r".join(lines) + "\r").encode(charset, errors="replace")
    # A reply echoes fields as they came, and a damaged one may hold what MLLP ends a block with.
    return data.translate(None, b"\x0b\x1c")


def reply_header(
    request: Segment,
    kind: str,
    now: datetime,
    *,
    control_id: str | None = None,
    accept: str = "",
    result_type: str = "",
) -> list[str]:
    """MSH of our reply: sender and receiver exchanged, version and character set of the request, MSH-16 as asked."""
    fields = [
        "MSH",
        "^~\\&",
        request.raw(5),
        request.raw(6),
        request.raw(3),
        request.raw(4),
        now.strftime("%Y%m%d%H%M%S"),
        "",
        kind,
        request.raw(10) if control_id is None else control_id,
        request.raw(11) or "P",
        request.raw(12) or "2.3.1",
        "",
        "",
        accept,
        result_type,
        "",
        request.raw(18),
    ]
    while not fields[-1]:
        fields.pop()
    return fields


def acknowledgement_type(request: Segment) -> str:
    """MSH-9 of the acknowledgement: ``ACK^R01``, with the structure where the request names one (2.4 and later)."""
    parts = request.components(9)
    event = parts[1] if len(parts) > 1 else ""
    if not event:
        return "ACK"
    return f"ACK^{event}^ACK" if len(parts) > 2 else f"ACK^{event}"


def wants(request: Segment) -> Iterator[str]:
    """Which acknowledgements the sender expects: "original", or "commit" and "application" (MSH-15, MSH-16).

    Original mode where both are empty or hold no code of table 0155 (Mindray writes its result type into MSH-16).
    """
    accept, application = request.text(15).upper(), request.text(16).upper()
    known = ("AL", "NE", "ER", "SU")
    if accept not in known and application not in known:
        yield "original"
        return
    if accept in ("AL", "SU"):
        yield "commit"
    if application in ("AL", "SU"):
        yield "application"
