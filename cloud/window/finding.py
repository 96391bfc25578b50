"""Whom the cashier means: a scanned card, an identity card, a voucher, a bill, a payment, a receipt, or a name."""

from __future__ import annotations

import re
import uuid

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from cloud.billing.model import Charge
from cloud.lis.orders import lookup
from cloud.patient.registration.model import Booking
from cloud.payments.drawers_model import Receipt
from cloud.payments.model import Payment, Refund
from cloud.people.access import Subject, visible_to
from cloud.people.identity import surviving_id
from cloud.people.match import by_card, by_id_number
from cloud.people.model import Person
from cloud.people.rules import normal_id_number

MOST = 20


def persons(session: Session, subject: Subject, text: str) -> list[Person]:
    """One for a number that names one; several for a name or its initials in pinyin."""
    wanted = text.strip()
    if not wanted:
        return []
    exact = _by_number(session, wanted)
    if exact:
        ids = {surviving_id(session, each) for each in exact}
        found = select(Person).where(Person.id.in_(ids), Person.id.in_(visible_to(subject))).order_by(Person.name)
        return list(session.scalars(found))
    if re.fullmatch(r"[a-z]{2,8}", wanted):
        spelled = select(Person).where(
            Person.id.in_(visible_to(subject)),
            Person.status == "active",
            Person.initials.startswith(wanted, autoescape=True),
        )
        return list(session.scalars(spelled.order_by(Person.name, Person.id).limit(MOST)))
    return lookup.patients(session, subject, wanted, limit=MOST)


def _by_number(session: Session, text: str) -> set[uuid.UUID]:
    holder = by_card(session, text)
    if holder is None and re.fullmatch(r"\d{17}[\dXx]", text):
        holder = by_id_number(session, normal_id_number(text))
    if holder is not None:
        return {holder.id}
    found = set(session.scalars(select(Charge.person_id).where(Charge.number == text).limit(2)))
    found |= set(session.scalars(select(Booking.person_id).where(Booking.number == text)))
    return found or _of_payment(session, text)


def _of_payment(session: Session, text: str) -> set[uuid.UUID]:
    if not re.fullmatch(r"[0-9A-Z]{10,40}", text):
        return set()
    wanted = select(Payment.id).where(
        or_(
            Payment.number == text,
            Payment.transaction_id == text,
            Payment.id.in_(select(Refund.payment_id).where(Refund.number == text)),
            Payment.id.in_(select(Receipt.payment_id).where(Receipt.number == text)),
        )
    )
    found = set(session.scalars(select(Charge.person_id).where(Charge.payment_id.in_(wanted)).limit(2)))
    return found | set(session.scalars(select(Booking.person_id).where(Booking.payment_id.in_(wanted)).limit(2)))
