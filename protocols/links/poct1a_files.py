"""The documents in a captured file of POCT1-A, told apart by the rules of the line itself."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.links.xml_stream import FILLER, XmlStream
from protocols.messages.poct1a import ROOT_NAME, kind_of

_TYPES = (b".R01", b".R02", b".\x00R\x000\x00", b"POCT1")


def split_documents(data: bytes) -> Sequence[bytes] | None:
    """Every document of the file, and what stands between them; None: no document of it is POCT1-A's."""
    if b"<" not in data or not any(each in data for each in _TYPES):
        return None
    stream = XmlStream(ROOT_NAME, len(data) + 1)
    pieces = [*stream.feed(data), *(each for each in stream.clear() if each is not None)]
    found = [piece.raw for piece in pieces if piece.raw.strip(FILLER)]
    if not any(ROOT_NAME.fullmatch(kind_of(each).encode("utf-8", "replace")) for each in found):
        return None
    return found
