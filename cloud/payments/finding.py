"""Finding payments for the staff's pages: by any number that stands on a phone, a bank's or a paper, or by a filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.payments.drawers_model import Receipt
from cloud.payments.model import ChannelNotice, LedgerEntry, Payment, PaymentCase, Refund, RefundState

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; empty fields ask for everything."""

    text: str = ""
    day: date | None = None
    channel: str = ""
    state: str = ""
    """A payment's state, or ``late``, ``refunding``, ``stuck``."""


def payments(session: Session, wanted: Wanted, *, page: int = 1) -> tuple[list[Payment], int]:
    """One page, the newest first, and how many there are."""
    conditions = _conditions(wanted)
    total = session.scalar(select(func.count()).select_from(Payment).where(*conditions)) or 0
    rows = session.scalars(
        select(Payment)
        .where(*conditions)
        .order_by(Payment.created_at.desc(), Payment.id.desc())
        .offset((page - 1) * PAGE_SIZE)
        .limit(PAGE_SIZE)
    )
    return list(rows), total


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    text = wanted.text.strip()
    if text:
        by_refund = select(Refund.payment_id).where(or_(Refund.number == text, Refund.channel_number == text))
        by_receipt = select(Receipt.payment_id).where(Receipt.number == text)
        conditions.append(
            or_(
                Payment.number == text,
                Payment.transaction_id == text,
                Payment.id.in_(by_refund),
                Payment.id.in_(by_receipt),
            )
        )
    if wanted.day is not None:
        conditions += [
            Payment.created_at >= clock.day_begins(wanted.day),
            Payment.created_at < clock.day_begins(wanted.day + timedelta(days=1)),
        ]
    if wanted.channel:
        conditions.append(Payment.channel == wanted.channel)
    if wanted.state == "late":
        conditions.append(Payment.late.is_(True))
    elif wanted.state in ("refunding", "stuck"):
        moving = (RefundState.WAITING, RefundState.ASKED, RefundState.PROCESSING)
        states = (RefundState.STUCK,) if wanted.state == "stuck" else moving
        conditions.append(Payment.id.in_(select(Refund.payment_id).where(Refund.state.in_(states))))
    elif wanted.state:
        conditions.append(Payment.state == wanted.state)
    return conditions


@dataclass(frozen=True, slots=True)
class Told:
    """Everything our books have about one payment, each oldest first."""

    payment: Payment
    refunds: Sequence[Refund]
    entries: Sequence[LedgerEntry]
    notices: Sequence[ChannelNotice]
    cases: Sequence[PaymentCase]
    receipts: Sequence[Receipt]


def told(session: Session, payment: Payment) -> Told:
    def of(model: type[Refund] | type[PaymentCase]) -> Sequence[object]:
        return session.scalars(
            select(model).where(model.payment_id == payment.id).order_by(model.created_at, model.id)
        ).all()

    entries = session.scalars(
        select(LedgerEntry).where(LedgerEntry.payment_id == payment.id).order_by(LedgerEntry.at, LedgerEntry.id)
    ).all()
    notices = session.scalars(
        select(ChannelNotice)
        .where(ChannelNotice.channel == payment.channel, ChannelNotice.number == payment.number)
        .order_by(ChannelNotice.received_at)
    ).all()
    receipts = session.scalars(
        select(Receipt).where(Receipt.payment_id == payment.id).order_by(Receipt.printed_at, Receipt.number)
    ).all()
    return Told(payment, of(Refund), entries, notices, of(PaymentCase), receipts)  # type: ignore[arg-type]


def open_cases(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(PaymentCase).where(PaymentCase.closed_at.is_(None))) or 0


def cases(session: Session, *, closed: bool, page: int = 1) -> list[tuple[PaymentCase, Payment | None, Refund | None]]:
    """Cases with the payment and the refund that they are about: open ones the oldest first, closed the newest."""
    wanted = (
        select(PaymentCase, Payment, Refund)
        .outerjoin(Payment, Payment.id == PaymentCase.payment_id)
        .outerjoin(Refund, Refund.number == PaymentCase.facts["refund"].astext)
        .where(PaymentCase.closed_at.is_not(None) if closed else PaymentCase.closed_at.is_(None))
        .order_by(PaymentCase.closed_at.desc() if closed else PaymentCase.created_at, PaymentCase.id)
        .offset((page - 1) * PAGE_SIZE)
        .limit(PAGE_SIZE)
    )
    return [(case, payment, refund) for case, payment, refund in session.execute(wanted)]
