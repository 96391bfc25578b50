"""The offer of the waiting list taken, what a stopped booking may be moved to, and a look at the HIS's open numbers."""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital import timetable
from cloud.hospital.model import ClinicSession
from cloud.hospital.schedule_model import Owner
from cloud.kit import clock
from cloud.kit.errors import Conflict, TooMany
from cloud.kit.ids import new_id
from cloud.kit.jobs import enqueue
from cloud.patient.registration import limits, numbers, reading, service, settled, waiting
from cloud.patient.registration.model import Booking, WaitingEntry
from cloud.payments.model import Payment
from cloud.web import rate
from cloud.web.i18n import mark as N_

OPEN_AT_HIS = "registration.open_at_his"


def take_offer(session: Session, entry_id: uuid.UUID, *, account_id: uuid.UUID, key: str) -> Booking:
    """The number that was offered becomes a booking to be paid. Raises `NotFound`, `Conflict` (too late, limits)."""
    stands = session.scalar(select(WaitingEntry).where(WaitingEntry.id == entry_id).with_for_update())
    known = session.scalar(select(Booking).where(Booking.key == key))
    if known is not None and stands is not None:
        return service.same_as_wished(session, known, _wish(stands, account_id, key))
    entry = waiting.locked_offer(session, entry_id, account_id)
    limits.take_turn(session, entry.person_id)
    clinic = service.bookable(session, entry.clinic_session_id)
    limits.check(session, entry.person_id, clinic, by_phone=True)
    number = waiting.offered_number(session, entry)
    wish = _wish(entry, account_id, key)
    booking_id = new_id()
    until = clock.now() + timedelta(seconds=settled.of(session).hold_s)
    taken = numbers.take_offered(session, number.id, entry.id, booking_id, until=until) if number else None
    if taken is None:
        raise Conflict("registration.offer_over", N_("保留时间已过，号已让给下一位候补。"))
    waiting.taken(session, entry)
    return service.begin_booking(session, wish, clinic, taken, booking_id, entry.person_id)


def _wish(entry: WaitingEntry, account_id: uuid.UUID, key: str) -> service.HoldWish:
    return service.HoldWish(
        clinic_session_id=entry.clinic_session_id,
        person_id=entry.person_id,
        account_id=account_id,
        by=f"account:{account_id}",
        key=key,
    )


def taken_by(session: Session, entry: WaitingEntry) -> Booking | None:
    """The booking that an entry became."""
    if entry.state != "taken":
        return None
    return session.scalar(
        select(Booking)
        .where(Booking.clinic_session_id == entry.clinic_session_id, Booking.person_id == entry.person_id)
        .order_by(Booking.created_at.desc())
        .limit(1)
    )


def others(session: Session, line: reading.Line) -> list[reading.Offered]:
    """Sessions of the department with numbers, no dearer than what was paid, those of the same doctor first."""
    today = clock.today()
    found = timetable.bookable_sessions(
        session,
        department_id=line.booking.department_id,
        day_from=today,
        day_to=today + timedelta(days=reading.DAYS - 1),
        now=clock.now(),
    )
    left = numbers.left(session, [each.id for each in found])
    fit = [
        reading.Offered(each, left[each.id], True)
        for each in found
        if left.get(each.id) and each.fee_fen <= line.booking.fee_fen
    ]
    return sorted(fit, key=lambda each: (each.clinic.acting_id != line.booking.doctor_id, each.clinic.starts_at))[:8]


def to_change_to(session: Session, line: reading.Line) -> list[reading.Offered]:
    """Sessions of the department at the same fee with numbers, those of the same doctor first, then by time."""
    booking = line.booking
    found = reading.upcoming(session, department_id=booking.department_id)
    fit = [each for each in found if each.left and each.released and each.clinic.fee_fen == booking.fee_fen]
    return sorted(fit, key=lambda each: (each.clinic.acting_id != booking.doctor_id, each.clinic.starts_at))


def payment_of(session: Session, booking: Booking, account_id: uuid.UUID) -> Payment | None:
    """The booking's payment, if it is this account's own."""
    found = session.get(Payment, booking.payment_id) if booking.payment_id else None
    return found if found is not None and found.payer_key == str(account_id) else None


def look_at_his(session: Session, clinic: ClinicSession) -> None:
    """Somebody looks at a session of the HIS's: what its windows have sold is asked for, at most every half minute."""
    if clinic.owner != Owner.HIS:
        return
    try:
        rate.count(session, act=OPEN_AT_HIS, subject=str(clinic.id), at_most=1, within=timedelta(seconds=30))
    except TooMany:
        return
    enqueue(session, OPEN_AT_HIS, clinic_session_id=str(clinic.id))
