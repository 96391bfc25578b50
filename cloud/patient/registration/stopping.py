"""What becomes of bookings when their session is stopped, moved or given to another doctor.

A session is stopped booking by booking, each in a transaction of its own: whoever holds one row waits for no other.
"""

from __future__ import annotations

import uuid

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.hospital.model import ClinicSession
from cloud.kit import clock
from cloud.kit.jobs import Begin, enqueue
from cloud.patient.registration import confirming, ending, moving, numbers, telling, waiting
from cloud.patient.registration.model import LIVE, AtHis, Booking, BookingState, Number, NumberState

CHOOSE = "registration.choice_over"
BY = "job:registration.stopped"


def numbers_follow(session: Session, clinic_session_id: uuid.UUID) -> None:
    """Numbers as the session now wants them; new ones are offered to whoever waits."""
    clinic = session.get_one(ClinicSession, clinic_session_id, populate_existing=True)
    if clinic.state == "stopped":
        return
    numbers.make(session, clinic)
    free = session.scalars(
        select(Number).where(Number.clinic_session_id == clinic.id, numbers.claimable(clock.now())).order_by(Number.seq)
    ).all()
    for number in free:
        if waiting.offer(session, number) is None:
            break


def times_moved(session: Session, clinic_session_id: uuid.UUID) -> None:
    """The segments moved: bookings take the new times, and their holders may cancel whenever they like."""
    rows = session.execute(
        select(Booking, Number)
        .join(Number, Number.booking_id == Booking.id)
        .where(Booking.clinic_session_id == clinic_session_id, Booking.state.in_(LIVE))
        .order_by(Booking.id)
        .with_for_update(of=Booking)
    ).all()
    for booking, number in rows:
        if (booking.from_at, booking.to_at) == (number.from_at, number.to_at):
            continue
        booking.from_at, booking.to_at, booking.free_to_cancel = number.from_at, number.to_at, True
        session.flush()
        if booking.state == BookingState.CONFIRMED:
            key = f"booking:{booking.id}:moved:{number.from_at.isoformat()}"
            telling.tell(session, booking, "booking_changed", key)


def substituted(session: Session, clinic_session_id: uuid.UUID) -> None:
    """Another doctor sits there: holders are told and may cancel whenever they like."""
    clinic = session.get_one(ClinicSession, clinic_session_id, populate_existing=True)
    rows = session.scalars(
        select(Booking)
        .where(Booking.clinic_session_id == clinic_session_id, Booking.state.in_(LIVE))
        .order_by(Booking.id)
        .with_for_update()
    ).all()
    for booking in rows:
        if booking.doctor_id == clinic.acting_id:
            continue
        booking.doctor_id, booking.free_to_cancel = clinic.acting_id, True
        session.flush()
        if booking.state == BookingState.CONFIRMED:
            telling.tell(session, booking, "booking_changed", f"booking:{booking.id}:doctor:{clinic.acting_id}")


def stop(begin: Begin, clinic_session_id: uuid.UUID) -> None:
    """No number is free any more, nobody waits, and each booking is ended or put before its patient's choice.

    Whoever was just taking a number is waited for by the first statement, so that the second finds the booking.
    """
    with begin() as session:
        session.execute(
            update(Number)
            .where(
                Number.clinic_session_id == clinic_session_id,
                Number.state.in_((NumberState.FREE, NumberState.BLOCKED)),
            )
            .values(state=NumberState.STOPPED, free_from=None)
        )
    with begin() as session:
        waiting.close_line(session, clinic_session_id)
        session.execute(
            update(Number)
            .where(Number.clinic_session_id == clinic_session_id, Number.waiting_id.is_not(None))
            .values(state=NumberState.STOPPED, waiting_id=None, hold_until=None)
        )
    with begin() as session:
        held = (BookingState.HELD, BookingState.CONFIRMED, BookingState.MOVING)
        found = session.scalars(
            select(Booking.id).where(Booking.clinic_session_id == clinic_session_id, Booking.state.in_(held))
        ).all()
    for booking_id in found:
        with begin() as session:
            stop_one(session, booking_id)


def stop_one(session: Session, booking_id: uuid.UUID) -> None:
    """Unpaid: over. Confirmed: the patient chooses. One that is being paid is judged when the money came or did not."""
    booking = ending.locked(session, booking_id)
    clinic = session.get_one(ClinicSession, booking.clinic_session_id)
    if booking.state in (BookingState.HELD, BookingState.MOVING):
        moves = booking.state == BookingState.MOVING
        numbers.stopped(session, booking.id)
        if booking.at_his != AtHis.OURS:
            booking.at_his, booking.his_ask_at = AtHis.RELEASED, None  # the HIS has stopped it itself
        ending.end(session, booking, BookingState.EXPIRED, why=moving.NOT_MOVED if moves else "stopped", by=BY)
        if moves:
            return  # the number it has stands as it stood
        telling.tell(session, booking, "session_stopped", f"booking:{booking.id}:stopped")
    elif booking.state == BookingState.CONFIRMED:
        if booking.at_his != AtHis.OURS:
            booking.at_his, booking.his_ask_at = AtHis.RELEASED, None
        confirming.stop(session, booking, clinic)
        assert booking.choose_until is not None
        enqueue(session, CHOOSE, at=booking.choose_until, booking_id=str(booking.id))


def due(begin: Begin, *, most: int = 200) -> list[uuid.UUID]:
    """Stopped bookings whose patient has not chosen in time."""
    with begin() as session:
        return list(
            session.scalars(
                select(Booking.id)
                .where(Booking.state == BookingState.STOPPED, Booking.choose_until <= clock.now())
                .limit(most)
            )
        )


def choice_over(begin: Begin, booking_id: uuid.UUID) -> None:
    """The money goes back by itself."""
    with begin() as session:
        booking = ending.locked(session, booking_id)
        late = booking.choose_until is None or booking.choose_until > clock.now()
        if booking.state != BookingState.STOPPED or late or moving.pending(session, booking_id) is not None:
            return
        ending.end(session, booking, BookingState.CANCELLING, why="stopped", by=BY)
        ending.cancel_paid(session, booking, by=BY, reason="医生停诊，自动退款")
