"""Clinic sessions: published once, changed with a reason, stopped for good, given to another doctor."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import time, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.hospital import booked, release, schedules, timetable
from cloud.hospital.booked import Booked
from cloud.hospital.doctors import change_doctor
from cloud.hospital.model import ClinicSession
from cloud.hospital.release import at_hospital
from cloud.hospital.schedule_model import is_bookable
from cloud.hospital.service import change_department
from cloud.kit import clock
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin, new_session
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.events import StoredEvent
from cloud.kit.ids import new_id
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


def facts(session: Session, row: ClinicSession) -> list[str]:
    kept = select(StoredEvent.type).where(StoredEvent.aggregate_id == row.id).order_by(StoredEvent.id)
    return [each.removeprefix("hospital.session_") for each in session.scalars(kept)]


def refused(code: str) -> object:
    return pytest.raises((Conflict, Invalid, NotFound), check=lambda error: error.code == code)


def test_a_session_wished_twice_is_published_once(session: Session) -> None:
    of = clinic.department(session)
    wish = clinic.wish(of, clinic.doctor(session, of=of))
    first = schedules.publish(session, wish, by=BY)
    assert schedules.publish(session, wish, by="his").id == first.id
    assert facts(session, first) == ["published"]
    kept = session.scalars(select(AuditEntry).where(AuditEntry.aggregate_id == str(first.id))).one()
    assert (kept.actor, kept.action, kept.after["capacity"]) == (BY, "session.publish", 20)


def test_a_key_of_another_session_is_refused(session: Session) -> None:
    row = clinic.clinic_session(session)
    of = clinic.department(session, code="OTHER")
    with refused("hospital.code_taken"):
        schedules.publish(session, clinic.wish(of, code=row.code), by=BY)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"capacity": 501}, "hospital.capacity"),
        ({"segment_minutes": 4}, "hospital.segment"),
        ({"fee_fen": -1}, "hospital.fee"),
        ({"ends_at": at_hospital(clinic.tomorrow(), time(8))}, "hospital.half_times"),
        ({"day": clock.today() + timedelta(days=9), "starts_at": at_hospital(clinic.tomorrow(), time(8))},
         "hospital.other_day"),
        ({"kind": "expert"}, "hospital.expert_unnamed"),
        ({"kind": "other"}, "hospital.unknown_half"),
        ({"department_id": new_id()}, "hospital.department"),
        ({"doctor_id": new_id()}, "hospital.doctor"),
    ],
)  # fmt: skip
def test_a_session_that_cannot_be_is_refused(session: Session, more: dict[str, object], code: str) -> None:
    of = clinic.department(session)
    with refused(code):
        schedules.publish(session, clinic.wish(of, **more), by=BY)  # type: ignore[arg-type]


def test_nobody_sits_in_two_rooms_at_once_unless_the_his_says_so(session: Session) -> None:
    of = clinic.department(session)
    sits = clinic.doctor(session, of=of)
    schedules.publish(session, clinic.wish(of, sits), by=BY)
    with refused("hospital.doctor_elsewhere"):
        schedules.publish(session, clinic.wish(of, sits), by=BY)
    schedules.publish(session, clinic.wish(of, sits, half="afternoon"), by=BY)
    schedules.publish(session, clinic.wish(of, sits, owner="his"), by="his")


def test_one_who_sees_nobody_any_more_gets_no_session(session: Session) -> None:
    of = clinic.department(session)
    sits = clinic.doctor(session, of=of)
    change_doctor(session, sits.id, by=BY, active=False)
    with refused("hospital.doctor_inactive"):
        schedules.publish(session, clinic.wish(of, sits), by=BY)
    assert timetable.doctors_of(session, of.id) == []
    assert timetable.doctors_of(session, of.id, all=True) == [sits]


def test_a_change_after_release_needs_a_reason_and_says_what_changed(session: Session) -> None:
    row = clinic.clinic_session(session)
    starts = row.starts_at
    with refused("hospital.reason"):
        schedules.change(session, row.id, by=BY, capacity=25)
    schedules.change(session, row.id, by=BY, reason="加号", capacity=25)
    later = starts + timedelta(minutes=30)
    schedules.change(session, row.id, by=BY, reason="查房", starts_at=later)
    schedules.change(session, row.id, by=BY, starts_at=later)  # is so already
    kept = session.scalars(
        select(StoredEvent).where(StoredEvent.aggregate_id == row.id).order_by(StoredEvent.id)
    ).all()[1:]
    assert [(each.payload["changed"], each.payload["starts_before"]) for each in kept] == [
        (["capacity"], None),
        (["starts_at"], starts.isoformat()),
    ]
    assert (row.capacity, row.version) == (25, 3)


def test_a_page_that_is_out_of_date_changes_nothing(session: Session) -> None:
    row = clinic.clinic_session(session)
    schedules.change(session, row.id, by=BY, reason="加号", capacity=25, version=1)
    for act in (
        lambda: schedules.change(session, row.id, by=BY, reason="加号", capacity=30, version=1),
        lambda: schedules.stop(session, row.id, by=BY, why="开会", version=1),
        lambda: schedules.close(session, row.id, by=BY, why="已满", version=1),
        lambda: schedules.substitute(session, row.id, None, by=BY, why="回来", version=1),
    ):
        with refused("hospital.session_changed"):
            act()
    assert (row.capacity, row.state) == (25, "open")


def test_numbers_that_patients_have_are_not_taken_away(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    row = clinic.clinic_session(session)
    monkeypatch.setattr(booked, "_counters", [lambda session, ids: {each: Booked(given=12, free=8) for each in ids}])
    with refused("hospital.given_out"):
        schedules.change(session, row.id, by=BY, reason="减号", capacity=11)
    assert schedules.change(session, row.id, by=BY, reason="减号", capacity=12).capacity == 12


def test_a_stopped_session_stays_stopped_and_the_patients_reason_is_kept(session: Session) -> None:
    row = clinic.clinic_session(session)
    with refused("hospital.reason"):
        schedules.stop(session, row.id, by=BY, why="  ")
    schedules.stop(session, row.id, by=BY, why="医生外出会诊")
    schedules.stop(session, row.id, by=BY, why="又一次")
    assert (row.state, row.stopped_why) == ("stopped", "医生外出会诊")
    assert facts(session, row) == ["published", "stopped"]
    for act in (
        lambda: schedules.change(session, row.id, by=BY, reason="加号", capacity=30),
        lambda: schedules.substitute(session, row.id, None, by=BY, why="回来"),
        lambda: schedules.reopen(session, row.id, by=BY, why="恢复"),
    ):
        with refused("hospital.session_stopped"):
            act()


def test_what_is_over_is_not_rewritten(session: Session) -> None:
    row = clinic.clinic_session(session)
    row.starts_at, row.ends_at = clock.now() - timedelta(hours=5), clock.now() - timedelta(minutes=1)
    session.flush()
    with refused("hospital.session_over"):
        schedules.stop(session, row.id, by=BY, why="开会")


def test_another_doctor_sits_in_and_the_first_may_come_after_all(session: Session) -> None:
    of = clinic.department(session)
    first, second = (clinic.doctor(session, code=each, name=each, of=of) for each in ("D1", "D2"))
    row = schedules.publish(session, clinic.wish(of, first), by=BY)
    with refused("hospital.same_doctor"):
        schedules.substitute(session, row.id, first.id, by=BY, why="出差")
    with refused("hospital.doctor"):
        schedules.substitute(session, row.id, new_id(), by=BY, why="出差")
    schedules.substitute(session, row.id, second.id, by=BY, why="出差")
    session.refresh(row)
    assert (row.acting, row.substituted_why) == (second, "出差")
    day = {"day_from": row.day, "day_to": row.day}
    assert timetable.sessions_of(session, second.id, **day) == [row]
    free = schedules.publish(session, clinic.wish(of, first), by=BY)  # he is not there: nothing overlaps
    with refused("hospital.doctor_elsewhere"):
        schedules.substitute(session, row.id, None, by=BY, why="提前回院")
    schedules.stop(session, free.id, by=BY, why="排错了")
    schedules.substitute(session, row.id, None, by=BY, why="提前回院")
    assert (row.substitute_id, row.substituted_why) == (None, None)
    assert facts(session, row) == ["published", "substituted", "substituted"]


def test_an_ordinary_clinic_has_nobody_to_substitute(session: Session) -> None:
    of = clinic.department(session)
    row = schedules.publish(session, clinic.wish(of), by=BY)
    with refused("hospital.nobody_named"):
        schedules.substitute(session, row.id, clinic.doctor(session, of=of).id, by=BY, why="出差")


def test_closed_for_booking_is_not_stopped(session: Session) -> None:
    row = clinic.clinic_session(session)
    schedules.close(session, row.id, by=BY, why="号已满")
    schedules.close(session, row.id, by=BY, why="号已满")
    assert not row.bookable_at(clock.now())
    schedules.reopen(session, row.id, by=BY, why="加诊")
    assert row.bookable_at(clock.now())
    assert facts(session, row) == ["published", "changed", "changed"]


def test_only_released_open_sessions_of_bookable_departments_are_offered(session: Session) -> None:
    of = clinic.department(session)
    sits = clinic.doctor(session, of=of)
    now = clock.now()
    offered = schedules.publish(session, clinic.wish(of, sits), by=BY)
    soon = schedules.publish(
        session, clinic.wish(of, sits, half="afternoon", release_at=now + timedelta(hours=1)), by=BY
    )
    schedules.stop(session, schedules.publish(session, clinic.wish(of, half="evening"), by=BY).id, by=BY, why="停电")
    asked = {"department_id": of.id, "day_from": clinic.tomorrow(), "day_to": clinic.tomorrow(), "now": now}
    assert timetable.bookable_sessions(session, **asked) == [offered]
    assert timetable.bookable_sessions(session, **asked, soon=True) == [offered, soon]
    assert session.scalars(select(ClinicSession).where(is_bookable(now), ClinicSession.id == soon.id)).all() == []
    assert timetable.bookable_sessions(session, **{**asked, "now": offered.ends_at}) == [soon]
    assert timetable.bookable_sessions(session, **asked, doctor_id=sits.id) == [offered]
    change_department(session, of.id, by=BY, bookable=False)
    assert timetable.bookable_sessions(session, **asked, soon=True) == []
    assert of not in timetable.departments_for_booking(session)


def test_numbers_are_released_by_the_departments_rule_or_else_the_hospitals(session: Session) -> None:
    of = clinic.department(session)
    day = clock.today() + timedelta(days=10)
    row = schedules.publish(session, clinic.wish(of, day=day, release_at=None), by=BY)
    assert clock.local(row.release_at).replace(tzinfo=None).isoformat() == f"{day - timedelta(days=7)}T07:00:00"
    release.set_department(session, of.id, days=3, of_day=time(20, 30), by=BY)
    row = schedules.publish(session, clinic.wish(of, day=day, half="evening", release_at=None), by=BY)
    assert clock.local(row.release_at).replace(tzinfo=None).isoformat() == f"{day - timedelta(days=3)}T20:30:00"
    release.set_department(session, of.id, days=None, of_day=None, by=BY)
    assert of.id not in release.departments_own(session)


def test_settings_that_contradict_each_other_are_refused(session: Session) -> None:
    with refused("hospital.horizon_short"):
        release.change_settings(session, by=BY, horizon_days=5)
    session.rollback()
    with refused("hospital.half_times"):
        release.change_settings(session, by=BY, morning_ends=time(7))
    session.rollback()
    with refused("hospital.release_days"):
        release.change_settings(session, by=BY, release_days=91)
    session.rollback()
    with refused("hospital.not_clinical"):
        change_department(session, clinic.department(session).id, by=BY, kind="laboratory")


def test_what_the_his_says_is_taken_over_as_it_stands_there(session: Session) -> None:
    of = clinic.department(session)
    first, second = (clinic.doctor(session, code=each, name=each, of=of) for each in ("D1", "D2"))
    wish = {"code": "HIS-1", "owner": "his"}
    row = schedules.put(session, clinic.wish(of, first, **wish), by="his", reason="SIU")
    assert schedules.put(session, clinic.wish(of, first, **wish), by="his", reason="SIU").version == 2  # released later
    version = row.version
    schedules.put(session, clinic.wish(of, first, **wish, release_at=row.release_at), by="his", reason="SIU")
    assert row.version == version
    schedules.put(session, clinic.wish(of, second, **wish, capacity=30), by="his", reason="SIU")
    assert (row.substitute_id, row.capacity, row.owner) == (second.id, 30, "his")
    schedules.put(session, clinic.wish(of, first, **wish, capacity=30), by="his", reason="SIU")
    assert row.substitute_id is None
    with refused("hospital.doctor_gone"):
        schedules.put(session, clinic.wish(of, **wish, kind="general"), by="his", reason="SIU")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_two_who_seat_one_doctor_in_two_rooms_at_once(pool: ThreadPoolExecutor) -> None:
    for turn in range(5):
        with begin() as session:
            of = clinic.department(session, code=f"R{turn}")
            sits = clinic.doctor(session, code=f"R{turn}", of=of)

        def seat(of: object = of, sits: object = sits) -> None:
            with begin() as session:
                schedules.publish(session, clinic.wish(of, sits), by=BY)  # type: ignore[arg-type]

        assert sorted(race(pool, seat, seat)) == ["done", "hospital.doctor_elsewhere"]


def test_stopped_and_substituted_at_once_is_one_of_them_and_never_both(pool: ThreadPoolExecutor) -> None:
    for turn in range(5):
        with begin() as session:
            row = clinic.clinic_session(session)
            other = clinic.doctor(session, code=f"T{turn}", of=row.department)

        def stop(row: ClinicSession = row) -> None:
            with begin() as session:
                schedules.stop(session, row.id, by=BY, why="开会", version=1)

        def give(row: ClinicSession = row, doctor_id: object = other.id) -> None:
            with begin() as session:
                schedules.substitute(session, row.id, doctor_id, by=BY, why="开会", version=1)  # type: ignore[arg-type]

        answers = race(pool, stop, give)
        assert answers in [("done", "hospital.session_changed"), ("hospital.session_changed", "done")]


def test_one_key_published_twice_at_once_is_one_session(pool: ThreadPoolExecutor) -> None:
    with begin() as session:
        of = clinic.department(session, code="ONCE")

    def say() -> None:
        with begin() as session:
            schedules.publish(session, clinic.wish(of, code="ONCE"), by="his")

    assert race(pool, say, say) == ("done", "done")
    with begin() as session:
        row = schedules.session_by_code(session, "ONCE")
        assert row is not None
        assert session.scalar(select(func.count()).where(StoredEvent.aggregate_id == row.id)) == 1
