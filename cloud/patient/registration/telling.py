"""What patients are told of their bookings. No department, doctor or reason: a stranger may see the screen."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import clock
from cloud.kit.money import yuan
from cloud.patient.identity import reach
from cloud.patient.registration.model import Booking, Number, WaitingEntry
from cloud.people import service as people
from cloud.people.access import display_name


def tell(session: Session, booking: Booking, template: str, key: str) -> int:
    """One message to everybody who may book for the person; how many that were."""
    return _send(session, booking.person_id, template, key, _when(booking.from_at), f"/p/bookings/{booking.id}")


def tell_refund(session: Session, booking: Booking, fen: int, key: str) -> int:
    """The money of a number that was gone is on its way back."""
    known = settings()
    parameters = {
        "hospital": known.hospital_name,
        "yuan": yuan(fen),
        "link": f"{known.public_url.rstrip('/')}/p/bookings/{booking.id}",
    }
    return _to_holders(session, booking.person_id, "late_refund", key, parameters)


def tell_waiting(session: Session, entry: WaitingEntry, number: Number) -> int:
    key = f"waiting:{entry.id}:offered"
    return _send(session, entry.person_id, "waiting_offer", key, _when(number.from_at), f"/p/waiting/{entry.id}")


def _when(moment: object) -> str:
    return clock.local(moment).strftime("%Y-%m-%d %H:%M")  # type: ignore[arg-type]


def _send(session: Session, person_id: uuid.UUID, template: str, key: str, when: str, path: str) -> int:
    known = settings()
    parameters = {
        "hospital": known.hospital_name,
        "patient": display_name(people.get(session, person_id).name),
        "time": when,
        "link": f"{known.public_url.rstrip('/')}{path}",
    }
    return _to_holders(session, person_id, template, key, parameters)


def _to_holders(session: Session, person_id: uuid.UUID, template: str, key: str, parameters: dict[str, str]) -> int:
    return reach.tell(session, person_id, "book", template=template, key=key, parameters=parameters)
