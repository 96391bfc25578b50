"""Segments, vouchers and limits as plain rules."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.patient.registration.rules import (
    Held,
    Limits,
    is_voucher,
    may_cancel_by_phone,
    no_show_block,
    over_limit,
    return_delay,
    slots,
    voucher_number,
)

EIGHT = datetime(2026, 12, 1, 8, tzinfo=UTC)
DAY = date(2026, 12, 1)


@pytest.mark.req("REG-1")
@given(st.integers(0, 200), st.integers(5, 240), st.integers(30, 480))
def test_every_number_has_a_segment_inside_the_session_and_none_comes_before_an_earlier_one(
    capacity: int, segment: int, minutes: int
) -> None:
    ends = EIGHT + timedelta(minutes=minutes)
    found = slots(EIGHT, ends, capacity, segment)
    assert [each.seq for each in found] == list(range(1, capacity + 1))
    assert all(EIGHT <= each.from_at < each.to_at <= ends for each in found)
    assert [each.from_at for each in found] == sorted(each.from_at for each in found)


@given(st.dates(date(2020, 1, 1), date(2099, 12, 31)), st.integers(0, 10**12), st.integers(0, 13), st.integers(1, 9))
def test_a_voucher_with_one_wrong_digit_is_noticed(day: date, drawn: int, at: int, by: int) -> None:
    number = voucher_number(day, drawn)
    assert is_voucher(number)
    wrong = str((int(number[at]) + by) % 10)
    assert not is_voucher(number[:at] + wrong + number[at + 1 :])


@pytest.mark.parametrize("text", ["", "1" * 13, "１２３４５６７８９０１２３４", "26112400000011 "])
def test_what_is_no_voucher_is_none(text: str) -> None:
    assert not is_voucher(text)


LIMITS = Limits(open_per_person=3, per_department_day=1, per_doctor_day=1, per_day=2, per_month=4)


def held(department: str, doctor: str = "", *, live: bool = True, day: date = DAY) -> Held:
    return Held(department, doctor or None, day, live, live)


@pytest.mark.req("REG-4")
@pytest.mark.parametrize(
    ("had", "verdict"),
    [
        ([], None),
        ([held("A", "d")], "doctor_day"),
        ([held("X")], "department_day"),
        ([held("A"), held("B")], "day"),
        ([held("A", live=False), held("X", live=False)], None),
        ([held("A", day=DAY + timedelta(days=each)) for each in (1, 2, 3)], "open"),
        ([held("A", live=False)] * 4, "month"),
        ([held("A", live=False, day=DAY + timedelta(days=40))] * 4, None),
    ],
)
def test_the_first_limit_that_is_passed_is_named(had: list[Held], verdict: str | None) -> None:
    assert over_limit(LIMITS, had, "X", "d", DAY) == verdict


@pytest.mark.parametrize(
    ("minutes", "free", "invoiced", "verdict"),
    [
        (-30, False, False, None),
        (-29, False, False, "too_late"),
        (-29, True, False, None),
        (-999, True, True, "invoiced"),
    ],
)
def test_cancelling_by_phone_ends_half_an_hour_before(
    minutes: int, free: bool, invoiced: bool, verdict: str | None
) -> None:
    now = EIGHT + timedelta(minutes=minutes)
    assert may_cancel_by_phone(now, EIGHT, 30, free_to_cancel=free, invoiced=invoiced) == verdict


def test_only_visits_missed_lately_block() -> None:
    old, new = EIGHT - timedelta(days=400), EIGHT - timedelta(days=3)
    rule = {"at_most": 2, "within_days": 365, "blocked_days": 90}
    assert no_show_block([old, new], EIGHT, **rule) is None
    assert no_show_block([new, new], EIGHT, **rule) == EIGHT + timedelta(days=90)
    assert no_show_block([new] * 9, EIGHT, at_most=0, within_days=365, blocked_days=90) is None


def test_a_returned_number_comes_back_at_a_time_nobody_knows() -> None:
    source = random.Random(1)
    found = {return_delay(5, 30, source) for _ in range(50)}
    assert min(found) >= timedelta(minutes=5)
    assert max(found) <= timedelta(minutes=30)
    assert len(found) > 40
