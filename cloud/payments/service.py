"""A payment's life: opened, settled once, or closed. Everything here runs in the caller's transaction and calls nobody;
what speaks to a channel is in `asking` and `refunds`."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from sqlalchemy import Sequence, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.payments import drawers
from cloud.payments.contract import Evidence
from cloud.payments.events import PaymentClosed, PaymentSettled
from cloud.payments.model import UNSETTLED, LedgerEntry, Payment, PaymentCase, PaymentState
from cloud.payments.rules import CLOSING_AFTER, forward, mismatch
from cloud.web.i18n import mark as N_

log = structlog.get_logger()

NUMBERS = Sequence("payment_number_seq")
CASH = "cash"
"""The channel of what windows take and pay out; it has no driver."""
LARGEST_FEN = 100_000_00
"""One payment; a hundred thousand yuan."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be paid. `key`: the submit's own, so that a second tap is the same payment. `hold_until`: what is paid
    for is kept so long; the channel stops taking money a minute earlier."""

    purpose: str
    subject_id: uuid.UUID
    fen: int
    channel: str
    app_id: str
    merchant_id: str
    payer: str
    payer_key: str
    key: str
    hold_until: datetime


def open_payment(session: Session, wish: Wish) -> Payment:
    """Store what is to be paid, before any channel hears of it.

    The same key gives the same payment; so does the same subject by the same payer while its payment can still be paid.
    Raises `Invalid` (amount), `Conflict` (somebody else is paying; the key was used for something else).
    """
    if not 0 < wish.fen <= LARGEST_FEN:
        raise Invalid("payment.amount", N_("金额应大于 0，且不超过 10 万元。"))
    known = session.scalar(select(Payment).where(Payment.idempotency_key == wish.key))
    if known is not None:
        return _same(known, wish)
    under_way = session.scalar(
        select(Payment).where(
            Payment.purpose == wish.purpose, Payment.subject_id == wish.subject_id, Payment.state.in_(UNSETTLED)
        )
    )
    if under_way is not None:
        return _shared(under_way, wish)
    now = clock.now()
    row = Payment(
        number=_number(session, now),
        channel=wish.channel,
        app_id=wish.app_id,
        merchant_id=wish.merchant_id,
        payer=wish.payer,
        payer_key=wish.payer_key,
        purpose=wish.purpose,
        subject_id=wish.subject_id,
        idempotency_key=wish.key,
        fen=wish.fen,
        until=wish.hold_until - CLOSING_AFTER,
        expires_at=wish.hold_until,
        ask_at=min(now + timedelta(seconds=60), wish.hold_until),
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise Conflict("payment.under_way", N_("这笔费用正在支付，请稍后查看结果。")) from None
    return row


def _number(session: Session, now: datetime) -> str:
    """Ours at the channel: the hospital's day and a number of the database, 19 characters (WeChat takes 6 to 32)."""
    drawn = session.scalar(select(NUMBERS.next_value()))
    return f"P{clock.local(now):%Y%m%d}{drawn:010d}"


def _same(known: Payment, wish: Wish) -> Payment:
    if (known.purpose, known.subject_id, known.fen, known.channel, known.payer) != (
        wish.purpose,
        wish.subject_id,
        wish.fen,
        wish.channel,
        wish.payer,
    ):
        raise Conflict("payment.key_used", N_("本次提交与之前的内容不一致，请返回后重新提交。"))
    return known


def _shared(under_way: Payment, wish: Wish) -> Payment:
    """The payment that is under way for the same thing, if this payer can go on with it."""
    usable = (
        under_way.state in (PaymentState.OPEN, PaymentState.PREPARED)
        and (under_way.channel, under_way.payer, under_way.fen) == (wish.channel, wish.payer, wish.fen)
        and under_way.until > clock.now()
    )
    if not usable:
        raise Conflict("payment.under_way", N_("这笔费用正在支付，请稍后查看结果。"))
    return under_way


# ---------------------------------------------------------------------- settling


class Settled(StrEnum):
    NOW = "settled"
    BEFORE = "known"
    CASE = "case"
    NO_PAYMENT = "no_payment"


