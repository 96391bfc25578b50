"""Doctors: made by people or on first mention by the HIS, described, pictured, no longer active; never deleted."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, undefer

from cloud.hospital.model import TITLES, Department, Doctor
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.web.i18n import mark as N_

DESCRIBED = ("name", "title", "department_id", "introduction", "skills", "active")
LARGEST_PHOTO = 300_000
"""Bytes; a phone loads several of them on one page."""
_KINDS = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))


def doctor_by_code(session: Session, code: str) -> Doctor | None:
    return session.scalar(select(Doctor).where(Doctor.code == code))


def ensure_doctor(
    session: Session, *, code: str, name: str, department_id: uuid.UUID, title: str = "attending"
) -> Doctor:
    """The doctor with `code`; made when there is none (two messages at once make one)."""
    found = doctor_by_code(session, code)
    if found is None:
        values = {"id": new_id(), "code": code, "name": name, "title": title, "department_id": department_id}
        texts = {"introduction": "", "skills": "", "photo_type": "", "photo_tag": "", "active": True}
        statement = insert(Doctor).values(**values, **texts, created_at=clock.now())
        session.execute(statement.on_conflict_do_nothing(index_elements=["code"]))
        found = session.scalars(select(Doctor).where(Doctor.code == code)).one()
    return found


def add_doctor(
    session: Session, *, code: str, name: str, title: str, department_id: uuid.UUID, by: str, **more: str
) -> Doctor:
    """A new doctor, typed by a person. Raises `Invalid`, `NotFound`, `Conflict` (the code is taken)."""
    if not code.strip():
        raise Invalid("hospital.doctor_code", N_("请填写医生工号。"))
    if doctor_by_code(session, code.strip()) is not None:
        raise Conflict("hospital.doctor_known", N_("工号 {number} 已用于另一位医生。"), number=code.strip())
    row = Doctor(code=code.strip(), name=name.strip(), title=title, department_id=department_id, **more)
    _check(session, row)
    session.add(row)
    session.flush()
    _remember(session, row, by, "doctor.add", None, {"code": row.code, **{n: getattr(row, n) for n in DESCRIBED}})
    return row


def change_doctor(session: Session, doctor_id: uuid.UUID, *, by: str, **changes: Any) -> Doctor:
    """Change some of `DESCRIBED`. One who is no longer active keeps his sessions until they are stopped or given away.

    Raises `NotFound`, `Invalid`.
    """
    if unknown := set(changes) - set(DESCRIBED):
        raise TypeError(f"a doctor's {', '.join(sorted(unknown))} can't be changed")
    row = _taken(session, doctor_id)
    before = {name: getattr(row, name) for name in changes if getattr(row, name) != changes[name]}
    for name in before:
        setattr(row, name, changes[name])
    _check(session, row)
    if before:
        _remember(session, row, by, "doctor.change", before, {name: getattr(row, name) for name in before})
    return row


def picture(session: Session, doctor_id: uuid.UUID, photo: bytes | None, *, by: str) -> Doctor:
    """A JPEG or PNG of at most 300 kB; None takes it away. Raises `Invalid`, `NotFound`."""
    kind = ""
    if photo is not None:
        kind = next((name for start, name in _KINDS if photo.startswith(start)), "")
        if not kind:
            raise Invalid("hospital.photo_kind", N_("照片只能是 JPEG 或 PNG 格式。"))
        if len(photo) > LARGEST_PHOTO:
            raise Invalid("hospital.photo_large", N_("照片不能超过 300 KB，请缩小后再上传。"))
    row = _taken(session, doctor_id)
    before = row.photo_tag
    set_photo(row, photo, kind)
    if row.photo_tag != before:
        _remember(session, row, by, "doctor.photo", {"photo": before}, {"photo": row.photo_tag})
    return row


def set_photo(row: Doctor, photo: bytes | None, kind: str) -> None:
    """Without a check: also for the demonstration's own drawings (``image/svg+xml``), which nobody can upload."""
    row.photo, row.photo_type = photo, kind if photo is not None else ""
    row.photo_tag = "" if photo is None else hashlib.sha256(photo).hexdigest()[:16]


def photo_of(session: Session, doctor_id: uuid.UUID) -> Doctor | None:
    """The doctor with his picture read."""
    return session.scalar(select(Doctor).where(Doctor.id == doctor_id).options(undefer(Doctor.photo)))


def _taken(session: Session, doctor_id: uuid.UUID) -> Doctor:
    row = session.scalar(
        select(Doctor).where(Doctor.id == doctor_id).with_for_update().execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound("hospital.doctor", N_("没有这位医生。"))
    return row


def _check(session: Session, row: Doctor) -> None:
    if not row.name:
        raise Invalid("hospital.doctor_name", N_("请填写医生姓名。"))
    if row.title not in TITLES:
        raise Invalid("hospital.doctor_title", N_("没有这个职称。"))
    if session.get(Department, row.department_id) is None:
        raise NotFound("hospital.department", N_("没有这个科室。"))


def _remember(session: Session, row: Doctor, by: str, action: str, before: Any, after: Any) -> None:
    session.flush()
    record(session, actor=by, action=action, aggregate=("doctor", row.id), before=before, after=after)
