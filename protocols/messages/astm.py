"""Records of ASTM E1394 / CLSI LIS02-A2: reading with the delimiters that each header declares, and building.

Fields are counted from 1 as in the standard (field 1 is the record type). A record is split once into fields;
components and repeats are split where they are read, and escapes are taken away last, after splitting (5.4.5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from protocols.messages.charset import decode_text, has_rare_padding

_HEX = re.compile(r"X((?:[0-9A-Fa-f]{2})+)")


@dataclass(frozen=True, slots=True)
class Delimiters:
    """H.1 and H.2. Erba and the standard's own text use a backtick to repeat, GeneXpert declares ``@^\\``."""

    field: str = "|"
    repeat: str = "\\"
    component: str = "^"
    escape: str = "&"

    def definition(self) -> str:
        return f"{self.repeat}{self.component}{self.escape}"


STANDARD = Delimiters()
_KINDS = frozenset("HPORCQMSL")
_BELOW_HEADER = _KINDS - {"H"}


def read_delimiters(header: str) -> Delimiters:
    """From a header record. What it leaves out is standard; a doubled repeat delimiter (seen) is taken as one."""
    field = header[1:2]
    if not field or field.isalnum():
        return STANDARD
    return _declared_delimiters(field, header[2:6].split(field, 1)[0])


@lru_cache(maxsize=64)
def _declared_delimiters(field: str, declared: str) -> Delimiters:
    """`declared`: the first four characters of H.2. An instrument declares the same in each of its headers."""
    if len(declared) == 4 and declared[0] == declared[1]:
        return Delimiters(field, declared[:2], declared[2], declared[3])
    padded = declared + STANDARD.definition()[len(declared) :]
    return Delimiters(field, padded[0], padded[1], padded[2])


class Record(msgspec.Struct, gc=False):
    """One record. `fields` holds the raw text, `fields[0]` the record type; all reading methods count from 1.

    A Struct because one is made for each line of every message: a third of the time of a class with slots.
    """

    fields: list[str]
    kind: str
    index: int
    delimiters: Delimiters
    charset: str
    as_sent: bool
    """Nothing has to be taken away: no padding, no escape sign and no repeat stands in the record."""
    escaped: bool = True
    """An escape sign or a repeat stands in it: without one there is at most padding."""

    def raw(self, number: int) -> str:
        """Field as it stands, "" where the record is shorter."""
        fields = self.fields
        return fields[number - 1] if number <= len(fields) else ""

    def text(self, number: int) -> str:
        """Field without padding and escapes."""
        fields = self.fields
        if number > len(fields):
            return ""
        raw = fields[number - 1]
        return raw if self.as_sent else self.plain(raw).strip()

    def texts(self, numbers: Sequence[int]) -> list[str]:
        """Several fields at once, as `text`."""
        fields = self.fields
        last = len(fields)
        found = [fields[number - 1] if number <= last else "" for number in numbers]
        if self.as_sent:
            return found
        if not self.escaped:
            return [each.strip() for each in found]
        sign = self.delimiters.escape
        return [self.plain(each).strip() if sign in each else each.strip() for each in found]

    def components(self, number: int) -> list[str]:
        """Components of the first repeat, each without padding and escapes."""
        fields = self.fields
        raw = fields[number - 1] if number <= len(fields) else ""
        delimiters = self.delimiters
        if self.as_sent:
            return raw.split(delimiters.component)
        if self.escaped and delimiters.repeat in raw:
            raw = raw.split(delimiters.repeat, 1)[0]
        return self.parts(raw)

    def component(self, number: int, position: int) -> str:
        """One component counted from 1, "" where there is none."""
        parts = self.components(number)
        return parts[position - 1] if position <= len(parts) else ""

    def repeats(self, number: int) -> list[list[str]]:
        """Components of every repeat of a field; [] for an empty field."""
        raw = self.raw(number)
        return [self.parts(each) for each in raw.split(self.delimiters.repeat)] if raw else []

    def parts(self, repeat: str) -> list[str]:
        parts = repeat.split(self.delimiters.component)
        if self.as_sent:
            return parts
        if self.escaped and self.delimiters.escape in repeat:
            return [self.plain(each).strip() for each in parts]
        return [each.strip() for each in parts]

    def plain(self, text: str) -> str:
        """`text` without escapes."""
        return unescape(text, self.delimiters, self.charset) if self.delimiters.escape in text else text

    def whole(self) -> str:
        return self.delimiters.field.join(self.fields)