def settle(session: Session, channel: str, evidence: Evidence, *, by: str, cashier: str | None = None) -> Settled:
    """The one way by which a payment becomes paid, whoever brought the evidence and however often.

    `cashier`: for cash alone, the actor in whose drawer it lies; their word is the evidence.

    Money is recorded before anybody asks whether what it was for is still there: a late payment is paid and `late`.
    Evidence that differs from the payment in any field settles nothing and opens a case.
    """
    payment = session.scalar(
        select(Payment)
        .where(Payment.channel == channel, Payment.number == evidence.number)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if payment is None:
        open_case(
            session,
            "no_payment",
            f"{channel}:{evidence.number}:{evidence.transaction_id}",
            channel,
            None,
            number=evidence.number,
            fen=evidence.fen,
            transaction_id=evidence.transaction_id,
        )
        return Settled.NO_PAYMENT
    wrong = mismatch(payment, evidence)
    if wrong is None and payment.state == PaymentState.PAID and payment.transaction_id != evidence.transaction_id:
        wrong = "paid_twice"
    if wrong is not None:
        open_case(
            session,
            wrong,
            f"{payment.number}:{wrong}:{evidence.transaction_id}",
            channel,
            payment.id,
            number=payment.number,
            fen=evidence.fen,
            expected_fen=payment.fen,
            transaction_id=evidence.transaction_id,
            by=by,
        )
        return Settled.CASE
    if payment.state == PaymentState.PAID:
        return Settled.BEFORE
    _paid(session, payment, evidence, by, cashier)
    return Settled.NOW


def _paid(session: Session, payment: Payment, evidence: Evidence, by: str, cashier: str | None) -> None:
    assert forward(payment.state, PaymentState.PAID)
    payment.late = payment.state == PaymentState.CLOSED
    payment.state = PaymentState.PAID
    payment.transaction_id = evidence.transaction_id
    payment.paid_fen, payment.paid_at = evidence.fen, evidence.paid_at
    payment.settled_at, payment.settled_by = clock.now(), by
    payment.ask_at = payment.phone = payment.error = None
    session.add(
        LedgerEntry(
            at=evidence.paid_at,
            channel=payment.channel,
            payment_id=payment.id,
            shift_id=drawers.current(session, cashier) if cashier else None,
            fen=evidence.fen,
        )
    )
    record(
        session,
        actor=cashier or f"channel:{payment.channel}",
        action="payment.settle",
        aggregate=("payment", payment.id),
        after={"fen": evidence.fen, "by": by, "late": payment.late, "transaction": evidence.transaction_id},
    )
    publish(
        session,
        PaymentSettled(
            aggregate_id=payment.id,
            purpose=payment.purpose,
            subject_id=payment.subject_id,
            fen=evidence.fen,
            late=payment.late,
        ),
    )
    log.info("payment settled", number=payment.number, by=by, late=payment.late)


# ---------------------------------------------------------------------- closing


def give_up(session: Session, payment_id: uuid.UUID, *, by: str) -> None:
    """The payer changed their mind: close it now instead of at its end. A payment that is no longer open stays."""
    now = clock.now()
    session.execute(
        update(Payment)
        .where(Payment.id == payment_id, Payment.state.in_((PaymentState.OPEN, PaymentState.PREPARED)))
        .values(expires_at=now, ask_at=now)
    )
    record(session, actor=by, action="payment.give_up", aggregate=("payment", payment_id))


def closed(session: Session, payment_id: uuid.UUID, *, why: str) -> bool:
    """The channel has said that it takes no more money for it. False: it was settled meanwhile."""
    done = session.execute(
        update(Payment)
        .where(Payment.id == payment_id, Payment.state.in_(UNSETTLED))
        .values(state=PaymentState.CLOSED, closed_at=clock.now(), ask_at=None, phone=None, error=why)
        .returning(Payment.purpose, Payment.subject_id)
    ).first()
    if done is None:
        return False
    record(
        session,
        actor="job:payments.ask",
        action="payment.close",
        aggregate=("payment", payment_id),
        after={"why": why},
    )
    publish(session, PaymentClosed(aggregate_id=payment_id, purpose=done.purpose, subject_id=done.subject_id))
    return True


# ---------------------------------------------------------------------- cases


def open_case(
    session: Session, kind: str, key: str, channel: str, payment_id: uuid.UUID | None, **facts: object
) -> None:
    """Ask for a person, once for each key."""
    made = session.scalar(
        insert(PaymentCase)
        .values(
            id=new_id(),
            created_at=clock.now(),
            kind=kind,
            key=key,
            channel=channel,
            payment_id=payment_id,
            facts=facts,
        )
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(PaymentCase.id)
    )
    if made is not None:
        log.error("money needs a person", kind=kind, key=key, channel=channel)


def close_case(session: Session, case_id: uuid.UUID, *, by: str, why: str) -> None:
    """Raises `Invalid` (no reason), `Conflict` (closed already)."""
    if not why.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    found = session.scalar(
        update(PaymentCase)
        .where(PaymentCase.id == case_id, PaymentCase.closed_at.is_(None))
        .values(closed_at=clock.now(), closed_by=by, closed_why=why.strip())
        .returning(PaymentCase.id)
    )
    if found is None:
        raise Conflict("payment.case_closed", N_("已由他人处理，请刷新页面。"))
    record(session, actor=by, action="payment.case", aggregate=("payment_case", case_id), reason=why.strip())
