"""Who did what to a session, a doctor or a department, for its own page."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital import words
from cloud.kit import clock, money
from cloud.kit.audit import AuditEntry
from cloud.staff.model import StaffAccount
from cloud.web.i18n import gettext as _
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


FIELD_NAMES = {
    "starts_at": N_("出诊开始"),
    "ends_at": N_("出诊结束"),
    "kind": N_("号别"),
    "fee_fen": N_("挂号费（元）"),
    "capacity": N_("号数"),
    "segment_minutes": N_("时段（分钟）"),
    "release_at": N_("放号时间"),
    "place": N_("位置"),
    "name": N_("名称"),
    "title": N_("职称"),
    "skills": N_("擅长"),
    "introduction": N_("介绍"),
    "active": N_("出诊"),
    "section": N_("分类"),
    "floor": N_("楼层"),
    "bookable": N_("开放预约挂号"),
}
_YES_NO = {True: N_("是"), False: N_("否")}
WORDS: dict[str, Mapping[Any, str]] = {
    "kind": {**words.KIND_NAMES, **words.DEPARTMENT_KIND_NAMES},
    "title": words.TITLE_NAMES,
    "active": _YES_NO,
    "bookable": _YES_NO,
}


@dataclass(frozen=True, slots=True)
class Done:
    at: datetime
    who: str
    action: str
    reason: str
    changes: tuple[tuple[str, str, str], ...]
    """(what, before, after) in words."""


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
            _changes(each.before, each.after),
        )
        for each in rows
    ]


def _changes(before: Any, after: Any) -> tuple[tuple[str, str, str], ...]:
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return ()
    return tuple((FIELD_NAMES[name], _word(name, before.get(name)), _word(name, after[name])) for name in after
                 if name in FIELD_NAMES)  # fmt: skip


def _word(name: str, value: Any) -> str:
    if name.endswith("_at") and isinstance(value, str):
        return f"{clock.local(datetime.fromisoformat(value)):%Y-%m-%d %H:%M}"
    if name == "fee_fen" and isinstance(value, int):
        return money.yuan(value)
    if name in WORDS and value in WORDS[name]:
        return _(WORDS[name][value])
    text = "" if value is None else str(value)
    return text if len(text) <= 24 else text[:24] + "…"


def _names(session: Session, actors: set[str]) -> dict[str, str]:
    ids = {each: uuid.UUID(each.removeprefix("staff:")) for each in actors if each.startswith("staff:")}
    found = session.execute(select(StaffAccount.id, StaffAccount.name).where(StaffAccount.id.in_(ids.values())))
    by_id = {row.id: row.name for row in found}
    return {actor: by_id[key] for actor, key in ids.items() if key in by_id}
