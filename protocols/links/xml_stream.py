"""Documents out of a stream of bytes that has neither lengths nor delimiters: XML back to back on TCP.

Between documents white space, NUL and the control bytes of other framings (VT, FS) are passed over; anything else is
noise, handed out when the next document begins. UTF-16 (a byte order mark, or ``<`` beside a zero) is scanned through a
view of one byte for each code unit. Memory is bounded: a document over the limit is told as such and skipped to its
end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from protocols.links.xml_tokens import Boundary, XmlScanner

FILLER = b" \t\r\n\x00\x0b\x0c\x1c\x03\x04"
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_DOCUMENT_START = re.compile(rb"<(?:[A-Za-z_:\x80-\xff]|\?xml|!--|!DOCTYPE)")
_OPENINGS = (b"<?xml", b"<!--", b"<!DOCTYPE")
_LONGEST_OPENING = 9
_KEPT = 64 * 1024


class Ending(Enum):
    """How a piece of the stream ended."""

    WHOLE = "whole"
    BROKEN_OFF = "the next document began before this one ended"
    TOO_LONG = "document longer than the limit"
    NOISE = "bytes outside a document"


@dataclass(frozen=True, slots=True)
class Piece:
    """A document, or what is none, as it stood on the wire (of a too long one its beginning)."""

    ending: Ending
    raw: bytes
    framed: bool = False
    """A VT stood before it: the sender wraps its documents as MLLP does."""


class XmlStream:
    """Bytes in as they come, pieces out."""

    def __init__(self, root_name: re.Pattern[bytes], limit: int) -> None:
        """`root_name`: names that only a root has (see `XmlScanner`); `limit` in bytes."""
        self._root_name = root_name
        self._limit = limit
        self._reset()

    def _reset(self) -> None:
        self._raw = bytearray()
        self._view = self._raw
        self._units = 1
        self._big_endian = False
        self._noise = bytearray()
        self._framed = False
        self._scanner: XmlScanner | None = None
        self._head = b""

    def clear(self) -> tuple[Piece | None, Piece | None]:
        """Begin anew; gives back the noise and the document that were unfinished."""
        noise, rest = self._take_noise(), bytes(self._raw)
        document = None
        if self._scanner is not None:
            ending = Ending.TOO_LONG if self._head else Ending.BROKEN_OFF
            document = Piece(ending, self._head or rest, self._framed)
        elif rest.strip(FILLER):
            noise = Piece(Ending.NOISE, (noise.raw if noise else b"") + rest)
        self._reset()
        return noise, document

    @property
    def waiting(self) -> bool:
        """Is something unfinished?"""
        return self._scanner is not None or bool(self._noise.strip(FILLER)) or bool(self._raw)

    def feed(self, data: bytes) -> list[Piece]:
        self._raw += data
        found: list[Piece] = []
        while self._raw:
            if self._scanner is None and not self._find_start(found):
                break
            piece = self._document()
            if piece is None:
                break
            found.append(piece)
        return found

    # ------------------------------------------------------------------ between documents

    def _find_start(self, found: list[Piece]) -> bool:
        """Pass over what stands between documents; False: none has begun yet."""
        while self._raw:
            if self._skip_filler():
                continue
            begins = self._begins()
            if begins is None:
                return False
            if begins:
                noise = self._take_noise()
                if noise is not None:
                    found.append(noise)
                self._scanner = XmlScanner(self._root_name)
                self._view = self._raw if self._units == 1 else bytearray()
                return True
            self._drop_noise()
        return False

    def _skip_filler(self) -> bool:
        raw = self._raw
        if self._units == 2 and len(raw) > 1 and _low(raw[:2], self._big_endian) in FILLER[:4]:
            self._pass_over(2)
            return True
        wide = self._units == 2 and len(raw) == 1
        if raw[0] not in FILLER or wide or (raw[0] == 0 and bytes(raw[1:2]) in (b"<", b"")):
            return False
        self._framed = raw[0] == 0x0B or (self._framed and raw[0] in b"\r\n")
        self._pass_over(1)
        return True

    def _pass_over(self, count: int) -> None:
        """Filler; among noise it is noise, so that this is told as it came."""
        if self._noise and len(self._noise) < _KEPT:
            self._noise += self._raw[:count]
        del self._raw[:count]

    def _begins(self) -> bool | None:
        """Does a document begin with the next byte? None: more bytes are needed to know."""
        raw = self._raw
        head = bytes(raw[: 2 * _LONGEST_OPENING + 3])
        if any(mark.startswith(head) for mark in _MARKS) or head in (b"\0", b"<"):
            return None
        if self._units == 2 and len(head) == 1:
            return None
        if head.startswith(_MARKS[0]):
            return self._opens(head[3:], 1)
        if head.startswith((b"\xff\xfe", b"<\0")):
            return self._opens(head[2::2] if head[0] == 0xFF else head[0::2], 2)
        if head.startswith((b"\xfe\xff", b"\0<")):
            if head[0] == 0 and head[2:3] not in (b"", b"\0"):
                return False
            return self._opens(head[3::2] if head[0] == 0xFE else head[1::2], 2, head[0] in (0, 0xFE))
        return self._opens(head, 1)

    def _opens(self, opening: bytes, units: int, big_endian: bool = False) -> bool | None:
        opening = opening[:_LONGEST_OPENING]
        if _DOCUMENT_START.match(opening):
            self._units, self._big_endian = units, big_endian
            return True
        return None if any(each.startswith(opening) for each in _OPENINGS) else False

    def _drop_noise(self) -> None:
        """Everything up to the next place where a document may begin."""
        raw = self._raw
        places = [raw.find(each, 1) for each in (b"\0<", b"<", *_MARKS)]
        end = min((place for place in places if place > 0), default=len(raw))
        self._noise += raw[: min(end, max(_KEPT - len(self._noise), 0))]
        del raw[:end]
        self._framed = False

    def _take_noise(self) -> Piece | None:
        raw = bytes(self._noise)
        self._noise.clear()
        return Piece(Ending.NOISE, raw) if raw.strip(FILLER) else None

    # ------------------------------------------------------------------ inside a document

    def _document(self) -> Piece | None:
        """The document at the head of the buffer, if its end is there."""
        scanner = self._scanner
        if scanner is None:  # pragma: no cover - a document has begun
            return None
        if self._units == 2:
            self._see()
        boundary = scanner.scan(self._view)
        if boundary is None:
            return self._shed(scanner) if len(self._raw) > self._limit else None
        ending = {Boundary.END: Ending.WHOLE, Boundary.ANOTHER: Ending.BROKEN_OFF}.get(boundary, Ending.NOISE)
        length = scanner.position * self._units
        too_long = bool(self._head) or length > self._limit
        raw = self._head or bytes(self._raw[: _KEPT if too_long else length])
        return self._ended(Ending.TOO_LONG if too_long else ending, raw, length)

    def _ended(self, ending: Ending, raw: bytes, length: int) -> Piece:
        piece = Piece(ending, raw, self._framed)
        del self._raw[:length]
        self._framed = self._framed and ending is Ending.NOISE
        self._scanner, self._head = None, b""
        return piece

    def _see(self) -> None:
        """Bring the view of code units up to date with the bytes."""
        begin, end = len(self._view) * 2, len(self._raw) - len(self._raw) % 2
        self._view += bytes(_low(self._raw[at : at + 2], self._big_endian) for at in range(begin, end, 2))

    def _shed(self, scanner: XmlScanner) -> Piece | None:
        """Too long: keep its beginning and go on to its end in bounded memory."""
        self._head = self._head or bytes(self._raw[:_KEPT])
        count = scanner.position
        if (len(self._view) - count) * self._units > self._limit:  # one token longer than all: nothing ends it
            return self._ended(Ending.TOO_LONG, self._head, len(self._raw))
        del self._raw[: count * self._units]
        if self._units == 2:
            del self._view[:count]
        scanner.shed(count)
        return None


def _low(unit: bytes | bytearray, big_endian: bool) -> int:
    """The code unit where it is an ASCII character, else a byte that is no markup."""
    high, low = (unit[0], unit[1]) if big_endian else (unit[1], unit[0])
    return low if high == 0 and low < 0x80 else 0x80
