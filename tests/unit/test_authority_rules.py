"""What a grant of an act is worth on a day, and what a person's grants together say about a test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.lis.authority.rules import Moment, Standing, TestKey, answer, covers, standing

pytestmark = pytest.mark.req("SEC-1", "LIS-5")
K = TestKey("K", "chemistry", frozenset({"LYTES"}))
NOON = datetime(2026, 11, 23, 4, tzinfo=UTC)
TODAY = Moment(NOON, date(2026, 11, 23))


@dataclass(frozen=True)
class Given:
    scope: str = "all"
    target: str = ""
    valid_from: date = date(2026, 1, 1)
    valid_to: date | None = None
    created_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    revoked_at: datetime | None = None


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        (Given(), Standing.VALID),
        (Given(valid_to=date(2026, 11, 23)), Standing.VALID),
        (Given(valid_to=date(2026, 11, 22)), Standing.EXPIRED),
        (Given(valid_from=date(2026, 11, 23)), Standing.VALID),
        (Given(valid_from=date(2026, 11, 24)), Standing.NOT_YET),
        (Given(revoked_at=NOON), Standing.REVOKED),
        (Given(revoked_at=NOON + timedelta(seconds=1)), Standing.VALID),
        (Given(created_at=NOON + timedelta(seconds=1)), Standing.NONE),
    ],
)
def test_a_grant_holds_from_its_first_to_its_last_day_until_it_is_revoked(grant: Given, expected: Standing) -> None:
    assert standing(grant, TODAY) is expected


@pytest.mark.parametrize(
    ("scope", "target", "covered"),
    [
        ("all", "", True),
        ("section", "chemistry", True),
        ("section", "hematology", False),
        ("panel", "LYTES", True),
        ("panel", "CBC", False),
        ("test", "K", True),
        ("test", "NA", False),
    ],
)
def test_a_grant_covers_what_it_names(scope: str, target: str, covered: bool) -> None:
    assert covers(Given(scope, target), K) is covered


def test_a_renewal_counts_beside_the_grant_that_ended() -> None:
    ended, renewed = Given(valid_to=date(2026, 10, 31)), Given(valid_from=date(2026, 11, 1))
    assert answer([ended, renewed], K, TODAY).allowed


def test_the_answer_names_the_grant_that_came_nearest() -> None:
    ended, gone = Given(valid_to=date(2026, 10, 31)), Given(revoked_at=NOON - timedelta(days=3))
    found = answer([gone, ended], K, TODAY)
    assert (found.standing, found.grant) == (Standing.EXPIRED, ended)


def test_a_grant_on_another_test_says_nothing() -> None:
    assert answer([Given("test", "NA")], K, TODAY).standing is Standing.NONE


def test_for_an_act_on_no_test_any_grant_of_it_is_enough() -> None:
    assert answer([Given("test", "NA")], None, TODAY).allowed
    assert not answer([Given("test", "NA", valid_to=date(2026, 1, 2))], None, TODAY).allowed


days = st.integers(0, 91)


@st.composite
def held_grants(draw: st.DrawFn) -> Given:
    """Around the day of `TODAY`, half of them open at the end or never revoked."""
    first, last, entered, ended = (draw(days) for _ in range(4))
    start = date(2026, 10, 1)
    return Given(
        valid_from=start + timedelta(days=min(first, last)),
        valid_to=start + timedelta(days=max(first, last)) if draw(st.booleans()) else None,
        created_at=datetime(2026, 10, 1, tzinfo=UTC) + timedelta(days=entered),
        revoked_at=datetime(2026, 10, 1, tzinfo=UTC) + timedelta(days=ended) if draw(st.booleans()) else None,
    )


@given(st.lists(held_grants(), max_size=4))
def test_a_person_may_exactly_when_one_grant_alone_would_do(held: list[Given]) -> None:
    assert answer(held, K, TODAY).allowed == any(answer([each], K, TODAY).allowed for each in held)


@given(held_grants(), st.integers(0, 60))
def test_what_is_revoked_never_holds_again(grant: Given, later_days: int) -> None:
    if standing(grant, TODAY) is Standing.REVOKED:
        later = Moment(NOON + timedelta(days=later_days), TODAY.day + timedelta(days=later_days))
        assert standing(grant, later) is Standing.REVOKED
