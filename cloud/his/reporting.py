"""Every line of the payments' ledger is told to the HIS once, and so is every item that was executed here.

A report is frozen in the transaction of the fact's reaction and sent by `delivery` until it is acknowledged. What an
event did not bring (a HIS connected later today, a reaction that was given up) the sweep finds in the ledger itself.
What money was for says the slice of its purpose (`tells`); without a word from it the HIS books the amount alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.his import mapping, money, outbox
from cloud.his.model import HisOutbox
from cloud.his.money import Concern, Movement
from cloud.his.patients import facts_of
from cloud.kit import clock
from cloud.payments.model import LedgerEntry, Payment, Refund

LOOK_BACK = timedelta(days=3)
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Subject:
    """Who the money was for and what: a charge's items, or an appointment, in the HIS's own numbers."""

    person_id: uuid.UUID
    concerns: tuple[Concern, ...] = ()


Tell = Callable[[Session, Payment, Refund | None], Subject | None]
_told_by: dict[str, Tell] = {}


def tells(purpose: str, tell: Tell) -> None:
    """A slice says what its payments (and their refunds) were for. `tell` reads only; None: nothing to add."""
    _told_by[purpose] = tell


def report_money(session: Session, payment_id: uuid.UUID) -> list[HisOutbox]:
    """Every line of the ledger for this payment that the HIS was not told of yet; none without a HIS."""
    if not settings().his_host:
        return []
    return _report(session, _untold().where(LedgerEntry.payment_id == payment_id))


def sweep(session: Session) -> int:
    """Lines of the last days that no event brought here."""
    if not settings().his_host:
        return 0
    since = clock.now() - LOOK_BACK
    return len(_report(session, _untold().where(LedgerEntry.recorded_at >= since).limit(AT_ONCE)))


def report_execution(
    session: Session,
    *,
    key: str,
    lane: str,
    person_id: uuid.UUID,
    items: Sequence[Concern],
    at: datetime,
    by: str,
) -> HisOutbox | None:
    """ORM^O01 once for `key`; None when it is there already or no HIS is connected. `by`: a name or a department."""
    if not settings().his_host or not items:
        return None
    names, zone, patient = mapping.outgoing(), clock.hospital_zone(), facts_of(session, person_id)
    return outbox.keep(
        session,
        key=key,
        lane=lane,
        kind="executed",
        title="ORM^O01",
        write=lambda number: money.executed(tuple(items), patient, at, by, number, clock.now(), zone, names),
    )


def _untold() -> Select[LedgerEntry, Payment, Refund]:
    """Lines of the ledger in the order they were written, with payment and refund."""
    return (
        select(LedgerEntry, Payment, Refund)
        .join(Payment, Payment.id == LedgerEntry.payment_id)
        .outerjoin(Refund, Refund.id == LedgerEntry.refund_id)
        .where(~select(HisOutbox.id).where(HisOutbox.ledger_id == LedgerEntry.id).exists())
        .order_by(LedgerEntry.id)
    )


def _report(session: Session, untold: Select[LedgerEntry, Payment, Refund]) -> list[HisOutbox]:
    found = session.execute(untold).all()
    made = [_report_one(session, entry, payment, refund) for entry, payment, refund in found]
    return [each for each in made if each is not None]


def _report_one(session: Session, entry: LedgerEntry, payment: Payment, refund: Refund | None) -> HisOutbox | None:
    names, zone = mapping.outgoing(), clock.hospital_zone()
    tell = _told_by.get(payment.purpose)
    subject = tell(session, payment, refund) if tell is not None else None
    told = Movement(
        number=refund.number if refund is not None else payment.number,
        payment_number=payment.number,
        fen=entry.fen,
        at=entry.at,
        channel=entry.channel,
        purpose=payment.purpose,
        patient=facts_of(session, subject.person_id) if subject is not None else money.NOBODY,
        concerns=subject.concerns if subject is not None else (),
    )
    return outbox.keep(
        session,
        key=f"ledger:{entry.id}",
        lane=f"payment:{payment.id}",
        kind="refund" if refund is not None else "payment",
        title=f"DFT^P03 {told.number}",
        write=lambda number: money.movement(told, number, clock.now(), zone, names),
        ledger_id=entry.id,
        fen=entry.fen,
        booked_at=entry.at,
    )
