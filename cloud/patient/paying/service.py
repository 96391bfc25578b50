"""The pay page's questions. What is money and what is not is decided in the payments slice; here it is only shown."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import clock
from cloud.kit.errors import NotFound, TooMany
from cloud.kit.jobs import Begin, enqueue
from cloud.patient.paying import purposes
from cloud.patient.paying.rules import Stage, stage_of
from cloud.payments import asking
from cloud.payments import service as payments
from cloud.payments.model import Payment
from cloud.web import rate
from cloud.web.i18n import mark as N_

QUESTIONS = (12, timedelta(minutes=1))
"""How often a phone may have the channel asked about one payment; further looks read what is stored."""


@dataclass(frozen=True, slots=True)
class Paying:
    """One payment as its payer sees it."""

    payment: Payment
    title: str
    about: str
    stage: Stage
    path: str
    """Where to go when it is over, one way or the other."""


def mine(session: Session, account_id: uuid.UUID, payment_id: uuid.UUID) -> Paying:
    """Raises `NotFound`, alike for no such payment and somebody else's."""
    payment = session.get(Payment, payment_id)
    if payment is None or payment.payer_key != str(account_id):
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    purpose = purposes.of(payment.purpose)
    stage = stage_of(payment, clock.now())
    path = f"/p/transactions/{payment.id}" if stage == Stage.LATE else purpose.path_of(session, payment.subject_id)
    about = purpose.about(session, payment.subject_id) if purpose.about else ""
    return Paying(payment, purpose.title, about, stage, path)


def prepare(begin: Begin, paying: Paying, *, client_ip: str) -> Mapping[str, Any]:
    """What the phone hands to the channel. No transaction may be open. Raises `Conflict`, `Unavailable`."""
    known = settings()
    return asking.prepare(
        begin,
        paying.payment.id,
        subject=f"{known.hospital_name}-{paying.title}",
        client_ip=client_ip,
        return_url=f"{known.public_url.rstrip('/')}{back_path(paying.payment.id)}",
    )


def back_path(payment_id: uuid.UUID) -> str:
    """Where the phone comes back from the cashier; that it came back proves nothing, so the channel is asked."""
    return f"/p/pay/{payment_id}?back=1"


def ask(begin: Begin, payment_id: uuid.UUID) -> None:
    """Ask the channel now, unless this payment was asked about often enough this minute. No transaction may be open."""
    at_most, within = QUESTIONS
    try:
        with begin() as session:
            rate.count(session, act="patient.pay.ask", subject=str(payment_id), at_most=at_most, within=within)
    except TooMany:
        return
    asking.ask(begin, payment_id, at_once=True)


def give_up(session: Session, account_id: uuid.UUID, payment_id: uuid.UUID) -> str:
    """The payer changed their mind; the channel is asked and the payment closed. Where to go next."""
    paying = mine(session, account_id, payment_id)
    if paying.stage == Stage.OPEN:
        payments.give_up(session, payment_id, by=f"account:{account_id}")
        enqueue(session, asking.JOB, payment_id=str(payment_id))
    return paying.path
