"""A refund given up before its money moved: the channel has said that it knows nothing of it, and a person says why.

Only what its own slice lets go (`lets_drop`): the money of items can stay with the hospital, for they are owed again;
money behind a booking that is gone cannot, nor what came too late.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from sqlalchemy import update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.events import publish
from cloud.kit.jobs import Begin
from cloud.payments import arrivals, channels
from cloud.payments.contract import RefundStanding
from cloud.payments.events import RefundDropped
from cloud.payments.model import Payment, PaymentCase, Refund, RefundState
from cloud.payments.rules import DROP_AFTER
from cloud.web.i18n import mark as N_

DROPPABLE = (RefundState.WAITING, RefundState.STUCK)
"""Neither under a call nor taken by the channel."""

Lets = Callable[[Session, Refund], bool]
_lets: dict[str, Lets] = {}


def lets_drop(purpose: str, lets: Lets) -> None:
    """The slice of this purpose says which of its refunds may be given up. `lets` reads only."""
    _lets[purpose] = lets


def can_drop(session: Session, refund: Refund, payment: Payment) -> bool:
    """Whether a person may try; what the channel says of it is asked when they do."""
    lets = _lets.get(payment.purpose)
    known = refund.route == "channel" and refund.state in DROPPABLE
    return known and lets is not None and lets(session, refund)


def drop(begin: Begin, refund_id: uuid.UUID, *, by: str, reason: str) -> None:
    """Give the refund up: what it reserved is free again, and what it was for is as it was before.

    Raises `Invalid` (no reason), `Conflict` (``refund.not_droppable``; ``refund.asked_lately``: a call may still be on
    its way; ``refund.arrived``: the channel has it, which is booked; ``refund.at_channel``: the channel has it and
    failed; ``refund.moved``: it moved meanwhile), `Unknown` (the channel does not answer: nothing is dropped on a
    guess).
    """
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    with begin() as session:
        row = session.get_one(Refund, refund_id)
        payment = session.get_one(Payment, row.payment_id)
        if not can_drop(session, row, payment):
            raise Conflict("refund.not_droppable", N_("这项退款已提交渠道、已结束，或不允许撤销，请刷新页面。"))
        if row.called_at is not None and row.called_at > clock.now() - DROP_AFTER:
            raise Conflict("refund.asked_lately", N_("刚向渠道提交过，结果可能还在路上，请 10 分钟后再撤销。"))
        seen = row.state, row.asked
        channel = channels.of(payment.channel)
    stand = channel.refund_query(payment.number, row.number)
    if stand.standing in (RefundStanding.DONE, RefundStanding.PROCESSING):
        with begin() as session:
            arrivals.settle_refund(session, channel.name, payment.number, row.number, stand, by="window")
        raise Conflict("refund.arrived", N_("渠道答复这项退款已受理或已到账，不能撤销。"))
    if stand.standing != RefundStanding.ABSENT:
        raise Conflict("refund.at_channel", N_("渠道有这项退款的记录，不能撤销；请退现金或再退一次。"))
    with begin() as session:
        _dropped(session, row, payment, seen, by=by, reason=reason.strip())


def _dropped(session: Session, row: Refund, payment: Payment, seen: tuple[str, int], *, by: str, reason: str) -> None:
    """As it was when the channel was asked: no call was made since, for every call counts up `asked`."""
    arrivals.locked(session, payment.id)
    done = session.scalar(
        update(Refund)
        .where(Refund.id == row.id, Refund.state == seen[0], Refund.asked == seen[1])
        .values(state=RefundState.DROPPED, ask_at=None, claimed_until=None, error=None, closed_by=by)
        .returning(Refund.id)
    )
    if done is None:
        raise Conflict("refund.moved", N_("这项退款刚刚有了变化，请刷新页面。"))
    session.execute(
        update(PaymentCase)
        .where(PaymentCase.key == row.number, PaymentCase.kind == "refund_stuck", PaymentCase.closed_at.is_(None))
        .values(closed_at=clock.now(), closed_by=by, closed_why=reason)
    )
    record(
        session,
        actor=by,
        action="refund.drop",
        aggregate=("payment", payment.id),
        before={"state": seen[0]},
        after={"number": row.number, "fen": row.fen},
        reason=reason,
    )
    publish(
        session,
        RefundDropped(
            aggregate_id=row.id,
            payment_id=payment.id,
            purpose=payment.purpose,
            subject_id=payment.subject_id,
            fen=row.fen,
            by=by,
            reason=reason,
        ),
    )
