"""Has the daily pass rate of a test moved? A p-chart of its own days before, widened for the days' own unrest.

Limits are p ± 3·σ·u: p the pooled rate of the baseline, σ = √(p(1−p)/n) for the day's own n, u the days' spread beyond
chance (mean moving range of the standardised rates ÷ 1.128, at least 1), after Laney (2002, Quality Engineering
14:531). Cited from memory: the form of the limits is his, the fewest days and values asked for are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

FEWEST_DAYS = 10
FEWEST_VALUES = 20
"""On the day that is judged; a day of the baseline counts from a quarter of it."""
MOVING_RANGE = 1.128
"""Mean range of two values of a standard normal distribution."""


@dataclass(frozen=True, slots=True)
class DayCount:
    decided: int
    passed: int


@dataclass(frozen=True, slots=True)
class Judged:
    """Rates between 0 and 1."""

    rate: float
    expected: float
    low: float
    high: float

    @property
    def drifted(self) -> bool:
        return not self.low <= self.rate <= self.high


def judge(day: DayCount, before: Sequence[DayCount]) -> Judged | None:
    """The day against those before it, oldest first; None where there is too little to judge by."""
    base = [each for each in before if each.decided * 4 >= FEWEST_VALUES]
    if len(base) < FEWEST_DAYS or day.decided < FEWEST_VALUES:
        return None
    decided, passed = sum(each.decided for each in base), sum(each.passed for each in base)
    expected = (passed + 0.5) / (decided + 1)
    standard = [(_rate(each) - expected) / _sigma(expected, each.decided) for each in base]
    ranges = [abs(after - first) for first, after in pairwise(standard)]
    unrest = max(1.0, math.fsum(ranges) / len(ranges) / MOVING_RANGE)
    reach = 3 * _sigma(expected, day.decided) * unrest
    return Judged(_rate(day), expected, max(0.0, expected - reach), min(1.0, expected + reach))


def _rate(day: DayCount) -> float:
    return day.passed / day.decided


def _sigma(rate: float, decided: int) -> float:
    return math.sqrt(rate * (1 - rate) / decided)
