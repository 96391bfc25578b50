"""What money that came, or will not come any more, means for a booking.

Money is recorded before anybody asks whether the number is still there. When it is not: the same number if it is free,
another of the same session if the patient said so when booking, else all of it goes back by itself.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital.model import ClinicSession
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.events import publish
from cloud.kit.jobs import enqueue
from cloud.patient.registration import ending, numbers, settled, telling
from cloud.patient.registration.events import BookingConfirmed
from cloud.patient.registration.model import LIVE, AtHis, Booking, BookingState, Number, NumberState
from cloud.payments import arrivals, refunds
from cloud.payments import service as payments
from cloud.payments.model import UNSETTLED, Payment

log = structlog.get_logger()

REMIND = "registration.remind"
BY = "job:registration.settled"
_ENDED_UNPAID = (BookingState.EXPIRED, BookingState.CANCELLED, BookingState.CANCELLING)
_KEPT_FOR_MONEY = timedelta(hours=1)


def money_came(session: Session, booking_id: uuid.UUID, payment_id: uuid.UUID) -> None:
    """A payment for the booking is settled; told twice, it is once."""
    booking = ending.locked(session, booking_id)
    if arrivals.locked(session, payment_id).reserved_fen:
        return  # it is on its way back already
    if booking.payment_id is not None and booking.payment_id != payment_id and _paid_by_another(session, booking):
        refund_whole(session, booking, payment_id)
    elif booking.state in (BookingState.HELD, BookingState.PAYING):
        _drop_other_payment(session, booking, payment_id)
        booking.payment_id = payment_id
        _go_on(session, booking)
    elif booking.state in _ENDED_UNPAID and booking.confirmed_at is None and booking.payment_id in (None, payment_id):
        _money_after_the_end(session, booking, payment_id)
    elif booking.state == BookingState.STOPPED and booking.payment_id in (None, payment_id):
        booking.payment_id = payment_id
    elif booking.payment_id != payment_id:
        refund_whole(session, booking, payment_id)


def _paid_by_another(session: Session, booking: Booking) -> bool:
    """Whether the payment the booking names has brought money: then a second one is one too many."""
    named = session.get_one(Payment, booking.payment_id)
    return named.paid_fen is not None


def _drop_other_payment(session: Session, booking: Booking, payment_id: uuid.UUID) -> None:
    """An older payment of the same booking came after all while a newer one is open: that one is not wanted any more,
    and goes back whole should it be paid too."""
    if booking.payment_id in (None, payment_id):
        return
    other = session.get_one(Payment, booking.payment_id)
    if other.state in UNSETTLED:
        payments.give_up(session, other.id, by=BY)


def _go_on(session: Session, booking: Booking) -> None:
    clinic = session.get_one(ClinicSession, booking.clinic_session_id, populate_existing=True)
    if clinic.state == "stopped":
        stop(session, booking, clinic)
    elif booking.at_his == AtHis.OURS:
        confirm(session, booking)
    else:
        booking.state = BookingState.CONFIRMING
        ending.ask_his(session, booking, AtHis.CONFIRM)


def confirm(session: Session, booking: Booking) -> None:
    """The number is the patient's. The booking's row is held and its number is held by it."""
    number = numbers.mark(session, booking.id, (NumberState.HELD,), NumberState.SOLD)
    assert number is not None, "a booking that is confirmed has its number"
    booking.state, booking.confirmed_at = BookingState.CONFIRMED, clock.now()
    booking.ended_at = booking.ended_why = None
    record(session, actor=BY, action="booking.confirm", aggregate=("booking", booking.id), after={"seq": booking.seq})
    publish(
        session,
        BookingConfirmed(
            aggregate_id=booking.id, person_id=booking.person_id, clinic_session_id=booking.clinic_session_id
        ),
    )
    session.flush()
    telling.tell(session, booking, "booking_confirmed", f"booking:{booking.id}:confirmed:{booking.number_id}")
    remind_at = reminder_time(session, booking)
    if remind_at > clock.now():
        enqueue(session, REMIND, at=remind_at, booking_id=str(booking.id))


def reminder_time(session: Session, booking: Booking) -> datetime:
    """The evening before the visit, by the hospital's clock."""
    at = settled.of(session).remind_at
    return clock.day_begins(booking.day - timedelta(days=1)) + timedelta(hours=at.hour, minutes=at.minute)


def stop(session: Session, booking: Booking, clinic: ClinicSession) -> None:
    """The session does not take place: the patient chooses by a certain time, or the money goes back by itself."""
    now = clock.now()
    numbers.stopped(session, booking.id)
    before, booking.state = booking.state, BookingState.STOPPED
    booking.choose_until = min(
        now + timedelta(hours=settled.of(session).choose_hours), max(clinic.starts_at, now + timedelta(hours=1))
    )
    record(
        session,
        actor="job:registration.stopped",
        action="booking.stopped",
        aggregate=("booking", booking.id),
        before={"state": before},
        after={"choose_until": booking.choose_until},
    )
    session.flush()
    telling.tell(session, booking, "session_stopped", f"booking:{booking.id}:stopped")


