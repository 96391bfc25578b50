"""The composite wrong-tube score: do several tests' changes together look like another person's blood?

For every test with a value now and one before, `d` is the change (of the natural logarithm where `log`). The lab's own
history gives two spreads of `d`: `within`, between two values of one person, and `between`, from a value to one of
somebody else. The evidence of a test is the logarithm of how much better "another person" explains `d` than "the same
person", both as centred normal distributions:

    evidence = ln(within / between) + z² / 2 · (1 − (within / between)²),   z = |d| / within, at most CAP
    score    = sum over tests of  weight · evidence

So a test that differs much between people and little within one (MCV, ALP, creatinine) tells much. `z` is capped so
that one wild value (a real illness, a bleed) is not enough alone. Tests tell partly the same (haemoglobin, haematocrit
and red cells fall together when somebody bleeds), so they are weighted: logistic regression with weights not below
zero, of the lab's own pairs against the same values paired with the next person's. The limit is no theoretical one but
a quantile of the lab's own scores. Source of the idea: Miller 2015, Arch Pathol Lab Med 139:1042 (a composite of the
CBC found 6 of 6 mislabelled tubes, MCV alone 3 of 6).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cloud.kit.percentile import percentile

CAP = 5.0
"""In units of `within`."""
FEWEST_PAIRS = 100
"""A spread from fewer pairs is no statistic."""
NARROWEST = 1e-9
LEARNED = 1500
ROUNDS = 20
RIDGE = 1.0


@dataclass(frozen=True, slots=True)
class Spread:
    """One test's two spreads, from `pairs` pairs of the lab's history."""

    within: float
    between: float
    log: bool
    pairs: int = 0
    weight: float = 1.0


Pair = Mapping[str, tuple[float, float]]
"""(value before, value now) by test code, of one specimen."""


def moved(spread: Spread, before: float, now: float) -> float | None:
    """The change on the test's scale; None where a logarithm has no value."""
    if not spread.log:
        return now - before
    if before <= 0 or now <= 0:
        return None
    return math.log(now / before)


def contribution(spread: Spread, before: float, now: float) -> float | None:
    """The evidence of one test, before its weight; None where it cannot tell."""
    change = moved(spread, before, now)
    if change is None or spread.within <= NARROWEST or spread.between <= spread.within:
        return None
    ratio = spread.within / spread.between
    z = min(abs(change) / spread.within, CAP)
    return math.log(ratio) + z * z / 2 * (1 - ratio * ratio)


def score(spreads: Mapping[str, Spread], pair: Pair) -> tuple[float, dict[str, float]]:
    """The score and what each test added to it. A sum in a fixed order: the same pair gives the same score."""
    parts = {}
    for code in sorted(pair):
        spread = spreads.get(code)
        found = None if spread is None else contribution(spread, *pair[code])
        if spread is not None and found is not None:
            parts[code] = spread.weight * found
    return math.fsum(parts.values()), parts


@dataclass(frozen=True, slots=True)
class Fitted:
    """What history says: spreads, the limit that flags `rate` of the lab's own pairs, and from how many."""

    spreads: dict[str, Spread]
    limit: float
    rate: float
    pairs: int


def fit(pairs: Sequence[Pair], *, rate: float, fewest_tests: int = 3, logs: Mapping[str, bool] | None = None) -> Fitted:
    """Spreads and limit from the lab's own pairs, in the order given (no chance is involved).

    The spread between people is taken from each value to the value before of the next pair that has the test. `logs`
    says which tests change in proportion; left out, a test does whose values spread over more than a factor of two.
    """
    spreads: dict[str, Spread] = {}
    for code in sorted({code for pair in pairs for code in pair}):
        own = [pair[code] for pair in pairs if code in pair]
        if len(own) < FEWEST_PAIRS:
            continue
        log = logs[code] if logs and code in logs else _in_proportion(own)
        if log:
            own = [each for each in own if min(each) > 0]
        scale = Spread(1.0, 1.0, log)
        same = [moved(scale, before, now) for before, now in own]
        others = [moved(scale, own[at - 1][0], now) for at, (_, now) in enumerate(own)]
        within, between = _spread(same), _spread(others)
        if within > NARROWEST and between > within:
            spreads[code] = Spread(within, between, log, len(own))
    spreads = weighted(spreads, pairs)
    scores = []
    for pair in pairs:
        total, parts = score(spreads, pair)
        if len(parts) >= fewest_tests:
            scores.append(total)
    limit = percentile(sorted(scores), 1 - rate) if scores else math.inf
    return Fitted(spreads, limit, rate, len(scores))


def weighted(spreads: Mapping[str, Spread], pairs: Sequence[Pair]) -> dict[str, Spread]:
    """The spreads with their weights: coordinate descent of the logistic regression, at most LEARNED pairs of each."""
    codes = sorted(spreads)
    chosen = pairs[:: max(1, len(pairs) // LEARNED)]
    strangers = [
        {code: (chosen[at - 1][code][0], pair[code][1]) for code in pair if code in chosen[at - 1]}
        for at, pair in enumerate(chosen)
    ]
    rows = [(_evidence(spreads, codes, each), 0.0) for each in chosen]
    rows += [(_evidence(spreads, codes, each), 1.0) for each in strangers]
    columns = [[row[at] for row, _ in rows] for at in range(len(codes))] + [[1.0] * len(rows)]
    wanted = [label for _, label in rows]
    weights, margins = [0.0] * len(columns), [0.0] * len(rows)
    for _ in range(ROUNDS):
        for at, column in enumerate(columns):
            chances = [1 / (1 + math.exp(-max(-30.0, min(30.0, each)))) for each in margins]
            slope = math.fsum((p - y) * x for p, y, x in zip(chances, wanted, column, strict=True))
            bend = math.fsum(p * (1 - p) * x * x for p, x in zip(chances, column, strict=True)) + RIDGE
            moved_to = weights[at] - (slope + RIDGE * weights[at]) / bend
            if at < len(codes):
                moved_to = max(0.0, moved_to)
            step, weights[at] = moved_to - weights[at], moved_to
            if step:
                margins = [each + step * x for each, x in zip(margins, column, strict=True)]
    return {code: replace(spreads[code], weight=weights[at]) for at, code in enumerate(codes)}


def _evidence(spreads: Mapping[str, Spread], codes: Sequence[str], pair: Pair) -> list[float]:
    """Nothing known is no evidence."""
    found = (contribution(spreads[code], *pair[code]) if code in pair else None for code in codes)
    return [0.0 if each is None else each for each in found]


def _in_proportion(own: Sequence[tuple[float, float]]) -> bool:
    values = sorted(now for _, now in own)
    low, high = percentile(values, 0.05), percentile(values, 0.95)
    return low > 0 and high / low > 2


def _spread(changes: Sequence[float | None]) -> float:
    """Half the width of the central 68.27 %: a standard deviation that outliers do not widen."""
    found = sorted(each for each in changes if each is not None)
    return (percentile(found, 0.84135) - percentile(found, 0.15865)) / 2 if found else math.nan
