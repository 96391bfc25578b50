"""The hospital's decisions about bills: how long the phone may refund, how long a bill is held for who pays, and what
the laboratory does with a specimen whose bill is not paid. Versioned, with who decided and why.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.billing.model import BillingPolicy
from cloud.kit import audit
from cloud.kit.errors import Invalid
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Setting:
    """One decision: its name, its unit, what holds where nobody decided (None: not at all), and the span that can be
    meant."""

    name: str
    unit: str
    delivered: int | None
    least: int
    most: int


SETTINGS = {
    "refund_days": Setting(N_("手机退费期限（0 为仅限缴费当日，空为不开放手机退费）"), N_("天"), 0, 0, 180),
    "hold_minutes": Setting(N_("手机缴费时账单保留时间"), N_("分钟"), 15, 7, 120),
    "refuse_unpaid_specimens": Setting(N_("拒收未缴费的标本（1 是，0 照常接收并标记欠费）"), "", 0, 0, 1),
}
"""WeChat lets a payment be closed five minutes after it was made: a bill can't be held for less than seven."""


def value(session: Session, key: str) -> int | None:
    """What holds now."""
    found = session.execute(
        select(BillingPolicy.value)
        .where(BillingPolicy.key == key)
        .order_by(BillingPolicy.valid_from.desc(), BillingPolicy.id.desc())
        .limit(1)
    ).first()
    return SETTINGS[key].delivered if found is None else found.value


def values(session: Session) -> dict[str, int | None]:
    return {key: value(session, key) for key in SETTINGS}


def hold_minutes(session: Session) -> int:
    return value(session, "hold_minutes") or SETTINGS["hold_minutes"].least


def set_value(session: Session, key: str, new: int | None, *, by: str, reason: str) -> BillingPolicy:
    """Decide, from now on. Raises `Invalid` (no such setting, out of its span, no reason)."""
    setting = SETTINGS.get(key)
    empty = key != "refund_days" and new is None
    if setting is None or empty or (new is not None and not setting.least <= new <= setting.most):
        raise Invalid("policy_value", N_("设置的数值不正确。"))
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    before = value(session, key)
    row = BillingPolicy(key=key, value=new, set_by=by, reason=reason.strip())
    session.add(row)
    session.flush()
    audit.record(
        session,
        actor=by,
        action="billing.policy",
        aggregate=("billing_policy", key),
        before={"value": before},
        after={"value": new},
        reason=reason.strip(),
    )
    return row


def decisions(session: Session, limit: int = 50) -> list[BillingPolicy]:
    """What was decided, newest first."""
    return list(session.scalars(select(BillingPolicy).order_by(BillingPolicy.id.desc()).limit(limit)))
