"""Preparing a payment at its channel, asking how it stands, and closing it at its end.

Each function claims in one short transaction, calls the channel with none open, and records in another. A worker that
dies in between costs a lease of time: the next question finds out what it missed. Nothing here needs a notice to come.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import case, select, update

from cloud.kit import clock
from cloud.kit.errors import Conflict, Unavailable
from cloud.kit.jobs import Begin, enqueue
from cloud.payments import channels, service
from cloud.payments.contract import Ask, Channel, Closing, Refused, Stand, Standing, Unknown
from cloud.payments.model import UNSETTLED, Payment, PaymentState
from cloud.payments.rules import ABSENT_MARGIN, PAYING_WAIT, UNKNOWN_WAIT_S, back_off, next_question
from cloud.web.i18n import mark as N_

log = structlog.get_logger()

JOB = "payments.ask"
LEASE = timedelta(seconds=60)
"""How long one question may take; longer than every channel's own time limits."""


def prepare(begin: Begin, payment_id: uuid.UUID, *, subject: str, client_ip: str, return_url: str) -> Mapping[str, Any]:
    """What the phone needs to pay; the same again for a payment that was prepared before.

    Raises `Conflict` (no longer open), `Unavailable` (the channel does not answer, or will not: nothing was paid).
    """
    with begin() as session:
        payment = session.get_one(Payment, payment_id)
        if payment.state == PaymentState.PREPARED and payment.phone:
            return dict(json.loads(payment.phone))
        if payment.state != PaymentState.OPEN or payment.until <= clock.now():
            raise Conflict("payment.over", N_("这笔支付已结束，请返回后重新发起。"))
        ask = Ask(
            number=payment.number,
            fen=payment.fen,
            payer=payment.payer,
            subject=subject,
            until=payment.until,
            client_ip=client_ip,
            notice_url=channels.notice_url(payment.channel),
            return_url=return_url,
        )
        channel = channels.of(payment.channel)
    try:
        prepared = channel.prepay(ask)
    except Refused as refusal:
        with begin() as session:
            service.give_up(session, payment_id, by=f"channel:{channel.name}")
            session.execute(update(Payment).where(Payment.id == payment_id).values(error=refusal.code))
        log.warning("payment refused by its channel", number=ask.number, code=refusal.code)
        raise Unavailable("payment.refused", N_("支付渠道未受理，请稍后重试或到窗口缴费。")) from refusal
    except Unknown as unknown:
        log.warning("payment channel gives no answer", number=ask.number, code=unknown.code)
        raise Unavailable("payment.no_answer", N_("支付渠道暂时没有应答，请稍后重试，不会重复扣款。")) from unknown
    with begin() as session:
        session.execute(
            update(Payment)
            .where(Payment.id == payment_id, Payment.state == PaymentState.OPEN)
            .values(
                state=PaymentState.PREPARED,
                phone=json.dumps(dict(prepared.phone), ensure_ascii=False),
                ask_at=clock.now() + next_question(0),
                error=None,
            )
        )
        enqueue(session, JOB, at=clock.now() + next_question(0), payment_id=str(payment_id))
    return prepared.phone


@dataclass(frozen=True, slots=True)
class _Claim:
    id: uuid.UUID
    number: str
    closing: bool
    asked: int
    created_at: datetime
    until: datetime


def due(begin: Begin, *, most: int = 200) -> list[uuid.UUID]:
    """Payments whose channel should be asked now, the longest waiting first."""
    with begin() as session:
        return list(
            session.scalars(
                select(Payment.id)
                .where(Payment.state.in_(UNSETTLED), Payment.ask_at <= clock.now())
                .order_by(Payment.ask_at)
                .limit(most)
            )
        )


def ask(begin: Begin, payment_id: uuid.UUID, *, at_once: bool = False) -> None:
    """One question about one payment, and what follows from the answer. `at_once`: the phone came back from the
    cashier (its word is no evidence), or a hint arrived."""
    claimed = _claim(begin, payment_id, at_once)
    if claimed is None:
        return
    claim, channel = claimed
    try:
        stand = channel.query(claim.number)
        if claim.closing:
            _close(begin, claim, channel, stand)
        else:
            _note(begin, claim, channel, stand)
    except Unknown as unknown:
        wait = back_off(UNKNOWN_WAIT_S, claim.asked)
        _later(begin, claim, wait, error=unknown.code)
        log.warning("payment channel gives no answer", number=claim.number, code=unknown.code, asked=claim.asked)


