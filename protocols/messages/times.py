"""Times as instruments write them (``YYYYMMDD[HH[MM[SS]]]``, HL7 fractions and zones) as ISO 8601 text.

No zone is added: the instrument's wall clock stays what it said. What is no time is kept as it came.
"""

from __future__ import annotations

import re
from functools import lru_cache

_TIME = re.compile(
    r"(\d{4})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
    r"(?:([01]\d|2[0-3])([0-5]\d)(?:([0-5]\d|60)(\.\d+)?)?)?([+-]\d{4})?"
)


_LONGEST = 40
"""Characters; nothing longer is a time, and nothing longer is kept in memory."""


def iso_time(text: str) -> str | None:
    """ISO 8601 text, None for an empty field, `text` itself where it is no time."""
    if not text:
        return None
    return _read(text) if len(text) <= _LONGEST else text.strip() or None


@lru_cache(maxsize=1024)
def _read(text: str) -> str | None:
    """All results of a run have the same time."""
    stripped = text.strip()
    if not stripped:
        return None
    match = _TIME.fullmatch(stripped)
    if match is None:
        return stripped
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    date = f"{year}-{month}-{day}"
    if hour is None:
        return date
    zone_text = f"{zone[:3]}:{zone[3:]}" if zone else ""
    return f"{date}T{hour}:{minute}:{second or '00'}{fraction or ''}{zone_text}"
