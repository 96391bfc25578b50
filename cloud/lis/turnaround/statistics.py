"""Figures of durations in minutes. Pure. A missing time is counted apart and never 0; a negative one is an error in
the data, listed and not averaged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cloud.kit.percentile import percentile

P90_METHOD = "linear interpolation (type 7)"
"""Of the two usual methods, the one of PostgreSQL's ``percentile_cont``; printed wherever a P90 is shown."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One column of the histogram: from `low` (inclusive) to `high` minutes; the last one has no end."""

    low: float
    high: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Summary:
    """All in minutes."""

    count: int
    mean: float
    median: float
    p90: float
    least: float
    most: float
    sd: float
    """Of the sample; 0 for a single value."""

    @classmethod
    def of(cls, minutes: Iterable[float]) -> Summary | None:
        """None: there is nothing to summarise."""
        values = sorted(minutes)
        if not values:
            return None
        mean = math.fsum(values) / len(values)
        spread = math.fsum((each - mean) ** 2 for each in values)
        sd = math.sqrt(spread / (len(values) - 1)) if len(values) > 1 else 0.0
        return cls(len(values), mean, percentile(values, 0.5), percentile(values, 0.9), values[0], values[-1], sd)


@dataclass(frozen=True, slots=True)
class Intervals:
    """The durations between two points of many specimens."""

    minutes: tuple[float, ...]
    no_start: int
    no_end: int
    negative: int

    @property
    def missing(self) -> int:
        return self.no_start + self.no_end

    @classmethod
    def between(cls, times: Iterable[tuple[datetime | None, datetime | None]]) -> Intervals:
        """Where both are missing it counts as without a start."""
        minutes: list[float] = []
        no_start = no_end = negative = 0
        for start, end in times:
            if start is None:
                no_start += 1
            elif end is None:
                no_end += 1
            elif end < start:
                negative += 1
            else:
                minutes.append((end - start).total_seconds() / 60)
        return cls(tuple(minutes), no_start, no_end, negative)


_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 240, 480, 720, 1440, 2880, 10080)
_MOST_BARS = 24


def step_for(reach: float) -> int:
    """The width of a bar, in minutes, with which `reach` minutes make at most 24 bars."""
    return next((each for each in _STEPS if reach / each <= _MOST_BARS), _STEPS[-1])


def histogram(minutes: Iterable[float], reach: float) -> list[Bar]:
    """Bars of equal width up to `reach`; what is beyond stands in one last bar without an end."""
    step = step_for(reach)
    many = max(1, math.ceil(reach / step))
    counts = [0] * (many + 1)
    for each in minutes:
        counts[min(int(each // step), many)] += 1
    bars = [Bar(number * step, (number + 1) * step, counts[number]) for number in range(many)]
    return [*bars, Bar(many * step, None, counts[many])] if counts[many] else bars


def within(minutes: Sequence[float], target: float) -> float | None:
    """The share that took no longer than `target` minutes; None for none at all."""
    return None if not minutes else sum(each <= target for each in minutes) / len(minutes)
