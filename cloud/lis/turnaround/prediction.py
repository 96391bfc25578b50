"""When a specimen will be released, from how long others took from the same point. Pure.

The history of a key (section, priority, point) is kept as the 101 percentiles of the minutes from that point to the
release. A specimen that has waited `elapsed` minutes at the point is one of those that took longer than that: its
prediction is the median of those, and it is late with the share of them that took longer than what is left.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from cloud.kit.percentile import percentile

LEAST_HISTORY = 30
"""Fewer releases than this predict nothing."""
PERCENTILES = 101


@dataclass(frozen=True, slots=True)
class History:
    """`quantiles[p]`: minutes within which p per cent were released."""

    count: int
    quantiles: tuple[float, ...]

    @property
    def median(self) -> float:
        return self.quantiles[PERCENTILES // 2]

    @property
    def p90(self) -> float:
        return self.quantiles[90]

    def share_within(self, minutes: float) -> float:
        """The share that took no longer than `minutes`, linear between the percentiles."""
        if minutes < self.quantiles[0]:
            return 0.0
        if minutes >= self.quantiles[-1]:
            return 1.0
        above = bisect_right(self.quantiles, minutes)
        low, high = self.quantiles[above - 1], self.quantiles[above]
        return (above - 1 + (minutes - low) / (high - low)) / (PERCENTILES - 1)

    def at(self, share: float) -> float:
        return percentile(self.quantiles, share)


def history_of(minutes: Sequence[float]) -> History | None:
    """None: too few to say anything."""
    if len(minutes) < LEAST_HISTORY:
        return None
    ordered = sorted(minutes)
    return History(len(ordered), tuple(percentile(ordered, each / 100) for each in range(PERCENTILES)))


@dataclass(frozen=True, slots=True)
class Prediction:
    """Seen from the point that was passed last."""

    total: float
    """Minutes from the point to the release, as expected now."""
    late: float | None
    """The share of comparable specimens that came too late; None without a target."""
    unheard_of: bool
    """It has waited longer than any of the history did."""


def predict(history: History, elapsed: float, left_at_point: float | None) -> Prediction:
    """`elapsed`: minutes since the point; `left_at_point`: minutes that the target left when it was passed."""
    behind = history.share_within(elapsed)
    if behind >= 1.0:
        late = None if left_at_point is None else float(elapsed > left_at_point)
        return Prediction(elapsed, late, True)
    total = max(elapsed, history.at(behind + (1 - behind) / 2))
    if left_at_point is None:
        return Prediction(total, None, False)
    if elapsed > left_at_point:
        return Prediction(total, 1.0, False)
    return Prediction(total, (1 - history.share_within(left_at_point)) / (1 - behind), False)
