"""When a test is to be drawn: what is typed, what is stored, when it is due."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import Invalid
from cloud.lis.orders import timing
from cloud.lis.specimens import grouping

pytestmark = pytest.mark.req("LIS-1")
ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 12, 31, 7, 30, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("8:00 16:00", ["08:00", "16:00"]),
        ("08：00", ["08:00"]),
        ("餐后 120", ["meal+120"]),
        ("餐后2小时", ["meal+120"]),
        ("服糖后 0 30 60 120", ["load+0", "load+30", "load+60", "load+120"]),
        ("服糖后0、30、60、120分钟", ["load+0", "load+30", "load+60", "load+120"]),
        ("给药后 30 8:00", ["dose+30", "08:00"]),
        ("第1套 第2套", ["set+1", "set+2"]),
        ("12-31 8:00", ["2026-12-31T08:00+08:00"]),
        ("1-2 8:00", ["2027-01-02T08:00+08:00"]),
        ("8:00 8:00", ["08:00"]),
        ("  ", []),
    ],
)
def test_what_the_ward_types_is_read(typed: str, stored: list[str]) -> None:
    assert timing.typed(typed, NOW) == stored


@pytest.mark.parametrize(
    "typed", ["120", "早上", "25:00", "餐后", "第9套", "第1", "餐后1套", "13-40 8:00", "餐后 9999"]
)
def test_what_cannot_be_read_is_refused_and_never_guessed(typed: str) -> None:
    with pytest.raises(Invalid, match="timing_unreadable"):
        timing.typed(typed, NOW)


@given(
    st.one_of(
        st.integers(0, 1439).map(lambda each: timing.Timing(count=each)),
        st.builds(timing.Timing, st.sampled_from(timing.STARTS), st.integers(0, timing.MOST_MINUTES)),
        st.integers(1, timing.MOST_SETS).map(lambda each: timing.Timing(timing.Since.SET, each)),
    )
)
def test_a_timing_is_the_same_after_it_was_stored_shown_and_typed_again(one: timing.Timing) -> None:
    assert timing.parse(one.text) == one
    assert timing.typed(timing.as_typed(one.text), NOW) == [one.text]
    assert timing.split_code(timing.with_timing("GLU", one.text)) == ("GLU", one.text)


def test_a_code_without_a_readable_time_stays_what_it_is() -> None:
    assert timing.split_code("GLU") == ("GLU", "")
    assert timing.split_code("X@ward") == ("X@ward", "")
    assert timing.split_code("X@2026-11-24") == ("X@2026-11-24", "")


def test_a_clock_time_is_the_next_one_and_a_time_after_the_glucose_waits_for_it() -> None:
    ordered = NOW.astimezone(UTC)
    assert timing.due("08:00", ordered_at=ordered, zone=ZONE) == NOW.replace(hour=8, minute=0)
    assert timing.due("07:30", ordered_at=ordered + timedelta(seconds=40), zone=ZONE) == NOW
    assert timing.due("07:00", ordered_at=ordered, zone=ZONE) == datetime(2027, 1, 1, 7, 0, tzinfo=ZONE)
    assert timing.due("load+60", ordered_at=ordered, zone=ZONE) is None
    assert timing.due("load+60", ordered_at=ordered, zone=ZONE, begun_at=NOW) == NOW + timedelta(minutes=60)
    assert timing.due("load+0", ordered_at=ordered, zone=ZONE, begun_at=NOW) is None
    assert timing.due("set+2", ordered_at=ordered, zone=ZONE) is None


def test_tests_of_different_times_never_share_a_tube_and_the_second_set_is_a_puncture_of_its_own() -> None:
    grey, aerobic, anaerobic = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()

    def need(tube: uuid.UUID, when: str, draw_order: int) -> grouping.Need:
        return grouping.Need(uuid.uuid4(), tube, "any", draw_order, timing=when)

    needs = [need(grey, each, 70) for each in ("load+120", "load+0", "load+30")]
    needs += [need(anaerobic, "set+2", 4), need(aerobic, "set+2", 2), need(anaerobic, "set+1", 4)]
    needs += [need(aerobic, "set+1", 2), need(grey, "", 70), need(grey, "", 70)]
    plans = grouping.tubes_for(needs)
    assert [(each.tube_id, each.timing, len(each.item_ids)) for each in plans] == [
        (aerobic, "set+1", 1),
        (anaerobic, "set+1", 1),
        (grey, "", 2),
        (aerobic, "set+2", 1),
        (anaerobic, "set+2", 1),
        (grey, "load+0", 1),
        (grey, "load+30", 1),
        (grey, "load+120", 1),
    ]
