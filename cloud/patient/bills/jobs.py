"""Telling phones of bills: something is to be paid, money came back, a refund wants a person.

Bills that arise together are told together, once each, to every account that pays for the person. The message names the
hospital, the masked patient and a sum, never a drug, a test or a department.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.billing.events import ChargeArose, ItemsRefunded, MoneyReturned
from cloud.billing.model import PURPOSE, Charge, ChargeState
from cloud.config import settings
from cloud.kit import clock
from cloud.kit.events import on
from cloud.kit.jobs import enqueue, job
from cloud.kit.money import yuan
from cloud.patient.bills import hindering
from cloud.patient.identity import reach
from cloud.payments.events import RefundStuck
from cloud.payments.model import Payment
from cloud.people import access
from cloud.people.access import Subject, display_name

assert hindering  # what keeps an account from letting go of a person is known from here on

PUSH = "patient.bills.push"
TOGETHER = timedelta(seconds=20)
"""A doctor's orders come as several bills in a few seconds: they are one message."""


@on(ChargeArose, "patient.bills.charge_arose")
def charge_arose(session: Session, event: ChargeArose) -> None:
    enqueue(session, PUSH, at=clock.now() + TOGETHER, person_id=str(event.person_id))


@job(PUSH)
def push(session: Session, person_id: str) -> None:
    """Tell of all that is to be paid and was not told yet; what was paid or taken back meanwhile is not told of."""
    told = session.execute(
        update(Charge)
        .where(Charge.person_id == uuid.UUID(person_id), Charge.state == ChargeState.PAYABLE, Charge.told_at.is_(None))
        .values(told_at=clock.now())
        .returning(Charge.id, Charge.version, Charge.total_fen)
    ).all()
    if not told:
        return
    newest = max((str(each.id), each.version) for each in told)
    parameters = {"count": str(len(told)), "yuan": yuan(sum(each.total_fen for each in told))}
    _tell(session, uuid.UUID(person_id), "charge_arose", f"bill:{newest[0]}:v{newest[1]}", parameters, "/p/bills")


@on(ItemsRefunded, "patient.bills.refunded")
def refunded(session: Session, event: ItemsRefunded) -> None:
    parameters = {"yuan": yuan(event.fen)}
    page = f"/p/bills/{event.aggregate_id}"
    if event.fen:
        _tell(session, event.person_id, "refund_arrived", f"bill_refund:{event.bill_refund_id}", parameters, page)


@on(MoneyReturned, "patient.bills.money_returned")
def money_returned(session: Session, event: MoneyReturned) -> None:
    """Who paid is told, whoever the bills are for."""
    parameters = {"yuan": yuan(event.fen)}
    _tell_payer(session, event.payment_id, "late_refund", f"bills_returned:{event.aggregate_id}", parameters)


@on(RefundStuck, "patient.bills.refund_stuck")
def refund_stuck(session: Session, event: RefundStuck) -> None:
    if event.purpose == PURPOSE:
        parameters = {"yuan": yuan(event.fen)}
        _tell_payer(session, event.payment_id, "refund_stuck", f"refund_stuck:{event.aggregate_id}", parameters)


def _tell(
    session: Session, person_id: uuid.UUID, template: str, key: str, parameters: dict[str, str], page: str
) -> int:
    """One message to each account that pays for this person; how many accounts that were."""
    told = 0
    for account_id in access.holders(session, person_id, "pay"):
        seen = access.person(session, Subject.account(account_id), person_id, "pay")
        said = {**parameters, "patient": display_name(seen.name)}
        told += _send(session, account_id, template, f"{key}:{account_id}", said, page)
    return told


def _tell_payer(session: Session, payment_id: uuid.UUID, template: str, key: str, parameters: dict[str, str]) -> None:
    payer_key = session.scalar(select(Payment.payer_key).where(Payment.id == payment_id)) or ""
    try:
        account_id = uuid.UUID(payer_key)
    except ValueError:
        return  # a window's payment: nobody's phone
    _send(session, account_id, template, key, parameters, f"/p/transactions/{payment_id}")


def _send(
    session: Session, account_id: uuid.UUID, template: str, key: str, parameters: dict[str, str], page: str
) -> bool:
    said = {
        **parameters,
        "hospital": settings().hospital_name,
        "link": f"{settings().public_url.rstrip('/')}{page}",
    }
    return reach.tell_account(session, account_id, template=template, key=key, parameters=said)
