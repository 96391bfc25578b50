"""Money going back: stored with its number before any call, repeated with the same number until the channel has said
how it ended, never twice.

One refund of a payment is with the channel at a time (a partial unique index says so), with the channel's own gap
between two. What a refund takes is reserved on the payment in the same statement that makes it, so that two people who
refund the last yuan at once get one refund and one refusal.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.jobs import Begin, enqueue
from cloud.payments import arrivals, channels, service
from cloud.payments.contract import Channel, RefundAsk, RefundStand, RefundStanding, Refused, Unknown
from cloud.payments.model import Payment, PaymentState, Refund, RefundState
from cloud.payments.rules import REFUND_BACK_OFF_S, back_off
from cloud.web.i18n import mark as N_

log = structlog.get_logger()

JOB = "payments.refund"
LEASE = timedelta(seconds=60)


def ask_refund(
    session: Session, payment_id: uuid.UUID, fen: int, *, key: str, reason: str, by: str, route: str = "channel"
) -> Refund:
    """Store a refund and reserve its amount; the same `key` gives the same refund, however often it is asked.

    Raises `Invalid` (amount), `Conflict` (not paid; more than is left; the key was used for another amount).
    """
    known = session.scalar(select(Refund).where(Refund.key == key))
    if known is not None:
        if (known.payment_id, known.fen) != (payment_id, fen):
            raise Conflict("refund.key_used", N_("这项退款已按另一金额提交，请刷新页面。"))
        return known
    if fen <= 0:
        raise Invalid("refund.amount", N_("退款金额应大于 0。"))
    payment = arrivals.locked(session, payment_id)
    if payment.channel == service.CASH and route != "cash":
        raise Invalid("refund.cash_only", N_("现金支付只能在窗口退现金。"))
    if payment.state != PaymentState.PAID:
        raise Conflict("refund.not_paid", N_("这笔款项尚未到账，不能退款。"))
    if payment.reserved_fen + fen > (payment.paid_fen or 0):
        raise Conflict("refund.too_much", N_("可退金额不足，可能已由他人退款，请刷新页面。"))
    many = session.scalar(select(func.count()).where(Refund.payment_id == payment_id)) or 0
    now = clock.now()
    row = Refund(
        number=f"{payment.number}R{many + 1:02d}",
        payment_id=payment_id,
        key=key,
        fen=fen,
        route=route,
        state=RefundState.WAITING,
        reason=reason,
        by=by,
        ask_at=now,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise Conflict("refund.key_used", N_("这项退款已由他人提交，请刷新页面。")) from None
    session.refresh(payment)
    record(
        session,
        actor=by,
        action="refund.ask",
        aggregate=("payment", payment_id),
        after={"number": row.number, "fen": fen, "route": route},
        reason=reason,
    )
    if route == "cash":
        arrivals.arrived(session, row, payment, at_channel=service.CASH)
    else:
        enqueue(session, JOB, lock=f"refund:{payment_id}", refund_id=str(row.id))
    return row


def hurry(session: Session, refund_id: uuid.UUID) -> None:
    """Something hints that the channel has moved: ask now instead of later."""
    found = session.scalar(
        update(Refund)
        .where(Refund.id == refund_id, Refund.state.in_((RefundState.WAITING, RefundState.PROCESSING)))
        .values(ask_at=clock.now())
        .returning(Refund.payment_id)
    )
    if found is not None:
        enqueue(session, JOB, lock=f"refund:{found}", refund_id=str(refund_id))


# ---------------------------------------------------------------------- one step with the channel


@dataclass(frozen=True, slots=True)
class _Claim:
    id: uuid.UUID
    ask: RefundAsk
    tries: int
    moved: bool
    """The channel was asked before and may have moved the money: it is asked how it stands first."""
    accepted: bool


def due(begin: Begin, *, most: int = 200) -> list[uuid.UUID]:
    """Refunds that want a step now, dead claims among them."""
    with begin() as session:
        return list(session.scalars(select(Refund.id).where(_ready()).order_by(Refund.ask_at, Refund.id).limit(most)))


def _ready() -> ColumnElement[bool]:
    now = clock.now()
    return and_(
        Refund.route == "channel",
        or_(
            and_(Refund.state.in_((RefundState.WAITING, RefundState.PROCESSING)), Refund.ask_at <= now),
            and_(Refund.state == RefundState.ASKED, Refund.claimed_until <= now),
        ),
    )


def step(begin: Begin, refund_id: uuid.UUID) -> None:
    """One call for one refund. Called twice, or by a worker that dies, it moves no money twice."""
    claimed = _claim(begin, refund_id)
    if claimed is None:
        return
    claim, channel = claimed
    try:
        stand = _ask(claim, channel)
    except Refused as refusal:
        if refusal.permanent:
            _stuck(begin, claim, refusal.code)
        else:
            _later(begin, claim, refusal.code)
        return
    except Unknown as unknown:
        _later(begin, claim, unknown.code)
        return
    with begin() as session:
        arrivals.settle_refund(session, channel.name, claim.ask.number, claim.ask.refund_number, stand, by="answer")


def _ask(claim: _Claim, channel: Channel) -> RefundStand:
    if claim.moved:
        stand = channel.refund_query(claim.ask.number, claim.ask.refund_number)
        if stand.standing != RefundStanding.ABSENT:
            return stand
        if claim.accepted:
            raise Unknown("accepted_then_absent")
    return channel.refund(claim.ask)


def _claim(begin: Begin, refund_id: uuid.UUID) -> tuple[_Claim, Channel] | None:
    now = clock.now()
    with begin() as session:
        row = session.get(Refund, refund_id)
        if row is None:
            return None
        payment = arrivals.locked(session, row.payment_id)
        channel = channels.of(payment.channel)
        other = aliased(Refund)
        busy = exists().where(
            other.payment_id == payment.id,
            other.id != refund_id,
            or_(
                and_(other.state == RefundState.ASKED, other.claimed_until > now),
                other.called_at > now - channel.refund_gap,
            ),
        )
        accepted = row.state == RefundState.PROCESSING
        moved = row.asked > 0
        claimed = session.scalar(
            update(Refund)
            .where(Refund.id == refund_id, _ready(), or_(~busy, Refund.state == RefundState.PROCESSING))
            .values(
                state=RefundState.ASKED,
                claimed_until=now + LEASE,
                asked=Refund.asked + 1,
                called_at=Refund.called_at if accepted else now,
            )
            .returning(Refund.asked)
        )
        if claimed is None:
            session.execute(
                update(Refund)
                .where(Refund.id == refund_id, Refund.state == RefundState.WAITING, Refund.ask_at <= now)
                .values(ask_at=now + max(channel.refund_gap, timedelta(seconds=2)))
            )
            return None
        ask = RefundAsk(
            number=payment.number,
            refund_number=row.number,
            fen=row.fen,
            total_fen=payment.paid_fen or payment.fen,
            reason=row.reason,
            notice_url=channels.notice_url(payment.channel),
        )
        return _Claim(refund_id, ask, claimed, moved, accepted), channel


def _later(begin: Begin, claim: _Claim, code: str) -> None:
    at = clock.now() + back_off(REFUND_BACK_OFF_S, claim.tries)
    with begin() as session:
        session.execute(
            update(Refund)
            .where(Refund.id == claim.id, Refund.state == RefundState.ASKED)
            .values(
                state=RefundState.PROCESSING if claim.accepted else RefundState.WAITING,
                claimed_until=None,
                ask_at=at,
                error=code,
            )
        )
    log.warning("refund waits", number=claim.ask.refund_number, code=code, tries=claim.tries)


def _stuck(begin: Begin, claim: _Claim, code: str) -> None:
    with begin() as session:
        arrivals.mark_stuck(session, claim.ask.refund_number, code)


# ---------------------------------------------------------------------- a person's end of a stuck refund


def try_again(session: Session, refund_id: uuid.UUID, *, by: str, reason: str) -> None:
    """What kept the channel from it is out of the way (an account refilled, a card renewed): the same refund, the same
    number, once more. Raises `Invalid` (no reason), `Conflict` (not stuck)."""
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    row = session.execute(
        update(Refund)
        .where(Refund.id == refund_id, Refund.state == RefundState.STUCK)
        .values(state=RefundState.WAITING, ask_at=clock.now(), error=None)
        .returning(Refund.payment_id, Refund.number)
    ).first()
    if row is None:
        raise Conflict("refund.not_stuck", N_("这项退款不在待人工处理状态，请刷新页面。"))
    record(
        session,
        actor=by,
        action="refund.try_again",
        aggregate=("payment", row.payment_id),
        after={"number": row.number},
        reason=reason.strip(),
    )
    enqueue(session, JOB, lock=f"refund:{row.payment_id}", refund_id=str(refund_id))


def pay_out(begin: Begin, refund_id: uuid.UUID, *, by: str, reason: str) -> None:
    """Pay a stuck refund out in cash, after the channel was asked once more.

    Raises `Invalid` (no reason), `Conflict` (not stuck; arrived after all, which is booked), `Unknown` (the channel
    does not answer: cash is not paid out on a guess).
    """
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    with begin() as session:
        row = session.get_one(Refund, refund_id)
        payment = session.get_one(Payment, row.payment_id)
        if row.state != RefundState.STUCK:
            raise Conflict("refund.not_stuck", N_("这项退款不在待人工处理状态，请刷新页面。"))
        channel = channels.of(payment.channel)
    stand = channel.refund_query(payment.number, row.number)
    if stand.standing in (RefundStanding.DONE, RefundStanding.PROCESSING):
        with begin() as session:
            arrivals.settle_refund(session, channel.name, payment.number, row.number, stand, by="window")
        raise Conflict("refund.arrived", N_("渠道答复这项退款已受理或已到账，不能再退现金。"))
    with begin() as session:
        payment = arrivals.locked(session, payment.id)
        row = session.get_one(Refund, refund_id, populate_existing=True)
        if row.state != RefundState.STUCK:
            raise Conflict("refund.not_stuck", N_("这项退款不在待人工处理状态，请刷新页面。"))
        row.route, row.closed_by = "cash", by
        record(
            session,
            actor=by,
            action="refund.pay_out",
            aggregate=("payment", payment.id),
            after={"number": row.number, "fen": row.fen},
            reason=reason.strip(),
        )
        arrivals.arrived(session, row, payment, at_channel=service.CASH)
