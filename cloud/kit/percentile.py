"""The percentile that every figure of the house uses, so that two pages never differ about the same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """Type 7 of Hyndman and Fan (The American Statistician 50:361, 1996): linear between the neighbours of
    ``(n - 1) * share``. `ordered` is sorted and not empty; `share` is 0 to 1.
    """
    place = (len(ordered) - 1) * share
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
