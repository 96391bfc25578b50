"""The power fails at any write of the store's own code: whatever was answered as kept is there, nobody helps.

The long run is `./xinglin bench powercut --cuts 10000`.
"""

from __future__ import annotations

import pytest

from tests.bench.powercut import run


@pytest.mark.req("GW-9")
def test_nothing_that_was_answered_as_kept_is_missing_after_a_power_cut_at_any_write() -> None:
    figures = run(cuts=400, seed=1, synchronous="FULL", cuts_of_a_life=25)
    assert figures.first_losses == []
    assert figures.cuts_with_loss == figures.cuts_not_opened == 0
    assert figures.acknowledged > figures.cuts
    assert figures.in_doubt_kept, "no cut met a commit under way: the harness looks beside it"


@pytest.mark.req("GW-9")
def test_the_same_cuts_lose_what_was_answered_where_a_commit_is_not_synced() -> None:
    """What the harness is worth: with synchronous=NORMAL, as many gateways run, it finds losses."""
    figures = run(cuts=60, seed=1, synchronous="NORMAL", cuts_of_a_life=20)
    assert figures.cuts_with_loss > 10