def _claim(begin: Begin, payment_id: uuid.UUID, at_once: bool) -> tuple[_Claim, Channel] | None:
    now = clock.now()
    conditions = [Payment.id == payment_id, Payment.state.in_(UNSETTLED)]
    if not at_once:
        conditions.append(Payment.ask_at <= now)
    with begin() as session:
        row = session.execute(
            update(Payment)
            .where(*conditions)
            .values(
                ask_at=now + LEASE,
                asked=Payment.asked + 1,
                state=case((Payment.expires_at <= now, PaymentState.CLOSING), else_=Payment.state),
            )
            .returning(
                Payment.id,
                Payment.number,
                Payment.state,
                Payment.asked,
                Payment.created_at,
                Payment.until,
                Payment.channel,
            )
        ).first()
    if row is None:
        return None
    claim = _Claim(row.id, row.number, row.state == PaymentState.CLOSING, row.asked, row.created_at, row.until)
    return claim, channels.of(row.channel)


def _note(begin: Begin, claim: _Claim, channel: Channel, stand: Stand) -> None:
    """While the phone may still pay."""
    if _settled(begin, channel, stand, "query"):
        return
    _later(begin, claim, next_question(claim.asked))


def _settled(begin: Begin, channel: Channel, stand: Stand, by: str) -> bool:
    if stand.standing != Standing.PAID or stand.evidence is None:
        return False
    with begin() as session:
        service.settle(session, channel.name, stand.evidence, by=by)
    return True


def _close(begin: Begin, claim: _Claim, channel: Channel, stand: Stand) -> None:
    """At the end: paid is settled, being paid is waited for, unpaid is closed at the channel first."""
    now = clock.now()
    if _settled(begin, channel, stand, "query"):
        return None
    if stand.standing == Standing.PAYING:
        return _later(begin, claim, PAYING_WAIT)
    if stand.standing == Standing.CLOSED:
        return _closed(begin, claim, "closed_at_channel")
    if stand.standing == Standing.ABSENT:
        return _absent(begin, claim, channel)
    if now < claim.created_at + channel.shortest:
        return _later(begin, claim, claim.created_at + channel.shortest - now)
    outcome = channel.close(claim.number)
    if outcome == Closing.ALREADY_PAID:
        # The channel's "already paid" carries no amount: the evidence is asked for.
        if not _settled(begin, channel, channel.query(claim.number), "close"):
            _later(begin, claim, PAYING_WAIT)
        return None
    if outcome == Closing.ABSENT:
        return _absent(begin, claim, channel)
    return _closed(begin, claim, "unpaid")


def _absent(begin: Begin, claim: _Claim, channel: Channel) -> None:
    """The channel knows no such number. What the phone was never given, nobody can pay; a signed page can be."""
    rest = claim.until + ABSENT_MARGIN - clock.now()
    if channel.payable_when_absent and rest > timedelta():
        return _later(begin, claim, min(rest, timedelta(minutes=1)))
    return _closed(begin, claim, "never_at_channel")


def _closed(begin: Begin, claim: _Claim, why: str) -> None:
    with begin() as session:
        service.closed(session, claim.id, why=why)


def _later(begin: Begin, claim: _Claim, wait: timedelta, error: str | None = None) -> None:
    """Ask again after `wait`, and in any case at the payment's end."""
    at = clock.now() + wait
    ends_first = (Payment.state != PaymentState.CLOSING) & (Payment.expires_at < at)
    with begin() as session:
        next_at = session.scalar(
            update(Payment)
            .where(Payment.id == claim.id, Payment.state.in_(UNSETTLED))
            .values(ask_at=case((ends_first, Payment.expires_at), else_=at), error=error)
            .returning(Payment.ask_at)
        )
        if next_at is not None:
            enqueue(session, JOB, at=next_at, payment_id=str(claim.id))
