"""Pictures and documents in OBX-5: data types ED (the data itself) and RP (where the instrument keeps them)."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.messages.embedded import from_base64, from_hex, media_type
from protocols.messages.hl7 import Segment
from protocols.model import Attachment


def encapsulated(segment: Segment, code: str, repeat: str) -> Attachment | None:
    """ED: source ^ type ^ subtype ^ encoding ^ data, data of megabytes: split once and never searched."""
    pieces = repeat.split(segment.delimiters.component, 4)
    if len(pieces) < 5:
        return None
    encoding = pieces[3].strip().lower()
    decode = {"": from_base64, "base64": from_base64, "hex": from_hex}.get(encoding)
    data = decode(segment.plain(pieces[4])) if decode is not None else None
    if data is None:
        return None
    return Attachment(code, media_type(data, _media_type(pieces[1:3])), data)


def reference(segment: Segment, code: str, repeat: str) -> Attachment | None:
    """RP: pointer ^ application ^ type ^ subtype: the instrument keeps the picture and says where."""
    pointer, _, *kind = [*segment.parts(repeat), "", ""][:4]
    return Attachment(code, _media_type(kind), reference=pointer) if pointer else None


def _media_type(kind: Sequence[str]) -> str:
    return "/".join(part.strip().lower() for part in kind if part.strip()) or "application/octet-stream"
