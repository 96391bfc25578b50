"""Targets of turnaround, dated: a new row takes the place of an older one of the same scope, which stays."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Forbidden, Invalid, NotFound
from cloud.kit.live import announce
from cloud.lis.catalog.model import ApprovalState, Test
from cloud.lis.catalog.words import SECTIONS
from cloud.lis.orders.model import Priority
from cloud.lis.results.signatory import Signatory, actor
from cloud.lis.turnaround.model import TurnaroundTarget
from cloud.lis.turnaround.points import STARTS, Point
from cloud.web.i18n import mark as N_

SET = "turnaround.target"
TOPIC = "turnaround"
LONGEST_MINUTES = 60 * 24 * 60
"""Cultures of mycobacteria take eight weeks."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a target is for; `test_id` or `section` or neither."""

    priority: str
    test_id: uuid.UUID | None = None
    section: str = ""
    department_id: uuid.UUID | None = None


def in_force(session: Session, at: datetime | None = None) -> list[TurnaroundTarget]:
    """The newest row of each scope whose time has come, also those that say "no target"."""
    scope = (
        TurnaroundTarget.priority,
        TurnaroundTarget.section,
        TurnaroundTarget.test_id,
        TurnaroundTarget.department_id,
    )
    rows = session.scalars(
        select(TurnaroundTarget)
        .ext(distinct_on(*scope))
        .where(TurnaroundTarget.valid_from <= (at or clock.now()))
        .order_by(
            *scope, TurnaroundTarget.valid_from.desc(), TurnaroundTarget.created_at.desc(), TurnaroundTarget.id.desc()
        )
    )
    return list(rows)


def history(session: Session, limit: int = 100) -> Sequence[TurnaroundTarget]:
    """What was ever set, newest first."""
    return session.scalars(
        select(TurnaroundTarget).order_by(TurnaroundTarget.created_at.desc(), TurnaroundTarget.id.desc()).limit(limit)
    ).all()


def set_target(
    session: Session,
    scope: Scope,
    *,
    start: str,
    minutes: int | None,
    source: str,
    by: Signatory,
    valid_from: datetime | None = None,
) -> TurnaroundTarget:
    """From `valid_from` on (now, where empty; never in the past: what was judged stays judged).

    `minutes` None takes the target away. Raises Forbidden, NotFound, Invalid (no such scope, time or source).
    """
    if SET not in by.permissions:
        raise Forbidden("turnaround.target", N_("只有科室主任可以设置周转时间目标。"))
    now = clock.now()
    _check(session, scope, start, minutes, source, valid_from, now)
    row = TurnaroundTarget(
        test_id=scope.test_id,
        section=scope.section,
        department_id=scope.department_id,
        priority=scope.priority,
        start=start,
        minutes=minutes,
        source=source.strip(),
        state=ApprovalState.APPROVED,
        valid_from=valid_from or now,
        set_by=actor(by),
        set_by_name=by.name,
    )
    before = next((each for each in in_force(session, row.valid_from) if scope_of(each) == scope), None)
    session.add(row)
    session.flush()
    record(
        session,
        actor=actor(by),
        action="turnaround.target",
        aggregate=("turnaround_target", row.id),
        before=None if before is None else _words(before),
        after=_words(row),
        reason=row.source,
    )
    announce(session, TOPIC)
    return row


def scope_of(row: TurnaroundTarget) -> Scope:
    return Scope(row.priority, row.test_id, row.section, row.department_id)


def _words(row: TurnaroundTarget) -> dict[str, object]:
    return {
        "priority": row.priority,
        "test": None if row.test_id is None else str(row.test_id),
        "section": row.section,
        "department": None if row.department_id is None else str(row.department_id),
        "start": row.start,
        "minutes": row.minutes,
        "valid_from": row.valid_from.isoformat(),
    }


def _check(
    session: Session,
    scope: Scope,
    start: str,
    minutes: int | None,
    source: str,
    valid_from: datetime | None,
    now: datetime,
) -> None:
    if not source.strip():
        raise Invalid("turnaround.source", N_("请写明目标的依据（制度、标准或会议记录）。"))
    if minutes is not None and not 1 <= minutes <= LONGEST_MINUTES:
        raise Invalid("turnaround.minutes", N_("目标时间应在 1 分钟到 60 天之间。"))
    if start not in {str(each) for each in STARTS}:
        raise Invalid("turnaround.start", N_("目标从开单、采集或接收开始计时。"))
    if scope.priority not in {str(each) for each in Priority}:
        raise Invalid("turnaround.priority", N_("请选择急诊或常规。"))
    if scope.test_id is not None and scope.section:
        raise Invalid("turnaround.scope", N_("目标设给一个项目或一个专业组，不能同时设给两者。"))
    if scope.section and scope.section not in SECTIONS:
        raise Invalid("turnaround.section", N_("没有这个专业组。"))
    if scope.test_id is not None and session.get(Test, scope.test_id) is None:
        raise NotFound("turnaround.test", N_("没有这个项目。"))
    if scope.department_id is not None and session.get(Department, scope.department_id) is None:
        raise NotFound("turnaround.department", N_("没有这个科室。"))
    if valid_from is not None and valid_from < now:
        raise Invalid("turnaround.past", N_("生效时间不能早于现在：已经按原目标判定的标本不再改变。"))


def ensure_drafts(session: Session) -> int:
    """Drafts to begin with, where nothing was ever set; how many were laid down. Production ignores them."""
    if session.scalars(select(TurnaroundTarget.id).limit(1)).first() is not None:
        return 0
    now = clock.now()
    for section, priority, minutes in _DRAFTS:
        session.add(
            TurnaroundTarget(
                section=section,
                priority=priority,
                start=Point.RECEIVED,
                minutes=minutes,
                source=_SOURCE,
                state=ApprovalState.DRAFT,
                valid_from=now,
                set_by="system",
                set_by_name="",
            )
        )
    session.flush()
    return len(_DRAFTS)


_SOURCE = "一家公立医院公示的检验项目报告时限（gwmc.cn/home/con_info/3121），仅作初始草稿"
_DRAFTS = (
    ("hematology", Priority.STAT, 30),
    ("hematology", Priority.ROUTINE, 60),
    ("urine", Priority.STAT, 30),
    ("urine", Priority.ROUTINE, 60),
    ("coagulation", Priority.STAT, 60),
    ("coagulation", Priority.ROUTINE, 120),
    ("chemistry", Priority.STAT, 60),
    ("immunology", Priority.STAT, 120),
)
"""Minutes from receipt to the report. What that list gives as hours of the day (routine chemistry) has no row."""
