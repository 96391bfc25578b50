"""Somebody else's blood in the tube: several tests' changes together tell it better than any one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from cloud.lis.verification import wrong_tube
from cloud.lis.verification.wrong_tube import Pair, Spread
from simulators.laboratory import errors, history
from tests.support.autoverify_history import pairs

pytestmark = pytest.mark.req("LIS-6")

FLAGGED = 0.02
"""As Miller 2015: a composite of the CBC flagged 2 % of tubes."""


def swapped(seed: int) -> tuple[list[Pair], list[Pair]]:
    """(pairs of right tubes, pairs of wrong ones) of blood counts that were not fitted on."""
    clean = history.tubes(seed, persons=350, visits=3)
    right = pairs(clean, "count")
    strangers = [
        {code: (one[code][0], other[code][1]) for code in one}
        for one, other in zip(right, right[7:] + right[:7], strict=True)
    ]
    return right, strangers


def limit_at(scores: Sequence[float], rate: float) -> float:
    return sorted(scores)[int(len(scores) * (1 - rate))]


def test_the_composite_finds_more_wrong_tubes_than_any_single_delta_at_the_same_flag_rate() -> None:
    fitted = wrong_tube.fit(pairs(history.tubes(5, persons=350, visits=3), "count"), rate=FLAGGED)
    right, wrong = swapped(6)

    def found(score: dict[str, list[float]]) -> float:
        limit = limit_at(score["right"], FLAGGED)
        return sum(each > limit for each in score["wrong"]) / len(wrong)

    composite = found(
        {
            "right": [wrong_tube.score(fitted.spreads, each)[0] for each in right],
            "wrong": [wrong_tube.score(fitted.spreads, each)[0] for each in wrong],
        }
    )
    singles = {
        code: found(
            {
                "right": [abs(math.log(pair[code][1] / pair[code][0])) for pair in right],
                "wrong": [abs(math.log(pair[code][1] / pair[code][0])) for pair in wrong],
            }
        )
        for code in right[0]
    }
    assert composite > max(singles.values())
    assert composite > singles["MCV"] + 0.05


def test_the_limit_holds_about_the_share_of_own_pairs_that_was_asked_for() -> None:
    own = pairs(history.tubes(5, persons=200, visits=3), "count")
    fitted = wrong_tube.fit(own, rate=0.05)
    flagged = sum(wrong_tube.score(fitted.spreads, each)[0] > fitted.limit for each in own)
    assert flagged == pytest.approx(len(own) * 0.05, abs=1)


def test_a_test_with_too_few_pairs_gets_no_spread_and_no_pairs_give_no_limit_that_holds() -> None:
    few = wrong_tube.fit([{"K": (4.0, 4.1)}] * (wrong_tube.FEWEST_PAIRS - 1), rate=0.01)
    assert few.spreads == {}
    assert few.limit == math.inf


def test_one_wild_value_is_capped_and_a_logarithm_of_zero_tells_nothing() -> None:
    spread = Spread(1, 6, log=False)
    assert wrong_tube.contribution(spread, 100, 200) == wrong_tube.contribution(spread, 100, 105)
    assert wrong_tube.contribution(Spread(0.1, 0.6, log=True), 0, 5) is None
    assert wrong_tube.contribution(Spread(2, 1, log=False), 1, 5) is None


def test_a_history_and_its_errors_follow_from_their_seeds_and_spoil_only_what_they_name() -> None:
    clean = history.tubes(3, persons=60)
    assert history.tubes(3, persons=60) == clean
    spoiled = errors.spoil(clean, 4)
    assert errors.spoil(clean, 4) == spoiled
    assert errors.spoil(clean, 5) != spoiled
    assert clean == history.tubes(3, persons=60)
    for before, after in zip(clean, spoiled, strict=True):
        assert (before.values != after.values) <= bool(after.error)
