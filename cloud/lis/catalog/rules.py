"""Pure decisions of the catalogue: which band applies to a person, and what is wrong with a set of bands.

Ages are whole days of life. Sex and age come from the hospital's file, never from an instrument (must 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol, TypeVar

DAYS_PER_YEAR = Decimal("365.25")
NO_END = 10**6
"""A last day of life beyond everybody's."""


class Band(Protocol):
    """What a reference range and a critical limit have in common."""

    @property
    def sex(self) -> str: ...
    @property
    def age_min_days(self) -> int: ...
    @property
    def age_max_days(self) -> int | None: ...
    @property
    def state(self) -> str: ...
    @property
    def valid_from(self) -> date: ...
    @property
    def valid_to(self) -> date | None: ...
    @property
    def version(self) -> int: ...


B = TypeVar("B", bound=Band)


def age_days(birth_date: date | None, on: date) -> int | None:
    """Days of life on `on`; None when the birth date is not known or lies after it."""
    if birth_date is None or birth_date > on:
        return None
    return (on - birth_date).days


def years_in_days(years: Decimal | int | str) -> int:
    """The day of life on which that many years are completed, at the earliest (18 years: 6574 or 6575; gives 6574)."""
    return int(Decimal(years) * DAYS_PER_YEAR)


def is_valid(band: Band, on: date) -> bool:
    """Whether the band's dates hold on that day (`valid_to` is the first day it does not)."""
    return band.state != "retired" and band.valid_from <= on and (band.valid_to is None or on < band.valid_to)


def covers(band: Band, sex: str, age: int | None) -> bool:
    """Whether the band speaks about such a person. An unknown age is covered only by a band for every age."""
    if band.sex and band.sex != sex:
        return False
    if age is None:
        return band.age_min_days == 0 and band.age_max_days is None
    return band.age_min_days <= age and (band.age_max_days is None or age < band.age_max_days)


def applicable(bands: Iterable[B], *, sex: str, age: int | None, on: date) -> B | None:
    """The band to judge by: approved before draft, then one for this sex, then the narrower age, then the newest."""
    fitting = [each for each in bands if is_valid(each, on) and covers(each, sex, age)]
    if not fitting:
        return None

    def rank(band: Band) -> tuple[bool, bool, int, int]:
        width = NO_END if band.age_max_days is None else band.age_max_days - band.age_min_days
        return band.state == "approved", bool(band.sex), -width, band.version

    return max(fitting, key=rank)


HINTS = frozenset({"tea_unset", "range_missing", "phase_incomplete", "tube_specimen_differs", "channel_missing"})
"""Findings that something is only missing; all others would make a result wrong or unjudged."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of the configuration check: where, what kind, and the numbers to show."""

    subject: str
    """Code of the test, panel or instrument."""
    code: str
    detail: str = ""

    @property
    def serious(self) -> bool:
        return self.code not in HINTS


def band_problems(subject: str, bands: Sequence[Band], on: date) -> list[Problem]:
    """Gaps and overlaps of the age bands valid on `on`, in days of life.

    What lies below the first band and above the last is no gap: a standard for adults says nothing about children. A
    band for both sexes fills what the bands of one sex leave open. Versions of one band are one.
    """
    return _overlaps(subject, bands, on) + _gaps(subject, bands, on)


def _spans(bands: Sequence[Band], sex: str, on: date) -> list[tuple[int, int]]:
    """One for each first day: the newest version's."""
    newest: dict[int, Band] = {}
    for each in sorted(bands, key=lambda band: band.version):
        if each.sex == sex and is_valid(each, on):
            newest[each.age_min_days] = each
    return [(start, band.age_max_days or NO_END) for start, band in sorted(newest.items())]


def _overlaps(subject: str, bands: Sequence[Band], on: date) -> list[Problem]:
    found = []
    for sex in ("", "M", "F"):
        end = 0
        for start, stop in _spans(bands, sex, on):
            if start < end:
                found.append(Problem(subject, "age_overlap", f"{sex} {start}-{min(end, stop)}".strip()))
            end = max(end, stop)
    return found


def _gaps(subject: str, bands: Sequence[Band], on: date) -> list[Problem]:
    found = []
    for sex in ("M", "F"):
        own = _spans(bands, sex, on)
        label = sex if own else ""
        spans = sorted(_spans(bands, "", on) + own)
        end = spans[0][0] if spans else 0
        for start, stop in spans:
            if start > end:
                found.append(Problem(subject, "age_gap", f"{label} {end}-{start}".strip()))
            end = max(end, stop)
    return list(dict.fromkeys(found))


def bounds_problem(subject: str, low: Decimal | None, high: Decimal | None) -> Problem | None:
    if low is not None and high is not None and low >= high:
        return Problem(subject, "bounds_reversed", f"{low} / {high}")
    return None


def inside_normal(
    range_low: Decimal | None, range_high: Decimal | None, limit_low: Decimal | None, limit_high: Decimal | None
) -> bool:
    """Whether a critical limit lies inside the normal range, so that a normal value would be called critical."""
    low_wrong = limit_low is not None and range_low is not None and limit_low >= range_low
    high_wrong = limit_high is not None and range_high is not None and limit_high <= range_high
    return low_wrong or high_wrong
