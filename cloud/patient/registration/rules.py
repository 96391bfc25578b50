"""Pure rules of registration: segments of a session, the voucher's number, who may book, who may still cancel."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

SHORTEST_HOLD = timedelta(minutes=6)
"""WeChat closes no payment earlier than five minutes after it was made; a minute before the end it takes no money."""


@dataclass(frozen=True, slots=True)
class Slot:
    seq: int
    from_at: datetime
    to_at: datetime


def slots(starts_at: datetime, ends_at: datetime, capacity: int, segment_minutes: int) -> list[Slot]:
    """The numbers of a session with the segment of each, spread evenly: earlier numbers never come later.

    A last piece shorter than half a segment belongs to the segment before it.
    """
    length = timedelta(minutes=segment_minutes)
    whole, rest = divmod(ends_at - starts_at, length)
    count = max(1, whole + (1 if rest * 2 >= length else 0))
    found = []
    for at in range(capacity):
        segment = at * count // capacity
        begins = starts_at + segment * length
        found.append(Slot(at + 1, begins, ends_at if segment == count - 1 else begins + length))
    return found


def voucher_number(day: date, drawn: int) -> str:
    """Fourteen digits: the day it was made, a number of the database, a check digit."""
    digits = f"{day:%y%m%d}{drawn % 10_000_000:07d}"
    return digits + _check_digit(digits)


def is_voucher(text: str) -> bool:
    """Whether this was scanned or typed whole: a wrong digit or two neighbours exchanged are noticed."""
    return len(text) == 14 and text.isdigit() and text.isascii() and _check_digit(text[:-1]) == text[-1]


def _check_digit(digits: str) -> str:
    """Luhn (ISO/IEC 7812-1 annex B)."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if at % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one person may have, counted on the verified person whatever phones are used."""

    open_per_person: int
    per_department_day: int
    per_doctor_day: int
    per_day: int
    per_month: int


@dataclass(frozen=True, slots=True)
class Held:
    """A booking of the person as the limits see it. `live`: it has a number now. `open`: live, its day not over."""

    department: object
    doctor: object
    day: date
    live: bool
    open: bool


def over_limit(limits: Limits, held: Sequence[Held], department: object, doctor: object, day: date) -> str | None:
    """The first limit that one more booking would pass; None: it may be made.

    Those at the window are counted too, but the window itself is not limited. A month counts what was cancelled as
    well, so that nobody tries numbers on.
    """
    live = [each for each in held if each.live]
    today = [each for each in live if each.day == day]
    if doctor is not None and sum(each.doctor == doctor for each in today) >= limits.per_doctor_day:
        return "doctor_day"
    if sum(each.department == department for each in today) >= limits.per_department_day:
        return "department_day"
    if len(today) >= limits.per_day:
        return "day"
    if sum(each.open for each in live) >= limits.open_per_person:
        return "open"
    month = [each for each in held if (each.day.year, each.day.month) == (day.year, day.month)]
    if len(month) >= limits.per_month:
        return "month"
    return None


def may_cancel_by_phone(
    now: datetime, from_at: datetime, before_minutes: int, *, free_to_cancel: bool, invoiced: bool
) -> str | None:
    """Why not: ``invoiced`` (the invoice must be handed in), ``too_late``; None: yes."""
    if invoiced:
        return "invoiced"
    if free_to_cancel:
        return None
    return "too_late" if now > from_at - timedelta(minutes=before_minutes) else None


def return_delay(least_minutes: int, most_minutes: int, source: random.Random) -> timedelta:
    """After which a cancelled number is free again."""
    return timedelta(seconds=source.randint(least_minutes * 60, most_minutes * 60))


def no_show_block(
    missed: Sequence[datetime], now: datetime, *, at_most: int, within_days: int, blocked_days: int
) -> datetime | None:
    """Until when a person may not book by phone, from the moments of the visits they missed; None: they may."""
    recent = [at for at in missed if at > now - timedelta(days=within_days)]
    return now + timedelta(days=blocked_days) if at_most > 0 and len(recent) >= at_most else None
