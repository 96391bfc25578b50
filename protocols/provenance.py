"""From a value back to the bytes it was read from (GW-12): the bytes of one record of a message.

`Observation.record` counts records, segments or lines from 0 as the family's reader counts them; here the same counting
is done over the raw bytes. A family whose records are no lines gives the whole message, which is never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from protocols.messages.charset import decode_text

_LINE = re.compile(rb"[^\r\n]+")
_BATCH = (b"FHS", b"BHS", b"BTS", b"FTS")


def record_span(payload: bytes, record: int | None, protocol: str) -> tuple[int, int]:
    """Start and end of the record in `payload`, without its line end; the whole payload where records are no lines."""
    whole = (0, len(payload))
    if record is None:
        return whole
    if protocol == "astm":
        return _nth(payload, record, _is_astm_record) or whole
    if protocol == "hl7":
        start = max(payload.find(b"MSH"), 0)
        return _nth(payload, record, _is_segment, start) or whole
    return whole


def record_bytes(payload: bytes, record: int | None, protocol: str) -> bytes:
    start, end = record_span(payload, record, protocol)
    return payload[start:end]


def _nth(payload: bytes, record: int, counts: Callable[[bytes], bool], start: int = 0) -> tuple[int, int] | None:
    position = 0
    for match in _LINE.finditer(payload, start):
        if counts(match[0]):
            if position == record:
                return match.span()
            position += 1
    return None


def _is_astm_record(line: bytes) -> bool:
    """The reader of records leaves out lines of blanks, as characters (a blank of GBK too)."""
    return not (line.isspace() or decode_text(line)[0].isspace())


def _is_segment(line: bytes) -> bool:
    return line[:3] not in _BATCH
