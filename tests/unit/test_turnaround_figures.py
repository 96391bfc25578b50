"""Figures of turnaround: percentiles, missing times, predictions, working hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.clock import hospital_zone
from cloud.lis.turnaround.hours import Hours
from cloud.lis.turnaround.points import IN_LABORATORY, Point, span_of
from cloud.lis.turnaround.prediction import LEAST_HISTORY, history_of, predict
from cloud.lis.turnaround.statistics import Intervals, Summary, histogram, within

pytestmark = pytest.mark.req("LIS-13")

WORKED = [32, 41, 28, 55, 47, 60, 39, 44, 120, 35]
"""Minutes; the worked example of the laboratory reference, 2.7."""
NOON = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
"""Noon on a Monday in Shanghai."""


def test_the_worked_example_comes_out_as_published() -> None:
    found = Summary.of(WORKED)
    assert found is not None
    assert (found.median, found.mean, found.p90) == (42.5, pytest.approx(50.1), pytest.approx(66.0))
    assert within(WORKED, 60) == 0.9
    assert (found.least, found.most, found.count) == (28, 120, 10)


def test_nothing_has_no_figures() -> None:
    assert Summary.of([]) is None
    assert within([], 60) is None


def test_a_missing_time_is_counted_apart_and_a_negative_interval_is_an_error_of_the_data() -> None:
    hour = timedelta(hours=1)
    found = Intervals.between(
        [(NOON, NOON + hour), (None, NOON), (NOON, None), (None, None), (NOON, NOON - hour), (NOON, NOON)]
    )
    assert found.minutes == (60.0, 0.0)
    assert (found.no_start, found.no_end, found.negative, found.missing) == (2, 1, 1, 3)


@given(st.lists(st.floats(0, 10_000), min_size=1, max_size=200), st.floats(1, 5_000))
def test_every_value_stands_in_one_bar(minutes: list[float], reach: float) -> None:
    bars = histogram(minutes, reach)
    assert sum(each.count for each in bars) == len(minutes)
    for each in bars:
        expected = sum(each.low <= m and (each.high is None or m < each.high) for m in minutes)
        assert each.count == expected
    assert len(bars) <= 26


def test_a_history_of_few_predicts_nothing() -> None:
    assert history_of([30.0] * (LEAST_HISTORY - 1)) is None
    assert history_of([30.0] * LEAST_HISTORY) is not None


def test_who_waited_is_one_of_those_that_took_longer() -> None:
    history = history_of([float(each) for each in range(1, 101)])
    assert history is not None
    fresh = predict(history, 0, 90)
    assert fresh.total == pytest.approx(50.5, abs=0.6)
    assert fresh.late == pytest.approx(0.1, abs=0.02)
    waited = predict(history, 80, 90)
    assert 80 < waited.total < 100
    assert waited.total == pytest.approx(90, abs=1)
    assert waited.late == pytest.approx(0.5, abs=0.05)
    assert predict(history, 95, 90).late == 1.0
    beyond = predict(history, 500, None)
    assert (beyond.total, beyond.unheard_of, beyond.late) == (500, True, None)


@given(st.lists(st.floats(0, 1_000), min_size=LEAST_HISTORY, max_size=120), st.floats(0, 1_200), st.floats(0, 1_200))
def test_a_prediction_is_never_before_now_and_its_share_is_one(took: list[float], elapsed: float, left: float) -> None:
    history = history_of(took)
    assert history is not None
    found = predict(history, elapsed, left)
    assert found.total >= elapsed
    assert found.late is not None
    assert -1e-9 <= found.late <= 1 + 1e-9
    longer = predict(history, elapsed, left + 50).late
    assert longer is not None
    assert longer <= found.late + 1e-9


def test_working_time_counts_the_day_shift_only() -> None:
    shift = Hours(time(8), time(17), frozenset(range(5)), frozenset({date(2026, 11, 25)}))
    zone = hospital_zone()
    assert shift.minutes(NOON, NOON + timedelta(hours=2), zone) == 120
    assert shift.minutes(NOON, NOON + timedelta(hours=24), zone) == 9 * 60
    friday = NOON + timedelta(days=4)
    assert shift.minutes(friday + timedelta(hours=4), friday + timedelta(hours=68 + 1), zone) == 60 + 60
    assert shift.minutes(NOON + timedelta(days=1, hours=5), NOON + timedelta(days=2, hours=20), zone) == 0, "a holiday"
    assert shift.minutes(NOON, NOON - timedelta(hours=1), zone) == 0


def test_a_span_may_lie_between_any_two_points_in_their_order() -> None:
    assert span_of("received-released") is IN_LABORATORY
    assert (span_of("printed-sent").start, span_of("printed-sent").end) == (Point.PRINTED, Point.SENT)
    for wrong in ("released-received", "sent-sent", "nothing", "", "received-teatime"):
        assert span_of(wrong) is IN_LABORATORY
