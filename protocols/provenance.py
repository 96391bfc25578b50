"""From a value back to the bytes it was read from (GW-12): the bytes of one record of a message.

`Observation.record` counts records, segments, lines or elements from 0 as the family's reader counts them; here the
same counting is done over the raw bytes. Where that cannot be done the whole message is given, which is never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from protocols.messages.charset import decode_text
from protocols.messages.hl7_spans import segment_span

Span = tuple[int, int]

_LINE = re.compile(rb"[^\r\n]+")
_TAG = re.compile(
    rb"<!--.*?-->|<\?.*?\?>|<!\[CDATA\[.*?\]\]>|<(/?)[A-Za-z_:](?:\"[^\"]*\"|'[^']*'|[^>\"'])*>", re.DOTALL
)


def record_span(payload: bytes, record: int | None, protocol: str) -> Span:
    """Start and end of the record in `payload`, without its line end; the whole payload where it is not found."""
    find = _FINDERS.get(protocol)
    found = find(payload, record) if find is not None and record is not None else None
    return found or (0, len(payload))


def record_bytes(payload: bytes, record: int | None, protocol: str) -> bytes:
    start, end = record_span(payload, record, protocol)
    return payload[start:end]


def _line(payload: bytes, record: int, counts: Callable[[bytes], bool] = bool) -> Span | None:
    """The line with that number among those that count."""
    position = 0
    for match in _LINE.finditer(payload):
        if counts(match[0]):
            if position == record:
                return match.span()
            position += 1
    return None


def _astm_record(payload: bytes, record: int) -> Span | None:
    """The reader of records leaves out lines of blanks, as characters (a blank of GBK too)."""
    return _line(payload, record, lambda line: not (line.isspace() or decode_text(line)[0].isspace()))


def _element(payload: bytes, record: int) -> Span | None:
    """The element whose start tag is the one with that number, through its end tag."""
    if b"\x00" in payload[:4]:
        return None  # UTF-16
    number = -1
    depth = 0
    start: int | None = None
    for match in _TAG.finditer(payload):
        if match[1] is None:  # a comment, an instruction, character data
            continue
        closes, empty = bool(match[1]), match[0].endswith(b"/>")
        if not closes:
            number += 1
            if number == record:
                start = match.start()
        if start is not None:
            depth += -1 if closes else not empty
            if depth <= 0:
                return start, match.end()
    return None


_FINDERS: dict[str, Callable[[bytes, int], Span | None]] = {
    "astm": _astm_record,
    "hl7": segment_span,
    "poct1a": _element,
    "text": _line,
    "file": _line,
    "modbus": _line,
}
