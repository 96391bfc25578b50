"""Units and factors: what is alike, what is rounded, what a comparator may claim."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cloud.lis.results.conversion import same_unit
from cloud.lis.verification.values import convert


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("10*3/uL", "10^3/uL"),
        ("10*9/L", "×10^9/L"),
        ("10**9/L", "10⁹/L"),
        ("x10E9/L", "10^9/L"),
        ("10E+9/L", "10^9/L"),
        ("µmol/L", "umol/L"),
        ("10^-3 g", "10*-3 g"),
    ],
)
def test_one_power_written_in_two_ways_is_one_unit(sent: str, expected: str) -> None:
    assert same_unit(sent, expected)
    assert same_unit(expected, sent)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("10^3/uL", "10^9/L"), ("10^3/uL", "10^-3/uL"), ("g/dL", "g/L"), ("10^12/L", "10^1/L"), ("mg/L", "g/L")],
)
def test_another_power_is_another_unit(sent: str, expected: str) -> None:
    assert not same_unit(sent, expected)


@pytest.mark.parametrize(
    ("text", "factor", "decimals", "printed"),
    [
        ("<0.044", "1", 2, "<0.044"),
        ("<0.44", "0.1", 2, "<0.044"),
        ("<0.003", "0.1", 2, "<0.0003"),
        (">100.6", "10", 0, ">1006"),
        ("<3", "10", 1, "<30.0"),
        (">=2.50", "0.1", 1, ">=0.25"),
        ("12.3", "10", 0, "123"),
        ("0.25", "0.1", 2, "0.02"),
    ],
)
def test_the_bound_of_a_comparator_is_never_rounded(text: str, factor: str, decimals: int, printed: str) -> None:
    shown, quantity = convert(text, Decimal(factor), decimals)
    assert shown == printed
    assert quantity is not None
    assert f"{quantity.comparator or ''}{quantity.number:f}" == printed
