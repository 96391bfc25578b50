"""The weekly timetable: who sits when. Sessions are published from it; those that are published stay as they are."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from datetime import date, time
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from cloud.hospital.model import Department, Doctor, SessionPattern
from cloud.hospital.schedule_model import HALVES, KINDS, MOST_NUMBERS, WEEKS
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternWish:
    """A line of the timetable as it is typed."""

    department_id: uuid.UUID
    doctor_id: uuid.UUID | None
    weekday: int
    half: str
    starts: time
    ends: time
    kind: str
    fee_fen: int
    capacity: int
    segment_minutes: int
    valid_from: date
    valid_to: date | None = None
    weeks: str = "every"
    place: str = ""


def add_pattern(session: Session, wish: PatternWish, *, by: str) -> SessionPattern:
    """Raises `Invalid`, `NotFound`, `Conflict` (the doctor sits elsewhere at that time of the week)."""
    _check(wish)
    if session.get(Department, wish.department_id) is None:
        raise NotFound("hospital.department", N_("没有这个科室。"))
    if wish.doctor_id is not None:
        _seat(session, wish)
    row = SessionPattern(**asdict(wish))
    session.add(row)
    session.flush()
    record(session, actor=by, action="pattern.add", aggregate=("session_pattern", row.id), after=_words(asdict(wish)))
    return row


def end_pattern(session: Session, pattern_id: uuid.UUID, *, last_day: date, by: str, reason: str) -> SessionPattern:
    """It holds for the last time on `last_day` (before its first day: never again). Raises `Invalid`, `NotFound`."""
    if not reason.strip():
        raise Invalid("hospital.pattern_reason", N_("请写明停用的原因。"))
    row = session.get(SessionPattern, pattern_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("hospital.pattern", N_("没有这条排班。"))
    before, row.valid_to = row.valid_to, last_day
    session.flush()
    record(
        session,
        actor=by,
        action="pattern.end",
        aggregate=("session_pattern", row.id),
        before={"valid_to": before},
        after={"valid_to": last_day},
        reason=reason.strip(),
    )
    return row


def patterns_on(
    session: Session, day_from: date, day_to: date, *, department_id: uuid.UUID | None = None
) -> list[SessionPattern]:
    """Those that hold on some of these days."""
    statement = (
        select(SessionPattern)
        .options(joinedload(SessionPattern.department), joinedload(SessionPattern.doctor))
        .where(
            SessionPattern.valid_from <= day_to,
            or_(SessionPattern.valid_to.is_(None), SessionPattern.valid_to >= day_from),
        )
        .order_by(SessionPattern.weekday, SessionPattern.starts, SessionPattern.id)
    )
    if department_id is not None:
        statement = statement.where(SessionPattern.department_id == department_id)
    return list(session.scalars(statement))


def holds(row: SessionPattern, day: date) -> bool:
    """Whether the line's dates and weeks take in that day; the weekday is asked apart (a day may work as another)."""
    if day < row.valid_from or (row.valid_to is not None and day > row.valid_to):
        return False
    odd = day.isocalendar().week % 2 == 1
    return row.weeks == "every" or (row.weeks == "odd") == odd


def _check(wish: PatternWish) -> None:
    if wish.starts >= wish.ends:
        raise Invalid("hospital.half_times", N_("出诊的开始时间应早于结束时间。"))
    if wish.half not in HALVES or wish.kind not in KINDS:
        raise Invalid("hospital.unknown_half", N_("没有这个午别或号别。"))
    if not 1 <= wish.weekday <= 7 or wish.weeks not in WEEKS:
        raise Invalid("hospital.weekday", N_("没有这个星期。"))
    if wish.kind == "expert" and wish.doctor_id is None:
        raise Invalid("hospital.expert_unnamed", N_("专家号必须指定医生。"))
    if not 1 <= wish.capacity <= MOST_NUMBERS:
        raise Invalid("hospital.capacity", N_("号数应为 0 到 500。"))
    if not 5 <= wish.segment_minutes <= 480:
        raise Invalid("hospital.segment", N_("每个时段应为 5 到 480 分钟。"))
    if wish.fee_fen < 0:
        raise Invalid("hospital.fee", N_("挂号费不能是负数。"))
    if wish.valid_to is not None and wish.valid_to < wish.valid_from:
        raise Invalid("hospital.pattern_dates", N_("停用日期不能早于启用日期。"))


def _seat(session: Session, wish: PatternWish) -> None:
    doctor = session.scalar(select(Doctor).where(Doctor.id == wish.doctor_id).with_for_update())
    if doctor is None:
        raise NotFound("hospital.doctor", N_("没有这位医生。"))
    if not doctor.active:
        raise Conflict("hospital.doctor_inactive", N_("{doctor}已不出诊。"), doctor=doctor.name)
    lines = session.scalars(
        select(SessionPattern)
        .options(joinedload(SessionPattern.department))
        .where(
            SessionPattern.doctor_id == doctor.id,
            SessionPattern.weekday == wish.weekday,
            SessionPattern.starts < wish.ends,
            SessionPattern.ends > wish.starts,
            SessionPattern.valid_from <= (wish.valid_to or date.max),
            or_(SessionPattern.valid_to.is_(None), SessionPattern.valid_to >= wish.valid_from),
        )
    )
    met = next((each for each in lines if "every" in (each.weeks, wish.weeks) or each.weeks == wish.weeks), None)
    if met is not None:
        raise Conflict(
            "hospital.pattern_met",
            N_("{doctor}每周这时已在{department}出诊。"),
            doctor=doctor.name,
            department=met.department.name,
        )


def _words(values: dict[str, Any]) -> dict[str, Any]:
    return {name: f"{value:%H:%M}" if isinstance(value, time) else value for name, value in values.items()}
