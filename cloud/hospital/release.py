"""When numbers are released (放号), and the settings that say so."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.hospital.model import ClinicSettings, Department, DepartmentRelease
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Invalid, NotFound
from cloud.web.i18n import mark as N_

FURTHEST_DAYS = 90


def settings_of(session: Session) -> ClinicSettings:
    """The hospital's; made with the usual values when nobody has set any."""
    found = session.get(ClinicSettings, 1)
    if found is None:
        session.execute(insert(ClinicSettings).values(id=1).on_conflict_do_nothing())
        found = session.get_one(ClinicSettings, 1)
    return found


def departments_own(session: Session) -> dict[uuid.UUID, DepartmentRelease]:
    """Departments with a rule of their own."""
    return {each.department_id: each for each in session.scalars(select(DepartmentRelease))}


def release_moment(session: Session, department_id: uuid.UUID, day: date) -> datetime:
    """When the numbers of that day can be booked first, by the department's rule or else the hospital's."""
    rule: DepartmentRelease | ClinicSettings = session.get(DepartmentRelease, department_id) or settings_of(session)
    return at_hospital(day - timedelta(days=rule.release_days), rule.release_time)


def at_hospital(day: date, of_day: time) -> datetime:
    """That time on the hospital's wall clock, as UTC."""
    return datetime.combine(day, of_day, clock.hospital_zone()).astimezone(UTC)


def usual_hours(usual: ClinicSettings, half: str) -> tuple[time, time]:
    """When that half-day begins and ends unless somebody says otherwise."""
    return getattr(usual, f"{half}_starts"), getattr(usual, f"{half}_ends")


def usual_fee(usual: ClinicSettings, title: str | None) -> int:
    """Fen by the doctor's title; None: the ordinary clinic."""
    fee: int = getattr(usual, f"fee_{title or 'general'}")
    return fee


def change_settings(session: Session, *, by: str, **changes: Any) -> ClinicSettings:
    """Set what is given; sessions that are published keep what they have. Raises `Invalid`."""
    row = settings_of(session)
    before = {name: getattr(row, name) for name in changes}
    for name, value in changes.items():
        setattr(row, name, value)
    _check_days(row.release_days)
    if not 1 <= row.horizon_days <= FURTHEST_DAYS:
        raise Invalid("hospital.horizon", N_("提前生成的天数应为 1 到 90 天。"))
    if row.horizon_days < row.release_days:
        raise Invalid("hospital.horizon_short", N_("提前生成的天数不能少于提前放号的天数，否则到时无号可放。"))
    for half in ("morning", "afternoon", "evening"):
        if getattr(row, f"{half}_starts") >= getattr(row, f"{half}_ends"):
            raise Invalid("hospital.half_times", N_("出诊的开始时间应早于结束时间。"))
    if any(getattr(row, f"fee_{each}") < 0 for each in ("chief", "associate", "attending", "resident", "general")):
        raise Invalid("hospital.fee", N_("挂号费不能是负数。"))
    after = {name: getattr(row, name) for name in changes}
    if after != before:
        session.flush()
        record(
            session,
            actor=by,
            action="clinic.settings",
            aggregate=("clinic_settings", 1),
            before=_words(before),
            after=_words(after),
        )
    return row


def set_department(
    session: Session, department_id: uuid.UUID, *, days: int | None, of_day: time | None, by: str
) -> None:
    """A department's own rule; `days` None takes it away again. Raises `NotFound`, `Invalid`."""
    if session.get(Department, department_id) is None:
        raise NotFound("hospital.department", N_("没有这个科室。"))
    row = session.get(DepartmentRelease, department_id)
    before = _rule_words(row)
    if days is None:
        if row is not None:
            session.delete(row)
        row = None
    else:
        _check_days(days)
        if days > settings_of(session).horizon_days:
            raise Invalid("hospital.horizon_short", N_("提前生成的天数不能少于提前放号的天数，否则到时无号可放。"))
        values = {"release_days": days, "release_time": of_day or settings_of(session).release_time}
        row = row or DepartmentRelease(department_id=department_id)
        for name, value in values.items():
            setattr(row, name, value)
        session.add(row)
    session.flush()
    if before != _rule_words(row):
        record(
            session,
            actor=by,
            action="department.release",
            aggregate=("department", department_id),
            before=before,
            after=_rule_words(row),
        )


def _check_days(days: int) -> None:
    if not 0 <= days <= FURTHEST_DAYS:
        raise Invalid("hospital.release_days", N_("提前放号的天数应为 0 到 90 天。"))


def _words(values: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:%H:%M}" if isinstance(value, time) else value for name, value in values.items()}


def _rule_words(row: DepartmentRelease | None) -> dict[str, Any] | None:
    return None if row is None else {"days": row.release_days, "time": f"{row.release_time:%H:%M}"}
