"""Values as what they may stand for: whatever is said of a bound or a word holds for every value behind it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.lis.verification import scale
from protocols.model import Quantity

pytestmark = pytest.mark.req("LIS-3", "LIS-5")

NUMBERS = st.decimals(min_value=Decimal("0.01"), max_value=1000, places=2, allow_nan=False)
SIGNS = st.sampled_from([None, "<", "<=", ">", ">="])
QUANTITIES = st.builds(Quantity, NUMBERS, SIGNS)
SHARE = st.fractions(min_value=0, max_value=1)
DIRECTIONS = st.sampled_from(["both", "up", "down"])
TITRES = st.builds(lambda start, doublings: start * 2**doublings, st.sampled_from([1, 10]), st.integers(0, 9))


def stands_for(quantity: Quantity, share: Fraction) -> Fraction:
    """One of the values that the written one may be."""
    number = Fraction(quantity.number)
    if quantity.comparator in ("<", "<="):
        inside = number * share
        return inside if inside < number or quantity.comparator == "<=" else number / 2
    if quantity.comparator in (">", ">="):
        return number + (share * 1000 or (Fraction(1, 7) if quantity.comparator == ">" else Fraction(0)))
    return number


@given(QUANTITIES, QUANTITIES, SHARE, SHARE, NUMBERS, DIRECTIONS)
def test_what_is_called_certain_of_a_change_is_true_of_every_pair_behind_it(
    now: Quantity, before: Quantity, one: Fraction, other: Fraction, limit: Decimal, direction: str
) -> None:
    new, old = stands_for(now, one), stands_for(before, other)
    true_change = {"difference": new - old, "percent": (new / old - 1) * 100 if old else None}
    for method, work in (("difference", scale.difference), ("percent", scale.percent)):
        moved = work(scale.span_of(now), scale.span_of(before))
        real = true_change[method]
        said = None if moved is None else moved.exceeds(limit, direction)
        if said is None or real is None:
            continue
        beyond = {"up": real > limit, "down": -real > limit, "both": abs(real) > limit}[direction]
        assert beyond is said, (method, now, before, new, old)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_between_two_numbers_every_question_has_an_answer(now: Decimal, before: Decimal, limit: Decimal) -> None:
    moved = scale.difference(scale.span_of(Quantity(now, None)), scale.span_of(Quantity(before, None)))
    assert moved.exactly == now - before
    assert moved.exceeds(limit) is (abs(now - before) > limit)


@given(NUMBERS, NUMBERS)
def test_more_than_a_bound_is_a_change_of_more_than_the_gap_to_it(before: Decimal, gap: Decimal) -> None:
    """A change of exactly the limit is inside; ">" and "<" leave that out, "≥" and "≤" do not."""
    value = scale.span_of(Quantity(before, None))
    for sign, beyond in ((">", True), (">=", None)):
        assert scale.difference(scale.span_of(Quantity(before + gap, sign)), value).exceeds(gap) is beyond
    higher = scale.span_of(Quantity(before + gap, None))
    for sign, beyond in (("<", True), ("<=", None)):
        assert scale.difference(scale.span_of(Quantity(before, sign)), higher).exceeds(gap) is beyond


@given(TITRES, st.integers(-6, 6))
def test_titres_move_by_doublings(start: int, doublings: int) -> None:
    before = start % 997 * 64 or 64
    now = before * 2**doublings if doublings >= 0 else before // 2**-doublings
    moved = scale.steps(f"1:{now}", f"1:{before}")
    assert moved is not None
    assert moved.exactly == doublings
    assert moved.exceeds(Decimal(2)) is (abs(doublings) > 2)


@given(TITRES, TITRES, st.integers(0, 8))
def test_a_titre_that_is_only_bounded_is_called_only_where_every_titre_behind_it_is(
    bound: int, before: int, limit: int
) -> None:
    moved = scale.steps(f">1:{bound}", f"1:{before}")
    assert moved is not None
    said = moved.exceeds(Decimal(limit), "up")
    if said is not None:
        for higher in (bound * 2, bound * 2**8):
            behind = scale.steps(f"1:{higher}", f"1:{before}")
            assert behind is not None
            assert behind.exceeds(Decimal(limit), "up") is said


WORDS = ["阴性", "-", "±", "弱阳性", "1+", "++", "3+", "4+", "阳性"]


@pytest.mark.parametrize("word", WORDS)
def test_a_grade_has_not_moved_from_itself(word: str) -> None:
    moved = scale.steps(word, word)
    assert moved is not None
    assert moved.exceeds(Decimal(0)) is (None if word == "阳性" else False), "阳性 may be 1+ and then 4+"


@pytest.mark.parametrize(
    ("now", "before", "limit", "beyond"),
    [
        ("3+", "阴性", 3, True),
        ("3+", "1+", 2, False),
        ("阳性", "阴性", 1, True),
        ("阳性", "阴性", 3, None),
        ("弱阳性", "阴性", 1, False),
        ("2+", "-", 2, True),
    ],
)
def test_grades_move_by_places(now: str, before: str, limit: int, beyond: bool | None) -> None:
    moved = scale.steps(now, before)
    assert moved is not None
    assert moved.exceeds(Decimal(limit)) is beyond


@pytest.mark.parametrize(("now", "before"), [("1:80", "阴性"), ("1:80", "80"), ("酱油色", "-"), ("", "1+")])
def test_what_has_no_common_scale_is_left_to_a_person(now: str, before: str) -> None:
    assert scale.steps(now, before) is None
