"""How far a value has moved since the last one of the same person: four methods, none of which divides by nothing.

Source of the four methods: Park 2012, Ann Lab Med 32:345 (PMC3427822): difference, percent change, rate and percent
rate. Percent change divides by the **previous** value; with a previous value of 0 it cannot be evaluated.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from cloud.lis.verification import scale
from cloud.lis.verification.scale import Moved
from protocols.model import Quantity

STEPS = "steps"
"""Doublings of a titre, places of a grade: the method of values that are no numbers (`scale.steps`)."""
OF_NUMBERS = ("difference", "percent", "rate", "percent_rate")
"""Unit of the test · % of the previous value · unit of the test a day · % a day."""
METHODS = (*OF_NUMBERS, STEPS)


def change(method: str, now: Decimal, at: datetime, before: Decimal, before_at: datetime) -> Decimal | None:
    """The signed change; None where it cannot be evaluated (previous value 0, or no time between for a rate)."""
    if method not in OF_NUMBERS:
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


def change_of_bounds(method: str, now: Quantity, at: datetime, before: Quantity, before_at: datetime) -> Moved | None:
    """What the change may be where a value has a sign; None where it cannot be evaluated."""
    if method not in OF_NUMBERS:
        raise ValueError(f"no method of delta is called {method}")
    new, old = scale.span_of(now), scale.span_of(before)
    moved = scale.percent(new, old) if method in ("percent", "percent_rate") else scale.difference(new, old)
    if moved is None or method in ("difference", "percent"):
        return moved
    days = days_between(before_at, at)
    return None if days <= 0 else moved.divided(days)


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
