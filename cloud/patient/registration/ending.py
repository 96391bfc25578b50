"""How a booking loses its number, and how its money goes back. Used by every verb that ends one.

A number that the HIS has locked for us is free here only after the HIS has given it back: until then its row stays with
the ended booking, or the next person would be refused there.
"""

from __future__ import annotations

import uuid

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import NotFound
from cloud.kit.events import publish
from cloud.kit.jobs import enqueue
from cloud.patient.registration import numbers, telling, waiting
from cloud.patient.registration.events import BookingEnded
from cloud.patient.registration.model import AtHis, Booking, BookingState
from cloud.payments import arrivals, refunds
from cloud.payments import service as payments
from cloud.payments.model import Payment, PaymentState, Refund, RefundState
from cloud.web.i18n import mark as N_

AT_HIS_JOB = "registration.at_his"
_THERE = (AtHis.LOCK, AtHis.LOCKED, AtHis.CONFIRM, AtHis.CONFIRMED)


def locked(session: Session, booking_id: uuid.UUID) -> Booking:
    """The booking, its row held for this transaction; raises `NotFound`."""
    found = session.scalar(
        select(Booking).where(Booking.id == booking_id).with_for_update().execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    return found


def end(
    session: Session, booking: Booking, after: BookingState, *, why: str, by: str, reason: str | None = None
) -> None:
    """The booking (its row held) loses its number: expired, cancelled, or cancelling where money has to move first."""
    before = BookingState(booking.state)
    booking.state = after
    booking.ended_at, booking.ended_why = clock.now(), why
    booking.choose_until = None
    record(
        session,
        actor=by,
        action=f"booking.{after}",
        aggregate=("booking", booking.id),
        before={"state": before},
        after={"state": after, "why": why},
        reason=reason,
    )
    publish(
        session,
        BookingEnded(
            aggregate_id=booking.id,
            person_id=booking.person_id,
            clinic_session_id=booking.clinic_session_id,
            why=why,
            was_confirmed=before == BookingState.CONFIRMED,
        ),
    )
    session.flush()
    if booking.at_his in _THERE:
        ask_his(session, booking, AtHis.RELEASE)
    else:
        free_number(session, booking, at_once=before != BookingState.CONFIRMED)


def free_number(session: Session, booking: Booking, *, at_once: bool, taken_elsewhere: bool = False) -> None:
    """Its number is nobody's; whoever waits for the session is asked first."""
    number = numbers.let_go(session, booking.id, at_once=at_once, taken_elsewhere=taken_elsewhere)
    if number is not None and not taken_elsewhere:
        waiting.offer(session, number)


def ask_his(session: Session, booking: Booking, what: AtHis) -> None:
    """Something has to be told to the HIS; a job does it with no transaction open, a sweep if the job is lost."""
    booking.at_his, booking.his_ask_at, booking.his_asked, booking.his_error = what, clock.now(), 0, None
    session.flush()
    enqueue(session, AT_HIS_JOB, booking_id=str(booking.id))


def money_back(
    session: Session, booking: Booking, *, key: str, reason: str, by: str, route: str = "channel"
) -> Refund | None:
    """Refund what is left of the booking's payment. None: nothing was paid, or nothing is left."""
    if booking.payment_id is None:
        return None
    payment = arrivals.locked(session, booking.payment_id)
    left = (payment.paid_fen or 0) - payment.reserved_fen
    if payment.state != PaymentState.PAID or left <= 0:
        return None
    return refunds.ask_refund(session, payment.id, left, key=key, reason=reason, by=by, route=route)


def cancel_paid(session: Session, booking: Booking, *, by: str, reason: str, route: str = "channel") -> None:
    """The number is gone (CANCELLING): ask for the money, or be done where none is owed."""
    if route == "channel" and paid_in_cash(session, booking):
        cash_waits(session, booking)
        return
    refund = money_back(session, booking, key=f"booking:{booking.id}", reason=reason, by=by, route=route)
    if refund is None:
        cancelled(session, booking, by=by)


def paid_in_cash(session: Session, booking: Booking) -> bool:
    """Then no channel brings it back: it is paid out at a window."""
    payment = session.get(Payment, booking.payment_id) if booking.payment_id else None
    return payment is not None and payment.channel == payments.CASH and payment.paid_fen is not None


def cash_waits(session: Session, booking: Booking) -> None:
    """Nobody stands at the window now: a case asks for a person until the cash is fetched."""
    assert booking.payment_id is not None
    payments.open_case(
        session,
        "booking_cash",
        f"booking_cash:{booking.id}",
        payments.CASH,
        booking.payment_id,
        booking=booking.number,
        fen=booking.fee_fen,
    )


def cancelled(session: Session, booking: Booking, *, by: str) -> None:
    """Nothing more is owed."""
    if booking.state != BookingState.CANCELLING:
        return
    booking.state = BookingState.CANCELLED
    record(session, actor=by, action="booking.cancelled", aggregate=("booking", booking.id))
    session.flush()
    telling.tell(session, booking, "booking_cancelled", f"booking:{booking.id}:cancelled")


def nothing_in_flight(session: Session, payment_id: uuid.UUID) -> bool:
    """Every refund of the payment has arrived (or was given up)."""
    ended = (RefundState.DONE, RefundState.DROPPED)
    many = select(func.count()).where(Refund.payment_id == payment_id, Refund.state.not_in(ended))
    return not session.scalar(many)
