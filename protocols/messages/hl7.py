"""HL7 v2 messages: a lazy splitter for the hot path, and building of messages and acknowledgements.

Delimiters come from MSH-1 and MSH-2, characters from MSH-18 and a test of validity. A segment is split once in fields,
a field into repeats and components where a driver asks; escapes go last. Fields count from 1 as in the standard, MSH-1
being the field separator itself. Nothing is validated here: instruments break cardinality.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from protocols.messages.charset import decode_text, has_rare_padding

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
    "KS X 1001": "euc_kr",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp_1",
}
"""HL7 table 0211, and what instruments write instead (Mindray: UNICODE for UTF-8)."""
_HEADS = frozenset(("MSH", "FHS", "BHS", "BTS", "FTS"))
_TEXT = {"OBX": 5, "NTE": 3, "DSP": 3}
"""The field of each segment that holds long text."""
_NO_FIELD = "no message has begun"
_HEADER_LIMIT = 4096
"""Bytes of an MSH that are looked at for its character set; payloads of megabytes may hold no line end."""


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and MSH-2; what a short MSH-2 leaves out is standard."""

    field: str = "|"
    component: str = "^"
    repeat: str = "~"
    escape: str = "\\"
    sub: str = "&"


STANDARD = Delimiters()


class Segment(msgspec.Struct, gc=False):
    """One segment. All reading methods count fields from 1.

    A Struct because one is made for each line of every message: a third of the time of a class with slots.
    """

    line: str
    delimiters: Delimiters
    index: int
    name: str
    fields: list[str]
    """Raw fields so that ``fields[n]`` is field n; ``fields[0]`` is the name."""
    as_sent: bool
    """Nothing has to be taken away: no padding, no escape sign and no repeat stands in the segment."""
    rare: bool = False
    """Other padding than blanks stands somewhere in the message."""

    def raw(self, number: int) -> str:
        fields = self.fields
        return fields[number] if number < len(fields) else ""

    def text(self, number: int) -> str:
        """Field without padding and escapes, separators kept."""
        fields = self.fields
        if number >= len(fields):
            return ""
        raw = fields[number]
        return raw if self.as_sent else self.plain(raw).strip()

    def components(self, number: int) -> list[str]:
        """Components of the first repeat, without padding and escapes."""
        fields = self.fields
        raw = fields[number] if number < len(fields) else ""
        delimiters = self.delimiters
        if self.as_sent:
            return raw.split(delimiters.component)
        if delimiters.repeat in raw:
            raw = raw.split(delimiters.repeat, 1)[0]
        return self.parts(raw)

    def component(self, number: int, position: int) -> str:
        parts = self.components(number)
        return parts[position - 1] if position <= len(parts) else ""

    def repeats(self, number: int) -> list[str]:
        """Raw repeats; [] for an empty field."""
        raw = self.raw(number)
        return raw.split(self.delimiters.repeat) if raw else []

    def parts(self, repeat: str) -> list[str]:
        """Components of one repeat, without padding and escapes."""
        parts = repeat.split(self.delimiters.component)
        if self.as_sent:
            return parts
        if self.delimiters.escape in repeat:
            return [self.plain(each).strip() for each in parts]
        return [each.strip() for each in parts] if self.rare or " " in repeat else parts

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
    """The Python name of the first repeat of MSH-18 that names more than ASCII; None where there is none we know."""
    start = payload.find(b"MSH")
    if start < 0:
        return None
    header = re.split(rb"[\r\n]", payload[start : start + _HEADER_LIMIT], maxsplit=1)[0].decode("latin-1")
    delimiters = read_delimiters(header)
    fields = header.split(delimiters.field, 18)
    if len(fields) < 18:  # MSH-1 is the separator itself: field 18 is the 17th behind the name
        return None
    for name in fields[17].split(delimiters.field, 1)[0].upper().split(delimiters.repeat):
        known = f"iso8859-{name.strip()[5:]}" if name.strip().startswith("8859/") else _CHARSETS.get(name.strip())
        if known not in (None, "ascii"):
            return known
    return None


def read_messages(payload: bytes, charset: str | None = None) -> list[Hl7Message]:
    """Every message of a payload; a batch (FHS, BHS) holds several. Never raises.

    Segments end with CR, LF or CR LF; block characters of MLLP left in the text end one too. A line that begins no
    segment goes on with a text that the segment before it left open (base64 that was wrapped, a line end in a comment);
    elsewhere it stands as a segment without a name.
    """
    if charset is None and not (payload.isascii() and b"\x1b" not in payload):
        charset = declared_charset(payload)
    text, used = decode_text(payload, charset)
    text = text.removeprefix("\ufeff")
    for end in "\n\v\x1c":
        if end in text:
            text = text.replace(end, "\r")
    reader = _Reader(has_rare_padding(text))
    field = _NO_FIELD
    for line in text.split("\r"):
        name = line[:3]
        if line[3:4] == field and name not in _HEADS:
            reader.segment(name, line)
        elif name == "MSH" and not line[3:4].isalnum():
            field = reader.header(line)
        elif field is not _NO_FIELD and line and name not in _HEADS and not line.isspace():
            reader.other(line)
    reader.end_segment()
    return [Hl7Message(tuple(segments), used) for segments in reader.messages]


class _Reader:
    """The messages of one payload, line by line."""

    __slots__ = ("delimiters", "messages", "padded", "segments", "tail", "text_open")

    def __init__(self, padded: bool) -> None:
        self.padded = padded
        """Rare characters of padding stand in the payload."""
        self.delimiters = STANDARD
        self.messages: list[list[Segment]] = []
        self.segments: list[Segment] = []
        self.tail: list[str] = []
        """Lines that go on with the last segment: joined once, since there may be thousands."""
        self.text_open = True
        """No line of `tail` closed the field that it goes on with."""

    def header(self, line: str) -> str:
        """A message begins; its field delimiter."""
        self.end_segment()
        self.delimiters = read_delimiters(line)
        self.segments = []
        self.messages.append(self.segments)
        self.segment("MSH", line)
        self.segments[0].fields.insert(1, self.delimiters.field)
        return self.delimiters.field

    def segment(self, name: str, line: str) -> None:
        if self.tail:
            self.end_segment()
        delimiters, segments = self.delimiters, self.segments
        as_sent = (
            " " not in line and delimiters.repeat not in line and delimiters.escape not in line and not self.padded
        )
        fields = line.split(delimiters.field)
        segments.append(Segment(line, delimiters, len(segments), name, fields, as_sent, self.padded))

    def other(self, line: str) -> None:
        """A line without a segment's name and delimiter."""
        last = self.segments[-1]
        if len(line) == 3 and line.isalnum():  # nothing but the name
            self.segment(line, line)
        elif self.text_open and len(last.fields) == _TEXT.get(last.name, 0) + 1:
            self.tail.append(line)
            self.text_open = self.delimiters.field not in line
        else:
            self.segment("", line)

    def end_segment(self) -> None:
        if self.tail:
            last = self.segments.pop()
            line = "\n".join((last.line, *self.tail))
            self.tail.clear()
            self.text_open = True
            self.segment(last.name, line)
            self.segments[-1].as_sent, self.segments[-1].rare = False, True


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
    lines = ["|".join(fields).replace("\r", " ").replace("\n", " ") for fields in segments]  # a field ends no segment
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
