"""Windows bitmaps as PNG: analyzers send BMP, a report is set with PNG, JPEG, GIF or WebP.

Only what analyzers send: uncompressed, 8 bits by palette, 24 or 32 bits (Microsoft, BITMAPINFOHEADER). Anything else
is None and the report says that the picture cannot be shown.
"""

from __future__ import annotations

import struct
import zlib

LARGEST = 40_000_000
"""Pixels: what is larger is no analyzer's picture."""


def bmp_as_png(data: bytes) -> bytes | None:
    """The picture as a PNG of 8-bit red, green and blue."""
    try:
        return _converted(data)
    except (struct.error, IndexError):
        return None


def _converted(data: bytes) -> bytes | None:
    if data[:2] != b"BM":
        return None
    start, header, width, height, _planes, bits, packing = struct.unpack_from("<10xIIiiHHI", data)
    colours = struct.unpack_from("<I", data, 46)[0]
    if packing or bits not in (8, 24, 32) or width <= 0 or not 0 < width * abs(height) <= LARGEST:
        return None
    stride = (width * bits + 31) // 32 * 4
    if len(data) < start + stride * abs(height):
        return None
    palette = _palette(data, 14 + header, colours or 256) if bits == 8 else ()
    lines = [data[start + stride * at : start + stride * (at + 1)] for at in range(abs(height))]
    if height > 0:
        lines.reverse()
    rows = b"".join(b"\0" + _rgb(line, width, bits, palette) for line in lines)
    shape = struct.pack(">IIBBBBB", width, abs(height), 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", shape) + _chunk(b"IDAT", zlib.compress(rows, 6)) + _chunk(b"IEND", b"")
    )


def _palette(data: bytes, at: int, colours: int) -> tuple[bytes, ...]:
    """Blue, green, red and a byte of nothing each."""
    return tuple(data[place : place + 3][::-1] for place in range(at, at + 4 * colours, 4))


def _rgb(line: bytes, width: int, bits: int, palette: tuple[bytes, ...]) -> bytes:
    if bits == 8:
        return b"".join(palette[index] for index in line[:width])
    step = bits // 8
    made = bytearray(width * 3)
    made[0::3], made[1::3], made[2::3] = (line[at : width * step : step] for at in (2, 1, 0))
    return bytes(made)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
