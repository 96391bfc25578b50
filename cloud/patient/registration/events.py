"""Facts about bookings."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class BookingConfirmed(Event):
    """Paid (or free) and, for a number of the HIS's, confirmed there: the patient may come."""

    type: ClassVar[str] = "registration.booking_confirmed"
    person_id: uuid.UUID
    clinic_session_id: uuid.UUID


@event_type
@dataclass(frozen=True, kw_only=True)
class BookingEnded(Event):
    """The booking has no number any more. `why` as in the booking: unpaid, patient, staff, late, his, stopped."""

    type: ClassVar[str] = "registration.booking_ended"
    person_id: uuid.UUID
    clinic_session_id: uuid.UUID
    why: str
    was_confirmed: bool


@event_type
@dataclass(frozen=True, kw_only=True)
class BookingUsed(Event):
    """The patient has come."""

    type: ClassVar[str] = "registration.booking_used"
    person_id: uuid.UUID
    clinic_session_id: uuid.UUID
