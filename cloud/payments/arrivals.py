"""What a channel, or a window, says of a refund: booked once, whoever says it and however often.

The payment's row is held while a refund of it moves.
"""

from __future__ import annotations

import uuid

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.events import publish
from cloud.payments import drawers, service
from cloud.payments.contract import RefundStand, RefundStanding
from cloud.payments.events import RefundArrived, RefundStuck
from cloud.payments.model import IN_FLIGHT, LedgerEntry, Payment, PaymentCase, Refund, RefundState
from cloud.payments.rules import REFUND_BACK_OFF_S, back_off

OUTSIDE = "outside"


def locked(session: Session, payment_id: uuid.UUID) -> Payment:
    return session.scalars(
        select(Payment).where(Payment.id == payment_id).with_for_update().execution_options(populate_existing=True)
    ).one()


def settle_refund(
    session: Session, channel: str, number: str, refund_number: str, stand: RefundStand, *, by: str
) -> None:
    """What the channel says of a refund, from an answer, a notice it confirmed, or its bill; as often as it comes."""
    payment_id = session.scalar(select(Payment.id).where(Payment.channel == channel, Payment.number == number))
    if payment_id is None:
        service.open_case(
            session, "refund_no_payment", f"{channel}:{number}:{refund_number}", channel, None, refund=refund_number
        )
        return
    payment = locked(session, payment_id)
    row = session.scalar(select(Refund).where(Refund.number == refund_number).execution_options(populate_existing=True))
    if row is None:
        _made_outside(session, payment, refund_number, stand, by)
        return
    if row.payment_id != payment.id or (stand.fen is not None and stand.fen != row.fen):
        service.open_case(
            session,
            "refund_amount",
            f"{refund_number}:{stand.fen}",
            channel,
            payment.id,
            refund=refund_number,
            fen=stand.fen,
            expected_fen=row.fen,
            by=by,
        )
        _release(session, row)
        return
    if stand.standing == RefundStanding.DONE:
        _done_at_channel(session, row, payment, stand, by)
    elif stand.standing == RefundStanding.FAILED:
        mark_stuck(session, refund_number, stand.code or "failed")
    elif stand.standing == RefundStanding.PROCESSING:
        session.execute(
            update(Refund)
            .where(Refund.id == row.id, Refund.state.in_(IN_FLIGHT))
            .values(
                state=RefundState.PROCESSING,
                claimed_until=None,
                ask_at=clock.now() + back_off(REFUND_BACK_OFF_S, row.asked),
                channel_number=stand.channel_number or row.channel_number,
                error=None,
            )
        )
    else:
        _release(session, row)


def _release(session: Session, row: Refund) -> None:
    """The claim is over without an outcome: asked again later."""
    session.execute(
        update(Refund)
        .where(Refund.id == row.id, Refund.state == RefundState.ASKED)
        .values(
            state=RefundState.WAITING,
            claimed_until=None,
            ask_at=clock.now() + back_off(REFUND_BACK_OFF_S, row.asked),
        )
    )


def _done_at_channel(session: Session, row: Refund, payment: Payment, stand: RefundStand, by: str) -> None:
    if row.state == RefundState.DONE:
        if row.route == "cash":
            # Paid out at the window, and now the channel says that it moved the money too.
            service.open_case(
                session,
                "refunded_twice",
                row.number,
                payment.channel,
                payment.id,
                refund=row.number,
                fen=row.fen,
                by=by,
            )
        return
    if row.state == RefundState.DROPPED:
        service.open_case(
            session, "dropped_refund_done", row.number, payment.channel, payment.id, refund=row.number, fen=row.fen
        )
        return
    row.channel_number = stand.channel_number or row.channel_number
    if stand.done_at is not None:
        row.done_at = stand.done_at
    arrived(session, row, payment, at_channel=payment.channel)


def arrived(session: Session, row: Refund, payment: Payment, *, at_channel: str) -> None:
    row.state, row.claimed_until, row.ask_at, row.error = RefundState.DONE, None, None, None
    row.done_at = row.done_at or clock.now()
    cashier = (row.closed_by or row.by) if at_channel == service.CASH else None
    session.add(
        LedgerEntry(
            at=row.done_at,
            channel=at_channel,
            payment_id=payment.id,
            refund_id=row.id,
            shift_id=drawers.current(session, cashier) if cashier else None,
            fen=-row.fen,
        )
    )
    session.flush()
    record(
        session,
        actor=cashier or f"channel:{at_channel}",
        action="refund.done",
        aggregate=("payment", payment.id),
        after={"number": row.number, "fen": row.fen},
    )
    session.execute(
        update(PaymentCase)
        .where(PaymentCase.key == row.number, PaymentCase.kind == "refund_stuck", PaymentCase.closed_at.is_(None))
        .values(closed_at=clock.now(), closed_by=cashier or f"channel:{at_channel}", closed_why=f"refund.{row.route}")
    )
    publish(
        session,
        RefundArrived(
            aggregate_id=row.id,
            payment_id=payment.id,
            purpose=payment.purpose,
            subject_id=payment.subject_id,
            fen=row.fen,
            route=row.route,
        ),
    )


def mark_stuck(session: Session, refund_number: str, code: str) -> None:
    row = session.execute(
        update(Refund)
        .where(Refund.number == refund_number, Refund.state.in_(IN_FLIGHT))
        .values(state=RefundState.STUCK, claimed_until=None, ask_at=None, error=code)
        .returning(Refund.id, Refund.payment_id, Refund.fen)
    ).first()
    if row is None:
        return
    payment = session.get_one(Payment, row.payment_id)
    service.open_case(
        session,
        "refund_stuck",
        refund_number,
        payment.channel,
        payment.id,
        refund=refund_number,
        code=code,
        fen=row.fen,
    )
    publish(
        session,
        RefundStuck(
            aggregate_id=row.id,
            payment_id=payment.id,
            purpose=payment.purpose,
            subject_id=payment.subject_id,
            fen=row.fen,
        ),
    )


def _made_outside(session: Session, payment: Payment, number: str, stand: RefundStand, by: str) -> None:
    """Somebody refunded at the channel itself: it is booked, so that nothing is refunded again, and a person looks."""
    if stand.standing != RefundStanding.DONE or not stand.fen:
        return
    service.open_case(
        session, "refund_outside", number, payment.channel, payment.id, refund=number, fen=stand.fen, by=by
    )
    if payment.reserved_fen + stand.fen > (payment.paid_fen or 0):
        return
    row = Refund(
        number=number,
        payment_id=payment.id,
        key=f"{OUTSIDE}:{number}",
        fen=stand.fen,
        route=OUTSIDE,
        state=RefundState.WAITING,
        reason=OUTSIDE,
        by=f"channel:{payment.channel}",
        channel_number=stand.channel_number,
        done_at=stand.done_at,
    )
    session.add(row)
    session.flush()
    arrived(session, row, payment, at_channel=payment.channel)
