"""Flags for every number and every range: consistent with what the true value can be."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.lis.verification.rules import Bounds, CriticalBounds, Flag, Measured, crossed_critical, judge
from cloud.lis.verification.values import convert
from protocols.model import Quantity, read_quantity

NUMBERS = st.decimals(min_value=-1000, max_value=1000, places=2, allow_nan=False)
RANGES = st.tuples(NUMBERS, NUMBERS).map(sorted)


def flag(number: Decimal, sign: str | None, low: Decimal | None, high: Decimal | None) -> Flag:
    measured = Measured(text="x", quantity=Quantity(number, sign), value_type="numeric")
    return judge(measured, bounds=Bounds("r", 1, "approved", low, high), critical=None).flag


@pytest.mark.req("LIS-5")
@given(NUMBERS, RANGES)
def test_both_bounds_are_normal_and_everything_else_is_on_its_side(number: Decimal, limits: list[Decimal]) -> None:
    low, high = limits
    found = flag(number, None, low, high)
    assert found is (Flag.LOW if number < low else Flag.HIGH if number > high else Flag.NORMAL)
    assert flag(low, None, low, high) is Flag.NORMAL
    assert flag(high, None, low, high) is Flag.NORMAL


@given(NUMBERS, st.sampled_from(["<", "<=", ">", ">="]), RANGES, NUMBERS)
def test_a_comparators_flag_holds_for_every_value_it_may_stand_for(
    number: Decimal, sign: str, limits: list[Decimal], true_value: Decimal
) -> None:
    low, high = limits
    # Values on both sides of the bound and inside the range are asked too: chance seldom finds them together.
    for each in (true_value, low - 1, low, (low + high) / 2, high, high + 1, number - 1, number, number + 1):
        _holds_for(number, sign, limits, each)
    _holds_for((low + high) / 2, sign, limits, low - 1)
    _holds_for((low + high) / 2, sign, limits, high + 1)


def _holds_for(number: Decimal, sign: str, limits: list[Decimal], true_value: Decimal) -> None:
    stands_for = {
        "<": true_value < number,
        "<=": true_value <= number,
        ">": true_value > number,
        ">=": true_value >= number,
    }[sign]
    found = flag(number, sign, *limits)
    if stands_for and found is not Flag.NONE:
        assert flag(true_value, None, *limits) is found


@given(NUMBERS, RANGES, st.booleans())
def test_a_value_inside_the_critical_limits_is_never_critical(
    number: Decimal, limits: list[Decimal], inclusive: bool
) -> None:
    low, high = limits
    crossed = crossed_critical(Quantity(number), CriticalBounds("c", 1, "approved", low, high, inclusive))
    if low < number < high:
        assert crossed is None
    if number < low or number > high:
        assert crossed is not None
    if number in (low, high):
        assert (crossed is not None) is inclusive


@given(NUMBERS, st.sampled_from([Decimal(1), Decimal("10"), Decimal("0.01"), Decimal("88.4")]), st.integers(0, 4))
def test_what_is_printed_is_what_is_judged(number: Decimal, factor: Decimal, decimals: int) -> None:
    shown, quantity = convert(str(number), factor, decimals)
    assert quantity is not None
    assert read_quantity(shown) == quantity
    assert abs(quantity.number - number * factor) <= Decimal(1).scaleb(-decimals)
    if factor != 1:
        assert quantity.number.as_tuple().exponent == -decimals, "the test's digits, no more and no fewer"


@given(NUMBERS, st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from([Decimal("0.01"), Decimal("88.4")]))
def test_the_bound_of_a_sign_is_converted_exactly(number: Decimal, sign: str, factor: Decimal) -> None:
    shown, quantity = convert(f"{sign}{number}", factor, 0)
    assert quantity == Quantity(number * factor, sign)
    assert read_quantity(shown) == quantity
