"""Where a segment of an HL7 payload stands in its bytes, counted as `read_messages` counts (GW-12)."""

from __future__ import annotations

import re

from protocols.messages.charset import decode_text
from protocols.messages.hl7 import read_messages

_LINE = re.compile(rb"[^\r\n\v\x1c]+")
_BATCH = (b"FHS", b"BHS", b"BTS", b"FTS")


def segment_span(payload: bytes, index: int) -> tuple[int, int] | None:
    """Start and end of one segment, which may go on over several lines; None where it is not there.

    None in a batch, too: each of its messages counts its own segments, and which one is meant is not known.
    """
    messages = read_messages(payload)
    if len(messages) != 1 or not 0 <= index < len(messages[0].segments):
        return None
    segments = messages[0].segments
    lines = [
        match.span()
        for match in _LINE.finditer(payload, max(payload.find(b"MSH"), 0))
        if match[0][:3] not in _BATCH and not decode_text(match[0])[0].isspace()
    ]
    first = sum(1 + segment.line.count("\n") for segment in segments[:index])
    last = first + segments[index].line.count("\n")
    return (lines[first][0], lines[last][1]) if last < len(lines) else None


_LINE_END = re.compile(rb"[\r\n\v\x1c]")


def header_alone(payload: bytes) -> bytes | None:
    """The MSH line of a payload that holds one message and whose header is plain ASCII; else None: read it whole."""
    start = payload.find(b"MSH")
    if start < 0 or payload.find(b"MSH", start + 3) >= 0 or (start and not _LINE_END.match(payload, start - 1)):
        return None
    end = _LINE_END.search(payload, start)
    line = payload[start : end.start() if end else len(payload)]
    return line if line.isascii() and b"\x1b" not in line else None
