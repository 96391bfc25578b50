"""Publishing sessions ahead from the weekly timetable, a day at a time; again, it adds only what is missing."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.hospital import patterns
from cloud.hospital.events import SessionPublished
from cloud.hospital.holidays import holidays, timetable_weekday
from cloud.hospital.model import ClinicSession, Doctor, SessionPattern, SessionState
from cloud.hospital.release import at_hospital, departments_own, settings_of
from cloud.hospital.schedules import TOPIC
from cloud.kit import clock, events
from cloud.kit.audit import record
from cloud.kit.bulk import insert_rows
from cloud.kit.live import announce

LOCK = 5_006
"""Runs over one day go one after the other."""


@dataclass(frozen=True, slots=True)
class Rolled:
    """What a run came to. `kept_out`: lines whose doctor sits elsewhere then or sees nobody any more."""

    published: int
    kept_out: int


def days_ahead(session: Session) -> Iterator[date]:
    """From today to the horizon of the settings."""
    today = clock.today()
    return (today + timedelta(days=each) for each in range(settings_of(session).horizon_days + 1))


def publish_day(session: Session, day: date, *, by: str) -> Rolled:
    """Publish what the timetable says for that day and is not there yet, all in this transaction.

    Sessions that would be over already are left out. One audit entry names them all: who made the line stands at the
    line.
    """
    session.execute(select(func.pg_advisory_xact_lock(LOCK, day.toordinal())))
    weekday = timetable_weekday(day, holidays(session, day, day).get(day))
    lines = [each for each in patterns.patterns_on(session, day, day) if each.weekday == weekday]
    lines = [each for each in lines if patterns.holds(each, day)]
    if not lines:
        return Rolled(0, 0)
    doctors = _seats(session, lines)
    there = session.scalars(select(ClinicSession).where(ClinicSession.day == day)).all()
    codes = {each.code for each in there}
    taken = [(each.acting_id, each.starts_at, each.ends_at) for each in there if each.state != SessionState.STOPPED]
    made: list[ClinicSession] = []
    kept_out = 0
    for row in _rows(session, lines, day):
        if row.code in codes or row.ends_at <= clock.now():
            continue
        doctor = doctors.get(row.doctor_id) if row.doctor_id else None
        met = any(
            who is not None and who == row.doctor_id and starts < row.ends_at and ends > row.starts_at
            for who, starts, ends in taken
        )
        if met or (doctor is not None and not doctor.active):
            kept_out += 1
            continue
        made.append(row)
        taken.append((row.doctor_id, row.starts_at, row.ends_at))
    _publish(session, made, day, by)
    return Rolled(len(made), kept_out)


def _seats(session: Session, lines: Iterable[SessionPattern]) -> dict[uuid.UUID, Doctor]:
    """The lines' doctors, whose rows are kept in their order so that nobody else seats them meanwhile."""
    ids = {each.doctor_id for each in lines if each.doctor_id is not None}
    locked = select(Doctor).where(Doctor.id.in_(ids)).order_by(Doctor.id).with_for_update()
    return {each.id: each for each in session.scalars(locked)}


def _rows(session: Session, lines: Iterable[SessionPattern], day: date) -> Iterator[ClinicSession]:
    own, usual = departments_own(session), settings_of(session)
    for line in lines:
        rule = own.get(line.department_id, usual)
        yield ClinicSession(
            code=f"{line.id.hex}-{day:%Y%m%d}",
            department_id=line.department_id,
            doctor_id=line.doctor_id,
            day=day,
            half=line.half,
            starts_at=at_hospital(day, line.starts),
            ends_at=at_hospital(day, line.ends),
            kind=line.kind,
            fee_fen=line.fee_fen,
            capacity=line.capacity,
            segment_minutes=line.segment_minutes,
            place=line.place,
            release_at=at_hospital(day - timedelta(days=rule.release_days), rule.release_time),
        )


def _publish(session: Session, made: list[ClinicSession], day: date, by: str) -> None:
    if not made:
        return
    insert_rows(session, made)
    for row in made:
        fact = SessionPublished(
            aggregate_id=row.id, department_id=row.department_id, doctor_id=row.doctor_id, day=day, owner=row.owner
        )
        events.publish(session, fact)
    after = {"sessions": [row.id for row in made]}
    record(session, actor=by, action="schedule.publish", aggregate=("clinic_day", day), after=after)
    announce(session, TOPIC, {"day": day.isoformat()})
