"""How the texts of proprietary instruments are cut out of a line: where one begins and ends and what proves it whole.

A `Framing` is data: the named ones below are those of vendors' documents (named where they are used). Nothing here
knows time or answers; `next_text` looks at the bytes that are there and says what stands at their head.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from operator import xor

STX, ETX, EOT, ENQ, ACK, NAK, ETB = b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x15", b"\x17"
CR, LF, GS, FF = b"\r", b"\n", b"\x1d", b"\x0c"
FILLER = b"\r\n\x00"
"""What may stand between texts and means nothing."""


class Method(StrEnum):
    XOR = "block check character: exclusive or of the bytes"
    SUM = "sum of the bytes modulo 256"


@dataclass(frozen=True, slots=True)
class Check:
    """What proves a text. Which bytes it counts is the vendor's choice: the start and end codes may or may not."""

    method: Method
    hex_digits: bool = False
    """Two hexadecimal digits, either case; else one raw byte of any value."""
    counts_start: bool = False
    counts_end: bool = True
    marker: bytes = b""
    """The check stands before the end code, behind this byte, which is counted (mini VIDAS: GS)."""

    @property
    def width(self) -> int:
        return 2 if self.hex_digits else 1

    def of(self, data: bytes) -> bytes:
        value = reduce(xor, data, 0) if self.method is Method.XOR else sum(data) % 256
        return b"%02X" % value if self.hex_digits else bytes([value])

    def proves(self, data: bytes, sent: bytes) -> bool:
        return self.of(data) == (sent.upper() if self.hex_digits else sent)


@dataclass(frozen=True, slots=True)
class Framing:
    """One vendor's way. Without `start` a text begins with its first byte; without `ends` only silence ends it."""

    name: str
    start: bytes = STX
    ends: tuple[bytes, ...] = (ETX,)
    check: Check | None = None
    goes_on: bytes = b""
    """An end code that says: a block, more of the message follows (ETB). Of the same length as the other ends."""
    trailer: bytes = b""
    """Written behind our own texts; whoever hears them takes such bytes for filler."""

    def wrap(self, body: bytes) -> bytes:
        """`body` as we put it on the line."""
        end = self.ends[0] if self.ends else b""
        check = self.check
        if check is None:
            return self.start + body + end + self.trailer
        if check.marker:
            counted = (self.start if check.counts_start else b"") + body + check.marker
            return self.start + body + check.marker + check.of(counted) + end + self.trailer
        return self.start + body + end + check.of(_counted(self, body, end)) + self.trailer


@dataclass(frozen=True, slots=True)
class Text:
    """The first `length` bytes are one text; with a `fault` it is not whole and proves nothing."""

    length: int
    body: bytes
    goes_on: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Noise:
    """The first `length` bytes are no text. Without a reason they are filler."""

    length: int
    reason: str = ""


OUTSIDE = "bytes outside a text"
UNENDED = "the next text began before this one ended"
WRONG_CHECK = "wrong check character"


def next_text(buffer: bytes | bytearray, framing: Framing) -> Text | Noise | None:
    """What stands at the head of `buffer`, or None where more bytes are needed to say."""
    if not buffer:
        return None
    filler = len(buffer) - len(buffer.lstrip(FILLER))
    if filler:
        return Noise(filler)
    if framing.start and not buffer.startswith(framing.start):
        place = buffer.find(framing.start)
        return Noise(len(buffer) if place < 0 else place, OUTSIDE)
    return _text(buffer, framing)


def _text(data: bytes | bytearray, framing: Framing) -> Text | Noise | None:
    begin = len(framing.start)
    end, code = _first_end(data, begin, framing)
    restart = data.find(framing.start, begin, end if end >= 0 else len(data)) if framing.start else -1
    if framing.check is None and restart >= 0:
        return Noise(restart, UNENDED)
    if end < 0:
        return None
    after = end + len(code)
    body, goes_on = bytes(data[begin:end]), bool(framing.goes_on) and code == framing.goes_on
    if framing.check is None:
        return Text(after, body, goes_on)
    return _proved(data, framing, framing.check, body, code, goes_on, restart)


def _proved(
    data: bytes | bytearray, framing: Framing, check: Check, body: bytes, code: bytes, goes_on: bool, restart: int
) -> Text | Noise | None:
    after = len(framing.start) + len(body) + len(code)
    if check.marker:
        body, marker, sent = body.rpartition(check.marker)
        counted = (framing.start if check.counts_start else b"") + body + marker
        whole = bool(marker) and check.proves(counted, sent)
    else:
        if len(data) < after + check.width:
            return None
        sent = bytes(data[after : after + check.width])
        whole = check.proves(_counted(framing, body, code), sent)
        if whole or not sent.startswith(framing.start):
            after += check.width
    if whole:
        return Text(after, body, goes_on)
    if restart >= 0:  # its end was lost: what has come is the end of a later text
        return Noise(restart, UNENDED)
    return Text(after, body, goes_on, WRONG_CHECK)


def _counted(framing: Framing, body: bytes, end: bytes) -> bytes:
    check = framing.check
    assert check is not None
    return (framing.start if check.counts_start else b"") + body + (end if check.counts_end else b"")


def _first_end(data: bytes | bytearray, begin: int, framing: Framing) -> tuple[int, bytes]:
    """Where the first end code stands, and which; (-1, b"") where there is none yet."""
    codes = (*framing.ends, framing.goes_on) if framing.goes_on else framing.ends
    found = [(place, code) for code in codes if (place := data.find(code, begin)) >= 0]
    return min(found, key=lambda each: each[0], default=(-1, b""))


_BCC = Check(Method.XOR)
_HEX_SUM = Check(Method.SUM, hex_digits=True, counts_end=False)

STX_ETX = Framing("STX ETX")
STX_ETX_BCC = Framing("STX ETX BCC", check=_BCC)
HITACHI_ENDINGS = {
    "ETX+BCC": STX_ETX_BCC,
    "CR+LF+ETX": Framing("CR LF ETX", ends=(CR + LF + ETX,)),
    "ETX": STX_ETX,
    "ETX+CR+LF": Framing("ETX CR LF", trailer=CR + LF),
    "ETX+CHECKSUM+CR": Framing("ETX checksum CR", check=_HEX_SUM, trailer=CR),
}
"""The five endings that a Hitachi 902 or 7180 lets its operator choose (902 service manual, p. 16-2)."""
LINE_CR = Framing("lines that end with CR", start=b"", ends=(CR,))
LINE_CRLF = Framing("lines that end with CR LF", start=b"", ends=(CR + LF,))
LINE = Framing("lines that end with CR, LF or both", start=b"", ends=(CR, LF))
BLANK_LINE = Framing("text that ends with a blank line", start=b"", ends=(b"\r\n\r", b"\n\n", b"\r\r"))
FORM_FEED = Framing("text that ends with a form feed", start=b"", ends=(FF,))
SILENCE = Framing("text that ends with silence", start=b"", ends=())
STX_GS_CHECKSUM = Framing("STX, GS checksum, ETX", check=Check(Method.SUM, hex_digits=True, marker=GS))
