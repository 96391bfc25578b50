"""What looks like a scalper: many persons on one account, numbers handed on, bursts; a family does not."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from cloud.patient.registration.scalping import Booked, Thresholds, alarms

pytestmark = pytest.mark.req("REG-4")
EIGHT = datetime(2027, 3, 1, 8, tzinfo=UTC)
KNOWN = Thresholds()


def booked(account: int, person: int, number: int, at_s: float, ended_s: float | None = None) -> Booked:
    ids = (uuid.UUID(int=each) for each in (account, person, number))
    ended = None if ended_s is None else EIGHT + timedelta(seconds=ended_s)
    return Booked(*ids, EIGHT + timedelta(seconds=at_s), ended)


def test_a_family_that_books_over_a_month_is_not_shown() -> None:
    assert alarms([booked(1, person, person, person * 86_400) for person in range(4)], KNOWN) == []


def test_many_persons_on_one_account_are_an_alarm() -> None:
    (found,) = alarms([booked(1, person, person, person * 3600) for person in range(5)], KNOWN)
    assert (found.persons, found.pairs, found.burst) == (5, 0, 1)


def test_a_number_handed_on_within_seconds_counts_for_who_took_it() -> None:
    line = []
    for number in (1, 2):
        line += [booked(1, 1, number, number * 500, number * 500 + 10), booked(2, 2, number, number * 500 + 15)]
    (found,) = alarms(line, KNOWN)
    assert (found.account, found.pairs) == (uuid.UUID(int=2), 2)
    late = [booked(1, 1, 1, 0, 10), booked(2, 2, 1, 71), booked(1, 1, 2, 0, 10), booked(2, 2, 2, 71)]
    assert alarms(late, KNOWN) == []
    himself = [booked(1, 1, number, at, at + 1) for number in (1, 2) for at in (0, 500)]
    assert alarms(himself, KNOWN) == [], "the same person may try again"


def test_a_burst_is_an_alarm_and_its_threshold_can_be_set() -> None:
    line = [booked(1, at % 2, at, at * 10) for at in range(4)]
    assert [each.burst for each in alarms(line, KNOWN)] == [4]
    assert alarms(line, Thresholds(burst=5)) == []
    assert alarms(line, Thresholds(burst_seconds=20)) == []
