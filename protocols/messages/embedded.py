"""Pictures and documents that stand in a record as text: base64 or hexadecimal (packed curves: `histograms`).

Nothing raises: what does not decode gives None, and the caller keeps the text as it came.
"""

from __future__ import annotations

import base64
import binascii

_UNKNOWN = "application/octet-stream"
SMALLEST = 64
"""Characters: no picture is smaller, and no result that is none is looked at."""
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


def media_type(data: bytes, said: str = "") -> str:
    """Media type of a picture or document by its first bytes, else ``said`` (the sender's word), else unknown bytes."""
    found = next((known for signature, known in _SIGNATURES if data.startswith(signature)), None)
    return found or said or _UNKNOWN


def picture_in(text: str) -> tuple[str, bytes] | None:
    """Media type and bytes of a picture or document that is the whole of `text` in base64, known by its first bytes."""
    if len(text) < SMALLEST or " " in text:
        return None
    data = from_base64(text)
    kind = media_type(data) if data is not None else _UNKNOWN
    return (kind, data) if data is not None and kind != _UNKNOWN else None
