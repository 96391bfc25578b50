"""The weekly timetable, the days on which it does not hold, and the sessions published from it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, time, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.hospital import holidays, jobs, patterns, release, rolling, schedules
from cloud.hospital.doctors import change_doctor
from cloud.hospital.model import ClinicSession, Department, Doctor, SessionPattern
from cloud.hospital.patterns import PatternWish
from cloud.hospital.rolling import Rolled
from cloud.kit import clock, db
from cloud.kit.db import begin, new_session
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.events import StoredEvent
from tests.support import clinic
from tests.support.clinic import BY
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.racing import race

pytestmark = pytest.mark.req("REG-1")


@pytest.fixture(scope="module", autouse=True)
def hospital(database_server: DatabaseServer) -> Iterator[None]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
    ):
        yield


@pytest.fixture
def session() -> Iterator[Session]:
    """What a test does is undone."""
    with new_session() as session:
        yield session


def refused(code: str) -> object:
    return pytest.raises((Conflict, Invalid, NotFound), check=lambda error: error.code == code)


def ahead(weekday: int) -> date:
    """The first such day of next week or later."""
    monday = clock.today() + timedelta(days=8 - clock.today().isoweekday())
    return monday + timedelta(days=weekday - 1)


def line(of: Department, sits: Doctor | None = None, **more: object) -> PatternWish:
    values: dict[str, object] = {
        "department_id": of.id, "doctor_id": sits.id if sits else None, "weekday": 1, "half": "morning",
        "starts": time(8), "ends": time(12), "kind": "expert" if sits else "general", "fee_fen": 30_00,
        "capacity": 24, "segment_minutes": 30, "valid_from": clock.today(),
    }  # fmt: skip
    return PatternWish(**(values | more))  # type: ignore[arg-type]


def published(session: Session, day: date) -> list[ClinicSession]:
    return list(session.scalars(select(ClinicSession).where(ClinicSession.day == day)))


def test_a_day_is_published_once_with_the_release_time_of_its_department(session: Session) -> None:
    of = clinic.department(session)
    patterns.add_pattern(session, line(of, clinic.doctor(session, of=of)), by=BY)
    patterns.add_pattern(session, line(of, capacity=80), by=BY)
    release.set_department(session, of.id, days=2, of_day=time(19), by=BY)
    monday = ahead(1)
    assert rolling.publish_day(session, monday, by=BY) == Rolled(published=2, kept_out=0)
    assert rolling.publish_day(session, monday, by=BY) == Rolled(published=0, kept_out=0)
    assert rolling.publish_day(session, ahead(2), by=BY) == Rolled(published=0, kept_out=0)
    rows = published(session, monday)
    assert sorted((each.capacity, each.state, each.version) for each in rows) == [(24, "open", 1), (80, "open", 1)]
    assert {f"{clock.local(each.starts_at):%H:%M}" for each in rows} == {"08:00"}
    assert {clock.local(each.release_at).date() for each in rows} == {monday - timedelta(days=2)}
    told = select(func.count()).where(StoredEvent.aggregate_id.in_([each.id for each in rows]))
    assert session.scalar(told) == 2


def test_a_stopped_session_is_not_published_anew(session: Session) -> None:
    of = clinic.department(session)
    patterns.add_pattern(session, line(of, clinic.doctor(session, of=of)), by=BY)
    rolling.publish_day(session, ahead(1), by=BY)
    schedules.stop(session, published(session, ahead(1))[0].id, by=BY, why="进修")
    assert rolling.publish_day(session, ahead(1), by=BY).published == 0


def test_a_doctor_who_sits_elsewhere_or_has_left_is_kept_out_and_counted(session: Session) -> None:
    of = clinic.department(session)
    busy, gone = (clinic.doctor(session, code=each, of=of) for each in ("B", "G"))
    for each in (busy, gone):
        patterns.add_pattern(session, line(of, each), by=BY)
    schedules.publish(session, clinic.wish(of, busy, day=ahead(1)), by=BY)
    change_doctor(session, gone.id, by=BY, active=False)
    assert rolling.publish_day(session, ahead(1), by=BY) == Rolled(published=0, kept_out=2)


def test_odd_and_even_weeks_share_a_room_and_never_meet(session: Session) -> None:
    of = clinic.department(session)
    sits = clinic.doctor(session, of=of)
    patterns.add_pattern(session, line(of, sits, weeks="odd", capacity=11), by=BY)
    patterns.add_pattern(session, line(of, sits, weeks="even", capacity=22), by=BY)
    with refused("hospital.pattern_met"):
        patterns.add_pattern(session, line(of, sits), by=BY)
    for day in (ahead(1), ahead(1) + timedelta(days=7)):
        assert rolling.publish_day(session, day, by=BY).published == 1
        odd = day.isocalendar().week % 2 == 1
        assert [each.capacity for each in published(session, day)] == [11 if odd else 22]


def test_a_line_that_ended_publishes_nothing_more_and_leaves_what_stands(session: Session) -> None:
    of = clinic.department(session)
    row = patterns.add_pattern(session, line(of), by=BY)
    rolling.publish_day(session, ahead(1), by=BY)
    with refused("hospital.pattern_reason"):
        patterns.end_pattern(session, row.id, last_day=ahead(1), by=BY, reason=" ")
    patterns.end_pattern(session, row.id, last_day=ahead(1), by=BY, reason="专科门诊合并")
    assert rolling.publish_day(session, ahead(1) + timedelta(days=7), by=BY).published == 0
    assert len(published(session, ahead(1))) == 1


def test_a_festival_has_no_clinic_and_a_day_worked_for_it_has_its_weekdays(session: Session) -> None:
    of = clinic.department(session)
    patterns.add_pattern(session, line(of), by=BY)
    monday, saturday = ahead(1), ahead(6)
    holidays.set_day(session, monday, name="院庆", works_as=None, by=BY)
    holidays.set_day(session, saturday, name="院庆补班", works_as=1, by=BY)
    assert rolling.publish_day(session, monday, by=BY).published == 0
    assert rolling.publish_day(session, saturday, by=BY).published == 1
    holidays.remove_day(session, monday, by=BY)
    assert rolling.publish_day(session, monday, by=BY).published == 1
    with refused("hospital.holiday"):
        holidays.remove_day(session, monday, by=BY)


def test_the_statutory_year_is_as_announced_and_a_year_not_announced_is_refused(session: Session) -> None:
    """In 2026 the Saturdays 02-14 and 02-28 are worked for Friday 02-20 and Monday 02-23."""
    days = {day: (name, works_as) for day, name, works_as in holidays.statutory(2026)}
    assert days[date(2026, 2, 17)] == ("春节", None)
    assert days[date(2026, 2, 14)] == ("春节", 5)
    assert days[date(2026, 2, 28)] == ("春节", 1)
    assert days[date(2026, 10, 1)] == ("国庆节", None)
    assert date(2026, 3, 2) not in days
    holidays.set_day(session, date(2026, 2, 14), name="急诊外停诊", works_as=None, by=BY)
    assert holidays.load_statutory(session, 2026, by=BY) == len(days) - 1
    assert holidays.load_statutory(session, 2026, by=BY) == 0
    kept = holidays.holidays(session, date(2026, 2, 14), date(2026, 2, 14))[date(2026, 2, 14)]
    assert (kept.name, kept.works_as, kept.source) == ("急诊外停诊", None, "hospital")
    with refused("hospital.year_unknown"):
        holidays.load_statutory(session, 2100, by=BY)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"weekday": 8}, "hospital.weekday"),
        ({"weeks": "third"}, "hospital.weekday"),
        ({"half": "night"}, "hospital.unknown_half"),
        ({"ends": time(8)}, "hospital.half_times"),
        ({"kind": "expert"}, "hospital.expert_unnamed"),
        ({"capacity": 0}, "hospital.capacity"),
        ({"segment_minutes": 481}, "hospital.segment"),
        ({"fee_fen": -100}, "hospital.fee"),
        ({"valid_to": clock.today() - timedelta(days=1)}, "hospital.pattern_dates"),
    ],
)
def test_a_line_that_cannot_be_is_refused(session: Session, more: dict[str, object], code: str) -> None:
    of = clinic.department(session)
    with refused(code):
        patterns.add_pattern(session, line(of, **more), by=BY)  # type: ignore[arg-type]


def test_the_night_publishes_to_the_horizon_and_two_nights_at_once_publish_once() -> None:
    with begin() as session:
        of = clinic.department(session, code="NIGHT")
        for weekday in range(1, 8):
            patterns.add_pattern(session, line(of, weekday=weekday, valid_from=ahead(1)), by=BY)
        days = [each for each in rolling.days_ahead(session) if each >= ahead(1)]

    def night() -> None:
        jobs.publish_ahead(db.begin)

    with ThreadPoolExecutor(2) as pool:
        assert race(pool, night, night) == ("done", "done")
    with begin() as session:
        kept = session.scalars(select(ClinicSession.day).where(ClinicSession.department_id == of.id)).all()
        assert sorted(kept) == days
        assert session.scalar(select(func.count(SessionPattern.id))) == 7