# ---------------------------------------------------------------------- money after the end


def _money_after_the_end(session: Session, booking: Booking, payment_id: uuid.UUID) -> None:
    booking.payment_id = payment_id
    given_up = booking.ended_why in ("patient", "staff")
    if not given_up and _taken_again(session, booking):
        booking.ended_at = booking.ended_why = None
        _go_on_again(session, booking)
        return
    if booking.state == BookingState.CANCELLING and booking.ended_at is None:
        # It was being paid while the patient gave it up: the number was kept until the channel had said how it ended.
        ending.end(session, booking, BookingState.CANCELLING, why=booking.ended_why or "patient", by=BY)
    booking.state = BookingState.CANCELLING
    if not given_up:
        booking.ended_why = "late"
    record(session, actor=BY, action="booking.late_money", aggregate=("booking", booking.id))
    session.flush()
    refund_whole(session, booking, payment_id)


def _taken_again(session: Session, booking: Booking) -> bool:
    """Under the rules of today: the session still takes place, the person has no other number of it by now."""
    now = clock.now()
    clinic = session.get_one(ClinicSession, booking.clinic_session_id, populate_existing=True)
    if clinic.state == "stopped" or clinic.ends_at <= now or booking.at_his == AtHis.RELEASE:
        return False
    other = select(Booking.id).where(
        Booking.person_id == booking.person_id, Booking.clinic_session_id == clinic.id, Booking.state.in_(LIVE)
    )
    if session.scalar(other) is not None:
        return False
    until = now + _KEPT_FOR_MONEY
    number: Number | None = None
    if booking.to_at > now:
        number = numbers.claim_this(session, booking.number_id, booking.id, until=until)
    if number is None and booking.takes_another:
        number = numbers.claim(session, clinic.id, booking.id, until=until, from_at=None)
    if number is None:
        return False
    put_on(booking, number)
    return True


def put_on(booking: Booking, number: Number) -> None:
    """The booking stands for this number from now on."""
    booking.number_id, booking.seq = number.id, number.seq
    booking.from_at, booking.to_at = number.from_at, number.to_at


def _go_on_again(session: Session, booking: Booking) -> None:
    if booking.at_his == AtHis.OURS:
        confirm(session, booking)
        return
    booking.state = BookingState.CONFIRMING
    new_his_key(booking)
    ending.ask_his(session, booking, AtHis.LOCK)


def new_his_key(booking: Booking) -> None:
    """Another try for another number is another key: what came of the first can't be taken for the second."""
    tries = int(booking.his_key.partition("-")[2] or 0) if booking.his_key else 0
    booking.his_key = f"{booking.number}-{tries + 1}"
    booking.his_reference = None


def refund_whole(session: Session, booking: Booking, payment_id: uuid.UUID) -> None:
    """All of it, under a key made of the payment: however often this runs, it is one refund."""
    payment = arrivals.locked(session, payment_id)
    left = (payment.paid_fen or 0) - payment.reserved_fen
    if payment.channel == payments.CASH:
        ending.cash_waits(session, booking)
    elif left > 0:
        refunds.ask_refund(
            session, payment_id, left, key=f"late:{payment_id}", reason="超时支付，号已释放，自动退款", by=BY
        )
        telling.tell_refund(session, booking, left, f"late:{payment_id}")
        log.info("late money goes back", booking=str(booking.id), payment=payment.number)


# ---------------------------------------------------------------------- money that does not come


def payment_closed(session: Session, booking_id: uuid.UUID, payment_id: uuid.UUID) -> None:
    """The channel takes no more money: the number is free, or the patient may try once more while it is kept."""
    booking = ending.locked(session, booking_id)
    if booking.payment_id != payment_id:
        return
    if booking.state == BookingState.CANCELLING and booking.ended_at is None:
        ending.end(session, booking, BookingState.CANCELLED, why=booking.ended_why or "patient", by=BY)
    elif booking.state == BookingState.PAYING:
        booking.payment_id = None
        if booking.hold_until > clock.now():
            booking.state = BookingState.HELD
            enqueue(session, "registration.expire", at=booking.hold_until, booking_id=str(booking.id))
            session.flush()
            return
        ending.end(session, booking, BookingState.EXPIRED, why="unpaid", by=BY)


def refund_arrived(session: Session, payment_id: uuid.UUID) -> None:
    """The last of it is back: the bookings that waited for it are cancelled."""
    waiting = session.scalars(
        select(Booking.id).where(Booking.payment_id == payment_id, Booking.state == BookingState.CANCELLING)
    ).all()
    for booking_id in waiting:
        booking = ending.locked(session, booking_id)
        if booking.at_his != AtHis.RELEASE and ending.nothing_in_flight(session, payment_id):
            ending.cancelled(session, booking, by="job:registration.refunded")
