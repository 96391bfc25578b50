"""The hospital's decisions about patients' accounts: how many persons, how many accounts, how long to wait, how long a
consent lasts. Versioned, with who decided and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import audit
from cloud.kit.errors import Invalid
from cloud.patient.identity.model import PatientPolicy
from cloud.patient.identity.rules import CONSENT_TERMS, Limits
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Setting:
    """One decision: its name, its unit, what holds where nobody decided, and the span that can be meant."""

    name: str
    unit: str
    delivered: int
    least: int
    most: int


SETTINGS = {
    "persons": Setting(N_("一个账号最多绑定的患者（含本人）"), N_("位"), 5, 1, 20),
    "accounts": Setting(N_("一位患者最多在线绑定的本人账号"), N_("个"), 2, 1, 5),
    "cool_down_days": Setting(N_("解除绑定后多少天内不能在线再次绑定"), N_("天"), 30, 0, 365),
    "consent_days": Setting(N_("授权家人查看的最长期限（0 为允许长期，直到本人收回）"), N_("天"), 0, 0, 3650),
}


def value(session: Session, key: str) -> int:
    """What holds now."""
    found = session.scalar(
        select(PatientPolicy.value)
        .where(PatientPolicy.key == key)
        .order_by(PatientPolicy.valid_from.desc(), PatientPolicy.id.desc())
        .limit(1)
    )
    return SETTINGS[key].delivered if found is None else found


def values(session: Session) -> dict[str, int]:
    return {key: value(session, key) for key in SETTINGS}


def limits(session: Session) -> Limits:
    cool_down = timedelta(days=value(session, "cool_down_days"))
    return Limits(value(session, "persons"), value(session, "accounts"), cool_down)


def terms(session: Session) -> list[int | None]:
    """The terms a consent can have here, in days; None: until it is taken back."""
    longest = value(session, "consent_days")
    return [days for days in CONSENT_TERMS if not longest or (days is not None and days <= longest)] or [longest]


def set_value(session: Session, key: str, new: int, *, by: str, reason: str) -> PatientPolicy:
    """Decide, from now on. Raises `Invalid` (no such setting, out of its span, no reason)."""
    setting = SETTINGS.get(key)
    if setting is None or not setting.least <= new <= setting.most:
        raise Invalid("policy_value", N_("设置的数值不正确。"))
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    before = value(session, key)
    row = PatientPolicy(key=key, value=new, set_by=by, reason=reason.strip())
    session.add(row)
    session.flush()
    audit.record(
        session,
        actor=by,
        action="patient.policy",
        aggregate=("patient_policy", key),
        before={"value": before},
        after={"value": new},
        reason=reason.strip(),
    )
    return row


def decisions(session: Session, limit: int = 50) -> list[PatientPolicy]:
    """What was decided, newest first."""
    return list(session.scalars(select(PatientPolicy).order_by(PatientPolicy.id.desc()).limit(limit)))
