"""How far a value has moved since the last one of the same person: four methods, none of which divides by nothing.

Source of the four methods: Park 2012, Ann Lab Med 32:345 (PMC3427822): difference, percent change, rate and percent
rate. Percent change divides by the **previous** value; with a previous value of 0 it cannot be evaluated.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

METHODS = ("difference", "percent", "rate", "percent_rate")
"""Unit of the test · % of the previous value · unit of the test a day · % a day."""


def change(method: str, now: Decimal, at: datetime, before: Decimal, before_at: datetime) -> Decimal | None:
    """The signed change; None where it cannot be evaluated (previous value 0, or no time between for a rate)."""
    if method not in METHODS:
        raise ValueError(f"no method of delta is called {method}")
    moved = now - before
    if method in ("percent", "percent_rate"):
        if before == 0:
            return None
        moved = moved * 100 / abs(before)
    if method in ("rate", "percent_rate"):
        days = days_between(before_at, at)
        if days <= 0:
            return None
        moved = moved / days
    return moved


def days_between(before: datetime, at: datetime) -> Decimal:
    return Decimal((at - before) // _MICROSECOND) / (86_400 * 10**6)


def hours_between(before: datetime, at: datetime) -> Decimal:
    """Not made from days: 4 hours are 4, and not a little more."""
    return Decimal((at - before) // _MICROSECOND) / (3_600 * 10**6)


_MICROSECOND = timedelta(microseconds=1)


def exceeds(moved: Decimal, limit: Decimal, direction: str = "both") -> bool:
    """Beyond the limit: a change of exactly the limit is inside."""
    if direction == "up":
        return moved > limit
    if direction == "down":
        return -moved > limit
    return abs(moved) > limit
