"""The evening before a visit, and the end of a session at which some have not come."""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.jobs import Begin
from cloud.patient.registration import confirming, service, settled, telling
from cloud.patient.registration.model import Booking, BookingState


def remind(session: Session, booking_id: uuid.UUID) -> bool:
    """Once for each booking that still stands; False: it is not time, or it was done."""
    booking = session.get(Booking, booking_id)
    now = clock.now()
    if booking is None or confirming.reminder_time(session, booking) > now or booking.from_at <= now:
        return False
    done = session.scalar(
        update(Booking)
        .where(Booking.id == booking_id, Booking.state == BookingState.CONFIRMED, Booking.reminded_at.is_(None))
        .values(reminded_at=now)
        .returning(Booking.id)
    )
    if done is None:
        return False
    telling.tell(session, booking, "booking_reminder", f"booking:{booking.id}:reminder")
    return True


def remind_due(begin: Begin) -> int:
    """Tomorrow's bookings that have not been reminded of."""
    tomorrow = clock.today() + timedelta(days=1)
    with begin() as session:
        found = session.scalars(
            select(Booking.id).where(
                Booking.day == tomorrow, Booking.state == BookingState.CONFIRMED, Booking.reminded_at.is_(None)
            )
        ).all()
    told = 0
    for booking_id in found:
        with begin() as session:
            told += remind(session, booking_id)
    return told


def mark_no_shows(begin: Begin) -> int:
    """Whoever has not come by the end of the day's session, where the hospital records every arrival.

    A session at which nobody at all was recorded tells nothing: there the recording failed, not the patients.
    """
    with begin() as session:
        if not settled.of(session).marks_no_shows:
            return 0
        seen = select(Booking.clinic_session_id).where(
            Booking.day.between(clock.today() - timedelta(days=2), clock.today()), Booking.arrived_at.is_not(None)
        )
        found = session.scalars(
            select(Booking.id).where(
                Booking.clinic_session_id.in_(seen),
                Booking.state == BookingState.CONFIRMED,
                Booking.to_at < clock.now() - timedelta(hours=2),
            )
        ).all()
    for booking_id in found:
        with begin() as session:
            service.no_show(session, booking_id, by="job:registration.evening")
    return len(found)
