"""Bookings at the window: the fee in cash, given up with the money back, its receipt."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital.model import ClinicSession
from cloud.kit import clock
from cloud.kit.db import among
from cloud.kit.errors import NotFound
from cloud.patient.paying.payer import Payer
from cloud.patient.registration import confirming
from cloud.patient.registration import service as registration
from cloud.patient.registration.model import Booking, BookingState
from cloud.payments import cash, receipts
from cloud.payments.drawers_model import Receipt
from cloud.payments.model import Payment, PaymentState
from cloud.payments.service import CASH
from cloud.people import service as people
from cloud.web.i18n import mark as N_

LOOKED_BACK = timedelta(days=90)
MOST = 20
INVOICED_IN = (BookingState.CONFIRMED, BookingState.USED, BookingState.NO_SHOW)
CANCELLABLE = (BookingState.CONFIRMED, BookingState.STOPPED, BookingState.HELD, BookingState.PAYING)


@dataclass(frozen=True, slots=True)
class Line:
    booking: Booking
    clinic: ClinicSession
    payment: Payment | None
    receipt: Receipt | None

    @property
    def cancellable(self) -> bool:
        return self.booking.state in CANCELLABLE

    @property
    def paid(self) -> bool:
        return self.payment is not None and self.payment.state == PaymentState.PAID


def of(session: Session, person_ids: Sequence[uuid.UUID]) -> list[Line]:
    """Of one patient: what is to come and the last three months, the latest first."""
    since = clock.today() - LOOKED_BACK
    found = session.scalars(
        select(Booking)
        .where(Booking.person_id.in_(person_ids), Booking.day >= since)
        .order_by(Booking.day.desc(), Booking.from_at.desc(), Booking.id)
        .limit(MOST)
    ).all()
    clinics = session.scalars(
        select(ClinicSession).where(among(ClinicSession.id, [b.clinic_session_id for b in found]))
    )
    sessions = {each.id: each for each in clinics}
    payment_ids = [each.payment_id for each in found if each.payment_id]
    payments = {each.id: each for each in session.scalars(select(Payment).where(among(Payment.id, payment_ids)))}
    printed = receipts.living(session, payment_ids)
    return [
        Line(
            each,
            sessions[each.clinic_session_id],
            payments.get(each.payment_id) if each.payment_id else None,
            printed.get(each.payment_id) if each.payment_id else None,
        )
        for each in found
    ]


def belongs(session: Session, booking_id: uuid.UUID, person_ids: Sequence[uuid.UUID]) -> None:
    """Raises `NotFound` for a booking of somebody else."""
    if session.scalar(select(Booking.person_id).where(Booking.id == booking_id)) not in set(person_ids):
        raise NotFound("booking.unknown", N_("没有这个预约。"))


def take_fee(session: Session, booking_id: uuid.UUID, *, by: str, key: str, tendered_fen: int | None) -> Receipt:
    """Cash for a held number: confirmed at once, or as soon as the HIS has said yes. Gives its receipt.

    Raises what `registration.pay_for` raises (not held, being paid by phone), and ``cash.too_little``.
    """
    person_id = session.scalars(select(Booking.person_id).where(Booking.id == booking_id)).one()
    payer = Payer(CASH, "", "", "", f"person:{person_id}")
    payment = registration.pay_for(session, booking_id, payer, key=key)
    tendered = payment.fen if tendered_fen is None else tendered_fen
    cash.settle_open(session, payment, by=by, tendered_fen=tendered)
    confirming.money_came(session, booking_id, payment.id)
    return issue(session, payment, by=by, tendered_fen=tendered)


def issue(session: Session, payment: Payment, *, by: str, tendered_fen: int | None = None) -> Receipt:
    """The receipt of a paid booking, once; from then on it must be handed in to give the number up."""
    booking = session.get_one(Booking, payment.subject_id)
    holder = people.get(session, booking.person_id).name
    receipt = receipts.issue(
        session, payment.id, holder=holder, lines=lines(session, payment), by=by, tendered_fen=tendered_fen
    )
    if booking.state in INVOICED_IN and booking.invoiced_at is None:
        registration.invoice(session, booking.id, number=receipt.number, by=by)
    return receipt


def lines(session: Session, payment: Payment) -> list[dict[str, object]]:
    """The one line of a booking's receipt."""
    booking = session.get_one(Booking, payment.subject_id)
    clinic = session.get_one(ClinicSession, booking.clinic_session_id)
    return [
        {
            "bill": booking.number,
            "name": "挂号费",
            "spec": f"{clinic.department.name} {booking.day}",
            "quantity": "1",
            "unit": "",
            "fen": receipts.due_fen(payment),
        }
    ]


def cancel(session: Session, booking_id: uuid.UUID, *, by: str, reason: str, route: str) -> None:
    """Give the number up; its receipt is taken in. Raises what `registration.cancel` raises."""
    booking = registration.cancel(session, booking_id, by, reason, route)
    if booking.payment_id is not None:
        printed = receipts.living(session, [booking.payment_id]).get(booking.payment_id)
        if printed is not None:
            receipts.void(session, printed.id, by=by, why=reason)
