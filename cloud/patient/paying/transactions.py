"""Everything an account ever paid, and how far each refund has come: from the payments alone."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.db import among
from cloud.patient.paying import purposes
from cloud.patient.paying.rules import Step, Word, track, word_of
from cloud.payments.model import IN_FLIGHT, UNSETTLED, Payment, PaymentState, Refund, RefundState
from cloud.web.i18n import mark as N_

SHOWN = 20

CHANNELS = {"wechat": N_("微信支付"), "alipay": N_("支付宝"), "cash": N_("现金")}

FILTERS = {"": N_("全部"), "refunds": N_("退款"), "unpaid": N_("未支付")}
"""Without one: what was paid or can be paid. Tries that were given up would bury it, and have a list of their own."""


@dataclass(frozen=True, slots=True)
class Line:
    """One payment in the list; amounts in fen."""

    payment: Payment
    title: str
    about: str
    word: Word
    refunded_fen: int
    refunding_fen: int


@dataclass(frozen=True, slots=True)
class RefundShown:
    refund: Refund
    track: list[Step]


def listed(
    session: Session, account_id: uuid.UUID, *, only: str = "", before: uuid.UUID | None = None, limit: int = SHOWN
) -> list[Line]:
    """The account's payments, newest first; `before`: older than this one."""
    wanted = select(Payment).where(Payment.payer_key == str(account_id))
    if only == "refunds":
        wanted = wanted.where(exists().where(Refund.payment_id == Payment.id, Refund.state != RefundState.DROPPED))
    elif only == "unpaid":
        wanted = wanted.where(Payment.state == PaymentState.CLOSED)
    else:
        wanted = wanted.where(Payment.state != PaymentState.CLOSED)
    if before is not None:
        moment = select(Payment.created_at).where(Payment.id == before, Payment.payer_key == str(account_id))
        wanted = wanted.where(
            or_(
                Payment.created_at < moment.scalar_subquery(),
                (Payment.created_at == moment.scalar_subquery()) & (Payment.id < before),
            )
        )
    rows = session.scalars(wanted.order_by(Payment.created_at.desc(), Payment.id.desc()).limit(limit)).all()
    return _lines(session, rows)


def _lines(session: Session, rows: Sequence[Payment]) -> list[Line]:
    refunds: dict[uuid.UUID, list[Refund]] = {}
    for each in session.scalars(select(Refund).where(among(Refund.payment_id, [row.id for row in rows]))):
        refunds.setdefault(each.payment_id, []).append(each)
    now = clock.now()
    lines = []
    for row in rows:
        purpose, own = purposes.of(row.purpose), refunds.get(row.id, [])
        lines.append(
            Line(
                payment=row,
                title=purpose.title,
                about=purpose.about(session, row.subject_id) if purpose.about else "",
                word=word_of(row, own, now),
                refunded_fen=_sum(own, (RefundState.DONE,)),
                refunding_fen=_sum(own, (*IN_FLIGHT, RefundState.STUCK)),
            )
        )
    return lines


def _sum(refunds: Sequence[Refund], states: Sequence[str]) -> int:
    return sum(each.fen for each in refunds if each.state in states)


def refunds_of(session: Session, payment_id: uuid.UUID) -> list[RefundShown]:
    """The refunds of a payment that the caller was shown, the newest first, each with its track."""
    rows = session.scalars(select(Refund).where(Refund.payment_id == payment_id).order_by(Refund.created_at.desc()))
    return [RefundShown(each, track(each)) for each in rows]


def line_of(session: Session, payment: Payment) -> Line:
    """The one line of a payment that the caller was shown."""
    return _lines(session, [payment])[0]


# ---------------------------------------------------------------------- for the home page and the day


def refunds_under_way(session: Session, account_id: uuid.UUID) -> list[tuple[Payment, Refund]]:
    """Money on its way back, and what a window has to pay out; the oldest first."""
    rows = session.execute(
        select(Payment, Refund)
        .join(Refund, Refund.payment_id == Payment.id)
        .where(
            Payment.payer_key == str(account_id),
            Refund.state.in_((*IN_FLIGHT, RefundState.STUCK)),
        )
        .order_by(Refund.created_at)
        .limit(SHOWN)
    )
    return [(payment, refund) for payment, refund in rows]


def unfinished(session: Session, account_id: uuid.UUID) -> list[Line]:
    """Payments that were begun and can still be paid, or whose outcome is being asked."""
    rows = session.scalars(
        select(Payment)
        .where(Payment.payer_key == str(account_id), Payment.state.in_(UNSETTLED))
        .order_by(Payment.created_at.desc())
        .limit(SHOWN)
    ).all()
    return _lines(session, rows)
