"""The schedule as staff look at it: a week of one department by doctor, or of all departments in figures."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from sqlalchemy.orm import Session

from cloud.hospital import timetable
from cloud.hospital.booked import Booked, booked
from cloud.hospital.holidays import holidays
from cloud.hospital.model import ClinicSession, Department, Doctor, Holiday, SessionState


@dataclass(frozen=True, slots=True)
class Row:
    """One doctor's week, or (no doctor) the ordinary clinic's; `cells` by day."""

    doctor: Doctor | None
    cells: Mapping[date, Sequence[ClinicSession]]


@dataclass(slots=True)
class Figures:
    """One department's day."""

    sessions: int = 0
    stopped: int = 0
    capacity: int = 0
    given: int = 0


@dataclass(frozen=True, slots=True)
class Week:
    days: Sequence[date]
    holidays: Mapping[date, Holiday]
    rows: Sequence[Row] = ()
    booked: Mapping[uuid.UUID, Booked] = field(default_factory=dict)
    figures: Mapping[uuid.UUID, Mapping[date, Figures]] = field(default_factory=dict)
    departments: Sequence[Department] = ()


def monday_of(day: date) -> date:
    return day - timedelta(days=day.isoweekday() - 1)


def department_week(session: Session, department: Department, monday: date) -> Week:
    """Every doctor of the department has a row, also one without a session; guests follow."""
    days = _days(monday)
    sessions = timetable.week_of(session, department_id=department.id, day_from=days[0], day_to=days[-1])
    doctors: dict[uuid.UUID | None, Doctor | None] = {None: None}
    doctors |= {each.id: each for each in timetable.doctors_of(session, department.id)}
    for each in sessions:
        doctors.setdefault(each.doctor_id, each.doctor)
    rows = [
        Row(doctor, {day: [each for each in sessions if each.doctor_id == key and each.day == day] for day in days})
        for key, doctor in doctors.items()
    ]
    counted = booked(session, [each.id for each in sessions])
    return Week(days, holidays(session, days[0], days[-1]), rows, counted)


def hospital_week(session: Session, monday: date) -> Week:
    """Figures of every department that has a session or may be booked."""
    days = _days(monday)
    sessions = timetable.week_of(session, day_from=days[0], day_to=days[-1])
    counted = booked(session, [each.id for each in sessions])
    figures: dict[uuid.UUID, dict[date, Figures]] = {}
    for each in sessions:
        cell = figures.setdefault(each.department_id, {}).setdefault(each.day, Figures())
        if each.state == SessionState.STOPPED:
            cell.stopped += 1
            continue
        cell.sessions += 1
        cell.capacity += each.capacity
        stand = counted.get(each.id)
        cell.given += stand.given if stand else 0
    known = {each.id: each for each in timetable.departments_for_booking(session)}
    known |= {each.department_id: each.department for each in sessions}
    listed = sorted(known.values(), key=lambda each: (each.section, each.code))
    return Week(days, holidays(session, days[0], days[-1]), figures=figures, departments=listed)


def _days(monday: date) -> list[date]:
    return [monday + timedelta(days=each) for each in range(7)]
