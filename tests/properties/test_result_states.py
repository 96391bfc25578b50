"""The state table of results: whatever is tried in whatever order, only the moves of the table happen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import Conflict
from cloud.lis.results.model import MOVES, Result, ResultState

pytestmark = pytest.mark.req("LIS-3", "LIS-5")

WISHES = st.lists(st.sampled_from(list(ResultState)), max_size=12)


@given(WISHES)
def test_only_the_moves_of_the_table_happen_and_a_refused_one_changes_nothing(wishes: list[ResultState]) -> None:
    result = Result(state=ResultState.RECEIVED)
    for wish in wishes:
        before = ResultState(result.state)
        if wish in MOVES[before]:
            result.move_to(wish)
            assert result.state is wish
        else:
            with pytest.raises(Conflict):
                result.move_to(wish)
            assert result.state is before


@given(WISHES)
def test_no_value_is_released_that_nobody_reviewed_and_a_released_one_is_only_replaced(
    wishes: list[ResultState],
) -> None:
    result = Result(state=ResultState.RECEIVED)
    lived = [ResultState.RECEIVED]
    for wish in wishes:
        if wish in MOVES[ResultState(result.state)]:
            result.move_to(wish)
            lived.append(wish)
    for at, state in enumerate(lived):
        after = lived[at + 1] if at + 1 < len(lived) else None
        if state is ResultState.RELEASED:
            assert lived[at - 1] in (ResultState.REVIEWED, ResultState.SUPERSEDED)
            assert after in (None, ResultState.SUPERSEDED), "only an amendment takes a released value away"
        if state is ResultState.REJECTED:
            assert after is None, "a value that a person judged wrong never comes back"


def test_every_state_stands_in_the_table_and_none_becomes_itself() -> None:
    assert set(MOVES) == set(ResultState)
    assert not any(state in following for state, following in MOVES.items())
