"""Curves and matrices that instruments send as text: ``FLOATLE-stream/deflate:base64`` and its kin.

The words before the data say how it was packed: type of the numbers, compression, encoding. Seen: 32-bit floats, least
significant byte first, raw deflate (RFC 1951), base64. What is unpacked is bounded, so that a damaged or a hostile
stream cannot fill the memory. Source: captures of a Horiba Yumizen H550; senaite.astm names the same words.
"""

from __future__ import annotations

import binascii
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache

LARGEST = 8 * 1024 * 1024
"""Bytes of one unpacked stream: a matrix of 1024 by 1024 32-bit numbers and its half again."""

_LONGEST_DESCRIPTOR = 60
_FIRST_PIECE, _PIECE = 256, 8192
"""Characters of base64 that are unpacked at once, multiples of four: what is spoiled mostly shows at its beginning."""
_DESCRIPTOR = re.compile(r"([A-Z]+\d*[LB]E)-stream/(deflate|gzip)?:base64")
_NUMBERS: Mapping[str, tuple[str, int]] = {
    "FLOATLE": ("<f", 4),
    "FLOATBE": (">f", 4),
    "INT32LE": ("<i", 4),
    "INT32BE": (">i", 4),
    "INT16LE": ("<h", 2),
    "INT16BE": (">h", 2),
}


class BadStream(ValueError):
    """The stream cannot be unpacked; the message says why."""


def is_stream(descriptor: str) -> bool:
    return "-stream/" in descriptor


def read_stream(descriptor: str, text: str) -> tuple[float, ...]:
    """The numbers of one stream. Raises BadStream."""
    numbers, compression = _packing(descriptor[:_LONGEST_DESCRIPTOR])
    data = _inflated(text, compression) if compression else b"".join(_packed(text))
    kind, size = _NUMBERS[numbers]
    if len(data) % size:
        raise BadStream(f"{len(data)} bytes are no whole count of {numbers}")
    return struct.unpack(f"{kind[0]}{len(data) // size}{kind[1]}", data)


@lru_cache(maxsize=64)
def _packing(descriptor: str) -> tuple[str, str | None]:
    """Kind of the numbers and their compression. Raises BadStream."""
    match = _DESCRIPTOR.fullmatch(descriptor)
    if match is None or match[1] not in _NUMBERS:
        raise BadStream(f"unknown packing {descriptor}")
    return match[1], match[2]


def _packed(text: str) -> Iterator[bytes]:
    """The bytes of base64, piece by piece: who finds the first one spoiled need not decode the others."""
    end, size = 0, _FIRST_PIECE
    while end < len(text):
        start, end, size = end, end + size, _PIECE
        piece = text[start:end]
        if "=" in piece and end < len(text):
            raise BadStream("no base64: padding before its end")
        try:
            yield binascii.a2b_base64(piece, strict_mode=True)
        except (binascii.Error, ValueError) as error:
            raise BadStream(f"no base64: {error}") from error


def _inflated(text: str, compression: str) -> bytes:
    try:
        return _unpacked(text, compression, 31 if compression == "gzip" else -zlib.MAX_WBITS)
    except zlib.error as error:
        reason = f"{compression} stream: {error}"
    if compression == "deflate" and _has_header(text):
        try:
            return _unpacked(text, compression, zlib.MAX_WBITS)
        except zlib.error:
            pass
    raise BadStream(reason)


def _has_header(text: str) -> bool:
    """Whether a stream may begin with the header of RFC 1950, which should not be there."""
    head = next(_packed(text[:4]), b"")
    return len(head) > 1 and head[0] & 0x0F == zlib.DEFLATED and (head[0] << 8 | head[1]) % 31 == 0


def _unpacked(text: str, compression: str, window: int) -> bytes:
    """Raises zlib.error for a spoiled stream, BadStream for one that is too long, too short or no base64."""
    stream = zlib.decompressobj(window)
    found: list[bytes] = []
    room = LARGEST
    for packed in _packed(text):
        if stream.eof:
            continue  # what stands behind the stream is base64 too, or the whole is refused
        data = stream.decompress(packed, room + 1)
        found.append(data)
        room -= len(data)
        if room < 0:
            raise BadStream(f"{compression} stream: longer than {LARGEST} bytes")
    if not stream.eof:
        raise BadStream(f"{compression} stream: it ends too early")
    return found[0] if len(found) == 1 else b"".join(found)


def as_json(title: str, streams: Mapping[str, tuple[float, ...]]) -> bytes:
    """Named runs of numbers as a JSON object, in the seven digits that 32-bit floats have."""
    body = {name: [_short(number) for number in numbers] for name, numbers in streams.items()}
    return json.dumps({"title": title, **body}, separators=(",", ":"), ensure_ascii=False).encode()


def _short(number: float) -> float | int | None:
    if number != number or number in (float("inf"), float("-inf")):
        return None  # JSON has no such number
    shortened = float(f"{number:.7g}")
    return int(shortened) if shortened.is_integer() else shortened
