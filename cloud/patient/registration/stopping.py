"""What becomes of bookings when their session is stopped, moved or given to another doctor; rebooking.

A session is stopped booking by booking, each in a transaction of its own: whoever holds one row waits for no other.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.hospital.model import ClinicSession
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict
from cloud.kit.ids import new_id
from cloud.kit.jobs import Begin, enqueue
from cloud.patient.registration import confirming, ending, limits, numbers, service, telling, waiting
from cloud.patient.registration.model import LIVE, AtHis, Booking, BookingState, Number, NumberState
from cloud.payments import arrivals, refunds
from cloud.web.i18n import mark as N_

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
        held = (BookingState.HELD, BookingState.CONFIRMED)
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
    if booking.state == BookingState.HELD:
        numbers.stopped(session, booking.id)
        if booking.at_his in (AtHis.LOCK, AtHis.LOCKED):
            booking.at_his, booking.his_ask_at = AtHis.RELEASED, None  # the HIS has stopped it itself
        ending.end(session, booking, BookingState.EXPIRED, why="stopped", by=BY)
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
        if booking.state != BookingState.STOPPED or late:
            return
        ending.end(session, booking, BookingState.CANCELLING, why="stopped", by=BY)
        ending.cancel_paid(session, booking, by=BY, reason="医生停诊，自动退款")


def rebook(session: Session, booking_id: uuid.UUID, clinic_session_id: uuid.UUID, *, by: str, key: str) -> Booking:
    """Another session in place of the stopped one, with what was paid; a lower fee's difference goes back by itself.

    Limits on persons do not hold: the hospital stopped it. Raises `Conflict` (not stopped, full, dearer than was paid,
    a session of the HIS's).
    """
    old = ending.locked(session, booking_id)
    if old.state != BookingState.STOPPED:
        if old.rebooked_to is not None:
            return session.get_one(Booking, old.rebooked_to)
        raise Conflict("registration.not_stopped", N_("这个号不能改约，请刷新页面。"))
    limits.take_turn(session, old.person_id)
    clinic = service.bookable(session, clinic_session_id)
    limits.check(session, old.person_id, clinic, by_phone=False)
    if clinic.owner != "ours":
        raise Conflict("registration.rebook_his", N_("这次出诊的号由医院信息系统管理，请退款后重新挂号。"))
    paid = _left_of(session, old)
    if clinic.fee_fen > paid:
        raise Conflict("registration.rebook_dearer", N_("改约的挂号费高于已付金额，请退款后重新挂号。"))
    wish = service.HoldWish(
        clinic_session_id=clinic.id,
        person_id=old.person_id,
        account_id=old.account_id,
        by=by,
        key=key,
    )
    new = new_id()
    number = service.claim_for(session, clinic.id, new, clock.now() + timedelta(minutes=1), None)
    booking = service.begin_booking(session, wish, clinic, number, new, old.person_id, rebooked_from=old.id)
    booking.payment_id = old.payment_id
    old.state, old.rebooked_to, old.choose_until = BookingState.CANCELLED, booking.id, None
    old.ended_at, old.ended_why = clock.now(), "rebooked"
    record(
        session,
        actor=by,
        action="booking.rebook",
        aggregate=("booking", old.id),
        after={"booking": booking.id, "session": clinic.id},
    )
    session.flush()
    if booking.state == BookingState.HELD:
        confirming.confirm(session, booking)
    if old.payment_id is not None and paid > clinic.fee_fen:
        refunds.ask_refund(
            session,
            old.payment_id,
            paid - clinic.fee_fen,
            key=f"rebooked:{old.id}",
            reason="改约差价退款",
            by=by,
        )
    return booking


def _left_of(session: Session, booking: Booking) -> int:
    if booking.payment_id is None:
        return 0
    payment = arrivals.locked(session, booking.payment_id)
    return (payment.paid_fen or 0) - payment.reserved_fen
