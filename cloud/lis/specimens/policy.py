"""The director's decisions about specimens: how long an order may be drawn, when a batch is late, and such.

Numbers of the laboratory's own, not of medicine. Nothing is set at delivery: what is not set is not checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import audit
from cloud.kit.errors import Invalid
from cloud.lis.orders import oral
from cloud.lis.specimens.model import SpecimenPolicy
from cloud.lis.specimens.record import needs_reason
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Setting:
    """One decision: its name, its unit, and the largest value that can be meant."""

    name: str
    unit: str
    most: int


SETTINGS = {
    "order_days": Setting(N_("申请有效期（超过后不能采集）"), N_("天"), 3650),
    "timed_minutes": Setting(N_("定时采集允许偏差"), N_("分钟"), 1440),
    "batch_late_minutes": Setting(N_("交接批次超时（送出到接收）"), N_("分钟"), 10080),
    "oral_confirm_hours": Setting(N_("口头医嘱补签期限"), N_("小时"), 720),
    "keep_days": Setting(N_("标本保存天数（未按架设置时）"), N_("天"), 3650),
    "discard_two_persons": Setting(N_("丢弃须双人核对（1 是，0 否）"), "", 1),
}


def value(session: Session, key: str) -> int | None:
    """The newest decision; None where there is none (or it was taken back)."""
    found = select(SpecimenPolicy.value).where(SpecimenPolicy.key == key)
    return session.scalars(found.order_by(SpecimenPolicy.valid_from.desc(), SpecimenPolicy.id.desc()).limit(1)).first()


def _oral_limit(session: Session) -> timedelta | None:
    hours = value(session, "oral_confirm_hours")
    return None if hours is None else timedelta(hours=hours)


oral.confirm_within.append(_oral_limit)


def values(session: Session) -> dict[str, int | None]:
    """Every setting with its newest decision."""
    return {key: value(session, key) for key in SETTINGS}


def set_value(session: Session, key: str, new: int | None, *, by: str, reason: str) -> SpecimenPolicy:
    """Decide, from now on; earlier decisions stay."""
    setting = SETTINGS.get(key)
    if setting is None or (new is not None and not 0 <= new <= setting.most):
        raise Invalid("policy_value", N_("设置的数值不正确。"))
    because = needs_reason(reason)
    before = value(session, key)
    row = SpecimenPolicy(key=key, value=new, set_by=by, reason=because)
    session.add(row)
    session.flush()
    audit.record(
        session,
        actor=by,
        action="specimen.policy",
        aggregate=("specimen_policy", key),
        before={"value": before},
        after={"value": new},
        reason=because,
    )
    return row
