"""What a phone is shown of departments, sessions and its own bookings. Bookings are reached through `visible_to`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from sqlalchemy import select
from sqlalchemy.orm import Session, contains_eager

from cloud.hospital import timetable
from cloud.hospital.model import ClinicSession, Department, Doctor
from cloud.kit import clock
from cloud.kit.errors import NotFound
from cloud.patient.registration import numbers, waiting
from cloud.patient.registration.model import Booking, BookingBlock, BookingState, WaitingEntry
from cloud.people.access import Subject, display_name, visible_to
from cloud.people.model import Person
from cloud.people.pinyin import sounds_like
from cloud.web.i18n import mark as N_

DAYS = 15
SHOWN = 60
DOCTORS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Offered:
    """A session in the list. `left`: numbers that can be had now."""

    clinic: ClinicSession
    left: int
    released: bool


@dataclass(frozen=True, slots=True)
class Sitting:
    """A doctor (None: the ordinary clinic) with the sessions of one day."""

    doctor: Doctor | None
    sessions: tuple[Offered, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One booking as its owner sees it."""

    booking: Booking
    clinic: ClinicSession
    patient: str


def departments(session: Session, typed: str = "") -> list[tuple[str, list[Department]]]:
    """Departments by section; `typed`: whose name or introduction holds it, whose or whose doctor's name sounds so."""
    found = timetable.departments_for_booking(session)
    word = typed.strip()
    if word:
        theirs = {each.department_id for each in doctors(session, word)}
        found = [
            each
            for each in found
            if word in each.name or word in each.introduction or sounds_like(each.name, word) or each.id in theirs
        ]
    return [(section, list(rows)) for section, rows in groupby(found, key=lambda each: each.section)]


def doctors(session: Session, typed: str) -> list[Doctor]:
    """Doctors of departments that can be booked, whose name holds what was typed or sounds so (``wxm``, ``wangxi``)."""
    word = typed.strip()
    if not word:
        return []
    rows = session.scalars(
        select(Doctor)
        .join(Doctor.department)
        .where(Doctor.active, Department.bookable)
        .options(contains_eager(Doctor.department))
        .order_by(Doctor.code)
    ).all()
    return [each for each in rows if word in each.name or sounds_like(each.name, word)][:DOCTORS_SHOWN]


def department(session: Session, department_id: uuid.UUID) -> Department:
    """Raises `NotFound` for one that patients may not book."""
    found = session.get(Department, department_id)
    if found is None or not found.bookable:
        raise NotFound("registration.department", N_("没有这个科室，或者它不在手机上挂号。"))
    return found


def doctor(session: Session, doctor_id: uuid.UUID) -> Doctor:
    found = session.get(Doctor, doctor_id)
    if found is None or not found.active:
        raise NotFound("registration.doctor", N_("没有这位医生。"))
    return found


def upcoming(
    session: Session, *, department_id: uuid.UUID | None = None, doctor_id: uuid.UUID | None = None
) -> list[Offered]:
    """Sessions of the next two weeks, those released later too, with what is left of each."""
    now, today = clock.now(), clock.today()
    found = timetable.bookable_sessions(
        session,
        department_id=department_id,
        doctor_id=doctor_id,
        day_from=today,
        day_to=today + timedelta(days=DAYS - 1),
        now=now,
        soon=True,
    )
    left = numbers.left(session, [each.id for each in found])
    return [Offered(each, left.get(each.id, 0), each.release_at <= now) for each in found]


def by_doctor(found: Sequence[Offered], day: date) -> list[Sitting]:
    """The sessions of one day, the ordinary clinic first, then by doctor as they come."""
    sittings: dict[uuid.UUID | None, list[Offered]] = {}
    doctors: dict[uuid.UUID | None, Doctor | None] = {}
    for each in found:
        if each.clinic.day == day:
            acting = each.clinic.acting
            key = acting.id if acting else None
            sittings.setdefault(key, []).append(each)
            doctors[key] = acting
    return [Sitting(doctors[key], tuple(sittings[key])) for key in sorted(sittings, key=lambda each: each is not None)]


