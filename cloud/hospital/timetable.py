"""Reading the schedule: what can be booked, who sits when."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import Select, case, or_, select
from sqlalchemy.orm import Session, joinedload

from cloud.hospital.model import TITLES, ClinicSession, Department, Doctor
from cloud.hospital.schedule_model import SessionState, is_bookable, sits

_BY_TITLE = case({title: place for place, title in enumerate(TITLES)}, value=Doctor.title)
_ORDER = (ClinicSession.day, ClinicSession.starts_at, ClinicSession.kind, ClinicSession.code)


def _sessions() -> Select[ClinicSession]:
    whole = (
        joinedload(ClinicSession.department), joinedload(ClinicSession.doctor), joinedload(ClinicSession.substitute)
    )  # fmt: skip
    return select(ClinicSession).options(*whole).order_by(*_ORDER)


def bookable_sessions(
    session: Session,
    *,
    department_id: uuid.UUID | None = None,
    doctor_id: uuid.UUID | None = None,
    day_from: date,
    day_to: date,
    now: datetime,
    soon: bool = False,
) -> list[ClinicSession]:
    """Sessions of these days that take bookings now, in departments that patients may book; by day and time.

    `soon`: also those that are only released later, for "放号时间 …" beside them.
    """
    statement = (
        _sessions()
        .join(ClinicSession.department)
        .where(Department.bookable, ClinicSession.day.between(day_from, day_to))
    )
    if soon:
        statement = statement.where(ClinicSession.state == SessionState.OPEN, ClinicSession.ends_at > now)
    else:
        statement = statement.where(is_bookable(now))
    if department_id is not None:
        statement = statement.where(ClinicSession.department_id == department_id)
    if doctor_id is not None:
        statement = statement.where(sits(doctor_id))
    return list(session.scalars(statement))


def sessions_of(session: Session, doctor_id: uuid.UUID, *, day_from: date, day_to: date) -> list[ClinicSession]:
    """A doctor's own sessions and those where he sits in another's place; stopped ones too (they say so)."""
    his = or_(ClinicSession.doctor_id == doctor_id, ClinicSession.substitute_id == doctor_id)
    return list(session.scalars(_sessions().where(his, ClinicSession.day.between(day_from, day_to))))


def week_of(
    session: Session, *, department_id: uuid.UUID | None = None, day_from: date, day_to: date
) -> list[ClinicSession]:
    """Everything that stands in the schedule on these days."""
    statement = _sessions().where(ClinicSession.day.between(day_from, day_to))
    if department_id is not None:
        statement = statement.where(ClinicSession.department_id == department_id)
    return list(session.scalars(statement))


def session_by_id(session: Session, session_id: uuid.UUID) -> ClinicSession | None:
    return session.scalar(_sessions().where(ClinicSession.id == session_id))


def departments_for_booking(session: Session) -> list[Department]:
    """Those that patients may book, by section and code."""
    statement = select(Department).where(Department.bookable).order_by(Department.section, Department.code)
    return list(session.scalars(statement))


def doctors_of(session: Session, department_id: uuid.UUID, *, all: bool = False) -> list[Doctor]:
    """A department's doctors, highest title first; `all`: also those who see nobody any more."""
    statement = select(Doctor).where(Doctor.department_id == department_id).order_by(_BY_TITLE, Doctor.code)
    return list(session.scalars(statement if all else statement.where(Doctor.active)))


def doctors(session: Session, ids: Sequence[uuid.UUID] | None = None) -> list[Doctor]:
    """All doctors (or these), by department, title and code."""
    statement = (
        select(Doctor)
        .options(joinedload(Doctor.department))
        .join(Doctor.department)
        .order_by(Department.code, _BY_TITLE, Doctor.code)
    )
    return list(session.scalars(statement if ids is None else statement.where(Doctor.id.in_(ids))))
