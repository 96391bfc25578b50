"""Money never appears or disappears: not by typing, showing or dividing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.money import fen, share, yuan

AMOUNTS = st.integers(min_value=-(10**13), max_value=10**13)


@given(AMOUNTS)
def test_an_amount_shown_and_typed_again_is_the_same(amount_fen: int) -> None:
    assert fen(yuan(amount_fen)) == amount_fen


@given(AMOUNTS, st.lists(st.integers(0, 10**6), min_size=1, max_size=20).filter(any))
def test_the_parts_of_an_amount_add_up_to_it_and_are_fair_to_a_fen(amount_fen: int, weights: list[int]) -> None:
    parts = share(amount_fen, weights)
    assert sum(parts) == amount_fen
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - amount_fen * weight / sum(weights)) <= 1


@pytest.mark.parametrize("typed", ["12.345", "1e3", "", "12,5", "abc", "１２", "--1", "1.", "nan"])
def test_what_is_not_an_amount_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        fen(typed)


@pytest.mark.parametrize("weights", [[], [0, 0], [-1, 3]])
def test_an_amount_is_not_divided_by_nothing(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        share(100, weights)
