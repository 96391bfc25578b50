"""Days of the hospital: typed, begun, compared with moments of the store."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from cloud.kit import clock
from cloud.kit.percentile import percentile

pytestmark = pytest.mark.req("UX-1")


def test_a_day_begins_at_the_hospitals_midnight() -> None:
    assert clock.day_begins(date(2026, 3, 1)) == datetime(2026, 2, 28, 16, tzinfo=UTC)


@pytest.mark.parametrize("typed", ["2026-03-01", " 2026-03-01 "])
def test_a_typed_day_is_that_day(typed: str) -> None:
    assert clock.typed_day(typed) == date(2026, 3, 1)


@pytest.mark.parametrize("typed", [None, "", "today", "2026-02-30", "01/03/2026", "0001-01-01", "9999-12-31"])
def test_what_is_no_day_of_a_laboratory_is_none_and_breaks_nothing(typed: str | None) -> None:
    """Near the calendar's ends a day has no beginning in UTC."""
    assert clock.typed_day(typed) is None


@pytest.mark.parametrize(("share", "value"), [(0, 1.0), (0.5, 2.5), (0.9, 3.7), (1, 4.0)])
def test_percentiles_are_linear_between_neighbours(share: float, value: float) -> None:
    assert percentile([1, 2, 3, 4], share) == pytest.approx(value)