def unescape(text: str, delimiters: Delimiters, charset: str = "latin-1") -> str:
    """``&F& &S& &R& &E& &Xhh..&`` become what they stand for; ``&H& &N&`` (highlighting) and ``&Z..&`` vanish.

    An unknown or unpaired escape is data and stays (LIS02-A2 5.4.5).
    """
    escape = delimiters.escape
    pieces = text.split(escape)
    found = [pieces[0]]
    position = 1
    while position < len(pieces):
        meaning = _meaning(pieces[position], delimiters, charset) if position + 1 < len(pieces) else None
        if meaning is None:
            found.append(escape + pieces[position])
            position += 1
        else:
            found.append(meaning + pieces[position + 1])
            position += 2
    return "".join(found)


def _meaning(code: str, delimiters: Delimiters, charset: str) -> str | None:
    simple = {
        "F": delimiters.field,
        "S": delimiters.component,
        "R": delimiters.repeat,
        "E": delimiters.escape,
        "H": "",
        "N": "",
    }.get(code)
    if simple is not None:
        return simple
    if code.startswith("Z"):
        return ""
    coded = _HEX.fullmatch(code)
    return decode_text(bytes.fromhex(coded[1]), charset)[0] if coded else None


def escape(text: str, delimiters: Delimiters = STANDARD) -> str:
    """`text` made safe to stand in a field; control characters are dropped."""
    sign = delimiters.escape
    text = text.replace(sign, f"{sign}E{sign}")
    for character, code in (
        (delimiters.field, "F"),
        (delimiters.component, "S"),
        (delimiters.repeat, "R"),
    ):
        text = text.replace(character, f"{sign}{code}{sign}")
    return "".join(each for each in text if each >= " ")


class AstmMessage:
    """The records of one payload in their order, with the character set they were read with."""

    __slots__ = ("charset", "records")

    def __init__(self, records: list[Record], charset: str) -> None:
        self.records = records
        self.charset = charset

    @property
    def header(self) -> Record | None:
        return self.records[0] if self.records and self.records[0].kind == "H" else None


def read_message(payload: bytes, charset: str | None = None) -> AstmMessage:
    """Never raises. Records end with CR; LF and CR LF are taken too. Every header sets the delimiters anew."""
    text, used = decode_text(payload, charset)
    if "\n" in text:
        text = text.replace("\n", "\r")
    text = text.removeprefix("\ufeff")
    padded = has_rare_padding(text)
    delimiters = STANDARD
    field, sign = delimiters.field, delimiters.escape
    repeat = delimiters.repeat[0]  # a doubled one is much slower to look for
    records: list[Record] = []
    for line in text.split("\r"):
        fields = line.split(field)
        kind = fields[0]
        if kind not in _BELOW_HEADER:
            if not line or line.isspace():
                continue
            if line[0] in "Hh" and not line[1:2].isalnum():
                delimiters = read_delimiters(line)
                field, repeat, sign = delimiters.field, delimiters.repeat[0], delimiters.escape
                fields = line.split(field)
                kind = fields[0]
            if kind not in _KINDS:
                kind = kind.strip().upper()
        escaped = sign in line or repeat in line
        as_sent = not (escaped or padded or " " in line)
        records.append(Record(fields, kind, len(records), delimiters, used, as_sent, escaped))
    return AstmMessage(records, used)


_RESTRICTED = bytes([*range(0x01, 0x07), 0x0A, *range(0x10, 0x18)])
"""LIS01-A2 6.6: bytes that may not stand in a frame. An answer echoes fields as they came, whatever they hold."""


def build_message(records: Iterable[Sequence[str]], charset: str = "utf-8") -> bytes:
    """Records of ready fields (escaped by the caller where they are data), each ended with CR, standard delimiters."""
    lines = ["|".join(fields).replace("\r", " ").replace("\n", " ") for fields in records]  # a field ends no record
    data = ("\r".join(lines) + "\r").encode(charset, errors="replace")
    return data.translate(None, _RESTRICTED)
