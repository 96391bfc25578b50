"""Campuses and departments: asked for by code, made on first mention by the HIS."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.hospital.model import Campus, Department
from cloud.kit import clock
from cloud.kit.ids import new_id

MAIN_CAMPUS = "main"


def main_campus(session: Session) -> Campus:
    """The hospital's first campus; a new deployment gets one with the hospital's name."""
    return ensure_campus(session, code=MAIN_CAMPUS, name=settings().hospital_name)


def ensure_campus(session: Session, *, code: str, name: str) -> Campus:
    """The campus with `code`; made when it is not there. `name` never renames one that is."""
    found = session.scalar(select(Campus).where(Campus.code == code))
    if found is None:
        values = {"id": new_id(), "code": code, "name": name, "created_at": clock.now()}
        session.execute(insert(Campus).values(values).on_conflict_do_nothing(index_elements=["code"]))
        found = session.scalars(select(Campus).where(Campus.code == code)).one()
    return found


def department_by_code(session: Session, code: str) -> Department | None:
    return session.scalar(select(Department).where(Department.code == code))


def departments(session: Session) -> list[Department]:
    """All of them, by code."""
    return list(session.scalars(select(Department).order_by(Department.code)))


def ensure_department(
    session: Session, *, code: str, name: str, kind: str = "clinical", campus: Campus | None = None
) -> Department:
    """The department with `code`; made when it is not there (two messages at once make one)."""
    found = department_by_code(session, code)
    if found is None:
        home = campus or main_campus(session)
        values = {
            "id": new_id(),
            "code": code,
            "name": name,
            "kind": kind,
            "campus_id": home.id,
            "created_at": clock.now(),
        }
        session.execute(insert(Department).values(values).on_conflict_do_nothing(index_elements=["code"]))
        found = session.scalars(select(Department).where(Department.code == code)).one()
    return found
