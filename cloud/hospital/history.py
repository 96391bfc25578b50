"""Who did what to a session, a doctor or a department, for its own page."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.audit import AuditEntry
from cloud.staff.model import StaffAccount
from cloud.web.i18n import mark as N_

ACTION_NAMES = {
    "session.publish": N_("公布"),
    "session.change": N_("变更"),
    "session.stop": N_("停诊"),
    "session.substitute": N_("替诊"),
    "session.closed": N_("停止预约"),
    "session.open": N_("恢复预约"),
    "doctor.add": N_("新增"),
    "doctor.change": N_("变更"),
    "doctor.photo": N_("更换照片"),
    "department.change": N_("变更"),
    "department.release": N_("放号时间"),
    "pattern.add": N_("新增"),
    "pattern.end": N_("停用"),
}


@dataclass(frozen=True, slots=True)
class Done:
    at: datetime
    who: str
    action: str
    reason: str
    fields: tuple[str, ...]


def of(session: Session, kind: str, aggregate_id: uuid.UUID, limit: int = 50) -> list[Done]:
    """Newest first."""
    rows = session.scalars(
        select(AuditEntry)
        .where(AuditEntry.kind == kind, AuditEntry.aggregate_id == str(aggregate_id))
        .order_by(AuditEntry.number.desc())
        .limit(limit)
    ).all()
    names = _names(session, {each.actor for each in rows})
    return [
        Done(
            each.at,
            names.get(each.actor, each.actor),
            ACTION_NAMES.get(each.action, each.action),
            each.reason or "",
            _fields(each.before, each.after),
        )
        for each in rows
    ]


def _fields(before: Any, after: Any) -> tuple[str, ...]:
    return tuple(after) if isinstance(before, Mapping) and isinstance(after, Mapping) else ()


def _names(session: Session, actors: set[str]) -> dict[str, str]:
    ids = {each: uuid.UUID(each.removeprefix("staff:")) for each in actors if each.startswith("staff:")}
    found = session.execute(select(StaffAccount.id, StaffAccount.name).where(StaffAccount.id.in_(ids.values())))
    by_id = {row.id: row.name for row in found}
    return {actor: by_id[key] for actor, key in ids.items() if key in by_id}
