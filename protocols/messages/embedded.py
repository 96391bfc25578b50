"""Pictures, curves and documents that stand in a record as text: base64 or hexadecimal, some of them deflated.

Nothing raises: what does not decode gives None, and the caller keeps the text as it came. Numbers stay in the bytes
(a float stream is not unpacked here): whoever draws the curve knows its meaning, the media type says how it lies.

Source of the ``<type>-stream/deflate:base64`` notation: a capture of a Horiba Yumizen H550 (M records HISTOGRAM and
MATRIX), whose streams are raw deflate (RFC 1951) or zlib (RFC 1950) of 32-bit little-endian floats.
"""

from __future__ import annotations

import base64
import binascii
import zlib

_INFLATED_LIMIT = 64 * 1024 * 1024
"""Bytes: a few hundred of deflate can claim gigabytes."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"BM", "image/bmp"),
    (b"GIF8", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
)


def from_base64(text: str) -> bytes | None:
    """The bytes of base64 with or without line ends and padding; None where it is none (or empty)."""
    packed = "".join(text.split()).rstrip("=")
    if not packed or len(packed) % 4 == 1:
        return None
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def from_hex(text: str) -> bytes | None:
    """The bytes of hexadecimal digits, blanks allowed; None where it is none (or empty)."""
    try:
        return bytes.fromhex(text) or None
    except ValueError:
        return None


def inflate(data: bytes, limit: int = _INFLATED_LIMIT) -> bytes | None:
    """`data` inflated, whatever stands around it (zlib, gzip or nothing); None where it is broken or too long."""
    for window in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        unpacker = zlib.decompressobj(window)
        try:
            plain = unpacker.decompress(data, limit)
        except zlib.error:
            continue
        if unpacker.eof:
            return plain
    return None


def read_stream(notation: str, text: str) -> tuple[str, bytes] | None:
    """Media type and bytes of what a record names by ``<layout>-stream/<packing>:<encoding>``; None where it does not.

    The layout stands in the media type as the sender names it: ``FLOATLE`` is 32-bit little-endian floats.
    """
    layout, _, packing = notation.strip().partition("-stream/")
    how, _, encoding = packing.lower().partition(":")
    if not encoding:  # "FLOATLE-stream/base64": nothing is packed
        how, encoding = "", how
    data = {"base64": from_base64, "hex": from_hex}.get(encoding, _unknown)(text)
    if data is not None and how:
        data = inflate(data) if how in ("deflate", "zlib", "gzip") else None
    return None if data is None else (f'application/octet-stream; layout="{layout}"', data)


def media_type(data: bytes, said: str = "") -> str:
    """Media type of a picture or document by its first bytes, else ``said`` (the sender's word), else unknown bytes."""
    found = next((known for signature, known in _SIGNATURES if data.startswith(signature)), None)
    return found or said or "application/octet-stream"


def _unknown(text: str) -> bytes | None:
    return None
