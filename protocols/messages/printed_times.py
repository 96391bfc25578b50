"""Dates and times as instruments print them (10/25/24, 25-Oct-2024, 15:15:06) as ISO 8601 text.

The order of day and month is the instrument's setting, never guessed: without it a date of two-digit parts stays as it
came. A year of two digits is of this century.
"""

from __future__ import annotations

import re
from datetime import date as calendar_date
from enum import StrEnum

_NUMBERS = re.compile(r"\s*(\d{1,4})\s*[-./]\s*(\d{1,2})\s*[-./]\s*(\d{1,4})\s*$")
_NAMED = re.compile(r"\s*(?:(\d{1,2})[\s.-]*([^\W\d_]{3,9})|([^\W\d_]{3,9})[\s.-]*(\d{1,2}))[\s.,-]*(\d{4}|\d{2})\s*$")
_TIME = re.compile(r"\s*([01]?\d|2[0-3])\s*[:h]\s*([0-5]\d)(?:\s*(?::|mn)\s*([0-5]\d)s?)?\s*$")
_MONTHS = (
    ("jan",), ("feb", "fév", "fev"), ("mar",), ("apr", "avr"), ("may", "mai"), ("jun", "juin"),
    ("jul", "juil"), ("aug", "aoû", "aou"), ("sep",), ("oct", "okt"), ("nov",), ("dec", "déc", "dez"),
)  # fmt: skip


class DateOrder(StrEnum):
    """What an instrument's date setting says."""

    YMD = "ymd"
    DMY = "dmy"
    MDY = "mdy"


def iso_date(text: str, order: DateOrder | None) -> str | None:
    """ISO date; None where `text` is no date or its order is not known. A year of four digits in front needs none."""
    match = _NUMBERS.match(text)
    if match is None:
        return _named_date(text)
    first, second, third = match.groups()
    if len(first) == 4:
        return _date(first, second, third)
    if order is DateOrder.DMY:
        return _date(third, second, first)
    if order is DateOrder.MDY:
        return _date(third, first, second)
    return _date(first, second, third) if order is DateOrder.YMD else None


def iso_clock(text: str) -> str | None:
    """``HH:MM:SS`` of a printed time."""
    match = _TIME.match(text)
    if match is None:
        return None
    hour, minute, second = match.groups()
    return f"{int(hour):02}:{minute}:{second or '00'}"


def _named_date(text: str) -> str | None:
    match = _NAMED.match(text)
    if match is None:
        return None
    day, name, name_first, day_second, year = match.groups()
    word = (name or name_first).lower()
    months = [number for number, starts in enumerate(_MONTHS, start=1) if word.startswith(starts)]
    longest = max(months, default=0, key=lambda number: max(len(s) for s in _MONTHS[number - 1] if word.startswith(s)))
    return _date(year, str(longest), day or day_second)


def _date(year: str, month: str, day: str) -> str | None:
    whole = int(year) + (2000 if len(year) <= 2 else 0)
    try:
        return calendar_date(whole, int(month), int(day)).isoformat()
    except ValueError:
        return None
