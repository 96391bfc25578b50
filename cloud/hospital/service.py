"""Campuses and departments: asked for by code, made on first mention by the HIS, described by people."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.hospital.model import Campus, Department
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.web.i18n import mark as N_

MAIN_CAMPUS = "main"
DESCRIBED = ("name", "kind", "section", "introduction", "place", "floor", "bookable")


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
            "section": "",
            "introduction": "",
            "place": "",
            "floor": "",
            "bookable": False,
            "created_at": clock.now(),
        }
        session.execute(insert(Department).values(values).on_conflict_do_nothing(index_elements=["code"]))
        found = session.scalars(select(Department).where(Department.code == code)).one()
    return found


def change_department(session: Session, department_id: uuid.UUID, *, by: str, **changes: Any) -> Department:
    """Change some of `DESCRIBED`. Raises `NotFound`, `Invalid` (no name; patients can only book a clinical one)."""
    if unknown := set(changes) - set(DESCRIBED):
        raise TypeError(f"a department's {', '.join(sorted(unknown))} can't be changed")
    row = session.scalar(
        select(Department)
        .where(Department.id == department_id)
        .with_for_update(of=Department)
        .execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound("hospital.department", N_("没有这个科室。"))
    before = {name: getattr(row, name) for name in changes if getattr(row, name) != changes[name]}
    for name in before:
        setattr(row, name, changes[name])
    if not row.name:
        raise Invalid("hospital.department_name", N_("请填写科室名称。"))
    if row.bookable and row.kind != "clinical":
        raise Invalid("hospital.not_clinical", N_("只有临床科室可以开放预约。"))
    if before:
        session.flush()
        record(
            session,
            actor=by,
            action="department.change",
            aggregate=("department", row.id),
            before=before,
            after={name: getattr(row, name) for name in before},
        )
    return row
