"""Does a text consist of ASTM records or HL7 segments? Then it is no table and no printout, with framing or without."""

from __future__ import annotations

import re

_HEADER = re.compile(rb"^[\x02\x05\x0b ]*(?:[0-7]?[Hh][!-/:-@\[-`{-~]{3}|(?:MSH|FHS|BHS)[!-/:-@\[-`{-~])", re.MULTILINE)
_RECORD = re.compile(rb"[\x02\x05 ]*[0-7]?[HPORCQMSLhporcqmsl]([!-/:-@\[-`{-~])\d+(?:\1|$)")
_SEGMENT = re.compile(rb"[A-Z][A-Z0-9]{2}\|")
_READ_AT_MOST = 64 * 1024


def is_of_records(data: bytes) -> bool:
    """A header of either stands at the beginning of a line, or every line begins like a record or a segment."""
    head = data[:_READ_AT_MOST].removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"\n")
    if _HEADER.search(head):
        return True
    lines = [line for line in head.split(b"\n") if line.strip(b"\x00 \x03\x04\x1c")]
    return bool(lines) and (all(map(_RECORD.match, lines)) or all(map(_SEGMENT.match, lines)))
