"""Curves and matrices that instruments send as text: ``FLOATLE-stream/deflate:base64`` and its kin.

The words before the data say how it was packed: type of the numbers, compression, encoding. Seen: 32-bit floats, least
significant byte first, raw deflate (RFC 1951), base64. What is unpacked is bounded, so that a damaged or a hostile
stream cannot fill the memory. Source: captures of a Horiba Yumizen H550; senaite.astm names the same words.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import zlib
from collections.abc import Mapping

LARGEST = 8 * 1024 * 1024
"""Bytes of one unpacked stream: a matrix of 1024 by 1024 32-bit numbers and its half again."""

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
    match = _DESCRIPTOR.fullmatch(descriptor)
    if match is None or match[1] not in _NUMBERS:
        raise BadStream(f"unknown packing {descriptor[:60]}")
    try:
        packed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadStream(f"no base64: {error}") from error
    data = _inflated(packed, match[2])
    kind, size = _NUMBERS[match[1]]
    if len(data) % size:
        raise BadStream(f"{len(data)} bytes are no whole count of {match[1]}")
    return struct.unpack(f"{kind[0]}{len(data) // size}{kind[1]}", data)


def _inflated(packed: bytes, compression: str | None) -> bytes:
    if compression is None:
        return packed
    windows = (31,) if compression == "gzip" else (-zlib.MAX_WBITS, zlib.MAX_WBITS)  # raw deflate, then with a header
    reason = ""
    for window in windows:
        stream = zlib.decompressobj(window)
        try:
            data = stream.decompress(packed, LARGEST)
        except zlib.error as error:
            reason = reason or str(error)
            continue
        if stream.eof:
            return data
        reason = f"longer than {LARGEST} bytes" if stream.unconsumed_tail else "it ends too early"
        break
    raise BadStream(f"{compression} stream: {reason}")


def as_json(title: str, streams: Mapping[str, tuple[float, ...]]) -> bytes:
    """Named runs of numbers as a JSON object, in the seven digits that 32-bit floats have."""
    body = {name: [_short(number) for number in numbers] for name, numbers in streams.items()}
    return json.dumps({"title": title, **body}, separators=(",", ":"), ensure_ascii=False).encode()


def _short(number: float) -> float | int | None:
    if number != number or number in (float("inf"), float("-inf")):
        return None  # JSON has no such number
    shortened = float(f"{number:.7g}")
    return int(shortened) if shortened.is_integer() else shortened