def clinic(session: Session, clinic_session_id: uuid.UUID) -> ClinicSession:
    found = timetable.session_by_id(session, clinic_session_id)
    if found is None or not found.department.bookable:
        raise NotFound("registration.session", N_("没有这次出诊，请返回重新选择。"))
    return found


def mine(session: Session, subject: Subject) -> list[Line]:
    """Bookings of everybody this account may book for, the nearest visit first, then what is over."""
    rows = session.execute(
        select(Booking, Person.name)
        .join(Person, Person.id == Booking.person_id)
        .where(Booking.person_id.in_(visible_to(subject, "book")))
        .order_by(Booking.day.desc(), Booking.from_at.desc(), Booking.id)
        .limit(SHOWN)
    ).all()
    sessions = _sessions(session, [row[0].clinic_session_id for row in rows])
    return [Line(row[0], sessions[row[0].clinic_session_id], display_name(row[1])) for row in rows]


def on_day(session: Session, subject: Subject, day: date) -> list[Line]:
    """What stands for one day: confirmed, arrived, to be paid, stopped."""
    shown = (
        BookingState.HELD,
        BookingState.PAYING,
        BookingState.CONFIRMING,
        BookingState.CONFIRMED,
        BookingState.USED,
        BookingState.STOPPED,
    )
    return [each for each in mine(session, subject) if each.booking.day == day and each.booking.state in shown]


def to_do(session: Session, subject: Subject) -> list[Line]:
    """What waits for the patient, whatever its day: an unpaid number, a stopped session."""
    states = (BookingState.HELD, BookingState.PAYING, BookingState.STOPPED)
    return [each for each in mine(session, subject) if each.booking.state in states]


def one(session: Session, subject: Subject, booking_id: uuid.UUID) -> Line:
    """Raises `NotFound`, alike for no such booking and somebody else's."""
    row = session.execute(
        select(Booking, Person.name)
        .join(Person, Person.id == Booking.person_id)
        .where(Booking.id == booking_id, Booking.person_id.in_(visible_to(subject, "book")))
    ).first()
    if row is None:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    sessions = _sessions(session, [row[0].clinic_session_id])
    return Line(row[0], sessions[row[0].clinic_session_id], display_name(row[1]))


def _sessions(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, ClinicSession]:
    found = session.scalars(select(ClinicSession).where(ClinicSession.id.in_(set(ids)))).unique().all()
    return {each.id: each for each in found}


@dataclass(frozen=True, slots=True)
class Waits:
    entry: WaitingEntry
    clinic: ClinicSession
    patient: str
    place: int


def waits(session: Session, subject: Subject, *, entry_id: uuid.UUID | None = None) -> list[Waits]:
    """The entries of the waiting list that still stand (or the one asked for, however it stands)."""
    statement = (
        select(WaitingEntry, Person.name)
        .join(Person, Person.id == WaitingEntry.person_id)
        .where(WaitingEntry.account_id == subject.account_id, WaitingEntry.person_id.in_(visible_to(subject, "book")))
        .order_by(WaitingEntry.created_at)
    )
    if entry_id is not None:
        statement = statement.where(WaitingEntry.id == entry_id)
    else:
        statement = statement.where(WaitingEntry.state.in_(("waiting", "offered")))
    rows = session.execute(statement).all()
    sessions = _sessions(session, [row[0].clinic_session_id for row in rows])
    return [
        Waits(row[0], sessions[row[0].clinic_session_id], display_name(row[1]), waiting.place_in_line(session, row[0]))
        for row in rows
    ]


def blocks(session: Session, subject: Subject) -> list[tuple[BookingBlock, str]]:
    """Blocks that hold for somebody this account books for, with the masked name."""
    rows = session.execute(
        select(BookingBlock, Person.name)
        .join(Person, Person.id == BookingBlock.person_id)
        .where(
            BookingBlock.person_id.in_(visible_to(subject, "book")),
            BookingBlock.lifted_at.is_(None),
            BookingBlock.until > clock.now(),
        )
        .order_by(BookingBlock.until)
    ).all()
    return [(row[0], display_name(row[1])) for row in rows]
