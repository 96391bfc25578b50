"""A small hospital that patients can book: a department, its doctors, sessions on a day to come."""

from __future__ import annotations

import uuid
from datetime import date, time, timedelta

from sqlalchemy.orm import Session

from cloud.hospital import service
from cloud.hospital.doctors import ensure_doctor
from cloud.hospital.model import ClinicSession, Department, Doctor
from cloud.hospital.release import at_hospital
from cloud.hospital.schedules import SessionWish, publish
from cloud.kit import clock
from cloud.kit.ids import new_id

BY = "staff:00000000-0000-7000-8000-000000000001"
BEGINNINGS = {"morning": (time(8), time(12)), "afternoon": (time(14), time(17)), "evening": (time(18), time(20))}


def department(session: Session, code: str = "XN", name: str = "心血管内科") -> Department:
    row = service.ensure_department(session, code=code, name=name)
    return service.change_department(session, row.id, by=BY, bookable=True)


def doctor(session: Session, code: str = "D1", name: str = "沈明远", *, of: Department) -> Doctor:
    return ensure_doctor(session, code=code, name=name, department_id=of.id, title="chief")


def tomorrow() -> date:
    return clock.today() + timedelta(days=1)


def wish(
    of: Department, sits: Doctor | None = None, *, day: date | None = None, half: str = "morning", **more: object
) -> SessionWish:
    """An expert's half-day (without a doctor: the ordinary clinic), released already."""
    day = day or tomorrow()
    starts, ends = BEGINNINGS[half]
    values: dict[str, object] = {
        "code": f"S-{new_id()}",
        "department_id": of.id,
        "doctor_id": sits.id if sits else None,
        "day": day,
        "half": half,
        "starts_at": at_hospital(day, starts),
        "ends_at": at_hospital(day, ends),
        "kind": "expert" if sits else "general",
        "fee_fen": 50_00 if sits else 10_00,
        "capacity": 20,
        "release_at": clock.now() - timedelta(hours=1),
    }
    return SessionWish(**(values | more))  # type: ignore[arg-type]


def clinic_session(session: Session, **more: object) -> ClinicSession:
    """One expert's session tomorrow morning in a department of its own, released."""
    mark = uuid.uuid4().hex[:6]
    of = department(session, code=f"K{mark}")
    return publish(session, wish(of, doctor(session, code=f"D{mark}", of=of), **more), by=BY)  # type: ignore[arg-type]
