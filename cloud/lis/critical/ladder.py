"""The clocks of critical values: how long each step may take, and whom to send a message when nobody reads back."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Forbidden, Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.kit.live import announce
from cloud.lis.critical.model import CLOSED, CriticalCase, CriticalEscalation, CriticalLadder, CriticalPolicy
from cloud.lis.results.signatory import Signatory, actor
from cloud.notify import service as notify
from cloud.web.i18n import mark as N_

SET = "critical.policy"
MOST_STEPS = 8
LONGEST_MINUTES = 24 * 60
_TELEPHONE = re.compile(r"^\+?[0-9][0-9 -]{3,19}$")


@dataclass(frozen=True, slots=True)
class Step:
    """After so many minutes without a read-back, a message to this telephone."""

    after_minutes: int
    who: str
    telephone: str


@dataclass(frozen=True, slots=True)
class Limits:
    """In minutes; None: not watched."""

    confirm: int | None = None
    tell: int | None = None
    source: str = ""


def limits(session: Session, at: datetime | None = None) -> Limits:
    row = session.scalars(
        select(CriticalPolicy)
        .where(CriticalPolicy.valid_from <= (at or clock.now()))
        .order_by(CriticalPolicy.valid_from.desc(), CriticalPolicy.id.desc())
        .limit(1)
    ).first()
    return Limits() if row is None else Limits(row.confirm_minutes, row.tell_minutes, row.source)


def set_limits(session: Session, *, confirm: int | None, tell: int | None, source: str, by: Signatory) -> None:
    """From now on. Raises Forbidden, Invalid (minutes, no source)."""
    _authorise(by)
    if not source.strip():
        raise Invalid("critical.policy_source", N_("请写明时限的依据。"))
    for each in (confirm, tell):
        if each is not None and not 1 <= each <= LONGEST_MINUTES:
            raise Invalid("critical.policy_minutes", N_("时限应在 1 到 1440 分钟之间。"))
    row = CriticalPolicy(
        confirm_minutes=confirm,
        tell_minutes=tell,
        source=source.strip(),
        valid_from=clock.now(),
        set_by=actor(by),
        set_by_name=by.name,
    )
    session.add(row)
    session.flush()
    record(
        session,
        actor=actor(by),
        action="critical.limits",
        aggregate=("critical_policy", row.id),
        after={"confirm": confirm, "tell": tell},
        reason=row.source,
    )


def ladders(session: Session) -> dict[uuid.UUID | None, CriticalLadder]:
    """The newest of each department; under None that of all others."""
    rows = session.scalars(
        select(CriticalLadder)
        .ext(distinct_on(CriticalLadder.department_id))
        .order_by(CriticalLadder.department_id, CriticalLadder.valid_from.desc(), CriticalLadder.id.desc())
    )
    return {each.department_id: each for each in rows}


def steps_of(known: dict[uuid.UUID | None, CriticalLadder], department_id: uuid.UUID) -> list[Step]:
    """A department's own ladder; where it has none (or an empty one), that of all."""
    own = known.get(department_id)
    row = own if own is not None and own.steps else known.get(None)
    return [] if row is None else [Step(**each) for each in row.steps]


def set_ladder(
    session: Session, department_id: uuid.UUID | None, steps: Sequence[Step], *, reason: str, by: Signatory
) -> CriticalLadder:
    """From now on; no steps: the department has the ladder of all again."""
    _authorise(by)
    if not reason.strip():
        raise Invalid("critical.ladder_reason", N_("请填写更改的原因。"))
    if department_id is not None and session.get(Department, department_id) is None:
        raise NotFound("critical.department", N_("没有这个科室。"))
    if len(steps) > MOST_STEPS:
        raise Invalid("critical.ladder_long", N_("上报阶梯最多 8 级。"))
    before = 0
    for each in steps:
        if not before < each.after_minutes <= LONGEST_MINUTES:
            raise Invalid("critical.ladder_order", N_("各级时间应递增，在 1 到 1440 分钟之间。"))
        if not each.who.strip() or _TELEPHONE.match(each.telephone.strip()) is None:
            raise Invalid("critical.ladder_who", N_("每一级都要有姓名或岗位，和能收短信的电话。"))
        before = each.after_minutes
    row = CriticalLadder(
        department_id=department_id,
        steps=[
            {"after_minutes": each.after_minutes, "who": each.who.strip(), "telephone": each.telephone.strip()}
            for each in steps
        ],
        reason=reason.strip(),
        valid_from=clock.now(),
        set_by=actor(by),
        set_by_name=by.name,
    )
    session.add(row)
    session.flush()
    record(
        session,
        actor=actor(by),
        action="critical.ladder",
        aggregate=("critical_ladder", row.id),
        after={"steps": [[each.after_minutes, each.who.strip()] for each in steps]},
        reason=row.reason,
    )
    return row


def escalate(session: Session, now: datetime | None = None) -> int:
    """Take every step that is due for open cases, each once; how many were taken."""
    moment = now or clock.now()
    known = ladders(session)
    rows = session.execute(
        select(CriticalCase, Department)
        .join(Department, Department.id == CriticalCase.department_id)
        .where(CriticalCase.state.not_in(CLOSED))
    ).all()
    taken = 0
    for case, department in rows:
        waits = moment - begins(case)
        for position, step in enumerate(steps_of(known, case.department_id)):
            if waits >= timedelta(minutes=step.after_minutes):
                taken += _take(session, case, department, position, step, waits, moment)
    if taken:
        announce(session, "critical")
    return taken


def begins(case: CriticalCase) -> datetime:
    """When the clock for telling the ward begins: the confirmation; of a late value its arrival."""
    return case.confirmed_at or case.detected_at


def _take(
    session: Session,
    case: CriticalCase,
    department: Department,
    position: int,
    step: Step,
    waits: timedelta,
    now: datetime,
) -> bool:
    values: dict[str, Any] = {
        "id": new_id(),
        "case_id": case.id,
        "position": position,
        "at": now,
        "who": step.who,
        "telephone": masked(step.telephone),
    }
    made = session.execute(
        insert(CriticalEscalation).values(**values).on_conflict_do_nothing().returning(CriticalEscalation.id)
    ).scalar()
    if made is None:
        return False
    if notify.available(notify.SMS):
        delivery = notify.send(
            session,
            recipient=notify.Recipient(notify.SMS, step.telephone, masked(step.telephone)),
            template="critical_waits",
            parameters={
                "hospital": settings().hospital_name,
                "department": department.name,
                "minutes": str(int(waits.total_seconds() // 60)),
            },
            dedupe_key=f"critical:{case.id}:{position}",
        )
        session.get_one(CriticalEscalation, made).delivery_id = delivery.id
    record(
        session,
        actor="system",
        action="critical.escalated",
        aggregate=("critical", case.id),
        after={"position": position, "who": step.who},
    )
    return True


def masked(telephone: str) -> str:
    """``138****0000``: enough to know whose it is."""
    digits = re.sub(r"[ -]", "", telephone)
    return digits if len(digits) < 8 else f"{digits[:3]}****{digits[-4:]}"


def _authorise(by: Signatory) -> None:
    if SET not in by.permissions:
        raise Forbidden("critical.policy", N_("只有科室主任可以设置危急值时限和上报阶梯。"))
