"""The cashier's verbs over bills, payments and receipts: each one act of one person in one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.billing import paying, refunding
from cloud.billing.model import PURPOSE, Allocation, BillRefund, Charge, ChargeItem
from cloud.kit.errors import Conflict, NotFound
from cloud.patient.registration import service as registration
from cloud.payments import receipts
from cloud.payments.drawers_model import Receipt
from cloud.payments.model import Payment
from cloud.people import service as people
from cloud.people.identity import person_ids
from cloud.people.model import Person
from cloud.web.i18n import mark as N_
from cloud.window import bookings


@dataclass(frozen=True, slots=True)
class Settled:
    receipt: Receipt
    change_fen: int


def take(
    session: Session,
    person: Person,
    charge_ids: Sequence[uuid.UUID],
    *,
    by: str,
    key: str,
    expected_fen: int,
    tendered_fen: int,
) -> Settled:
    """Cash for these bills, and their receipt. The same `key` again gives the receipt of the first time.

    Raises what `paying.take_cash` raises, and `NotFound` for somebody else's bill.
    """
    of_others = select(Charge.id).where(
        Charge.id.in_(charge_ids), Charge.person_id.not_in(person_ids(session, person.id))
    )
    if session.scalar(of_others.limit(1)) is not None:
        raise NotFound("charge.unknown", N_("没有这张账单。"))
    taken = paying.take_cash(
        session,
        charge_ids,
        by=by,
        key=key,
        payer_key=f"person:{person.id}",
        expected_fen=expected_fen,
        tendered_fen=tendered_fen,
    )
    before = receipts.living(session, [taken.payment.id]).get(taken.payment.id)
    return Settled(before or issue(session, taken.payment.id, by=by, tendered_fen=tendered_fen), taken.change_fen)


def issue(session: Session, payment_id: uuid.UUID, *, by: str, tendered_fen: int | None = None) -> Receipt:
    """The one receipt of a payment, whichever way it was paid; its bills are invoiced from then on.

    Raises as `receipts.issue` does; `NotFound` for a payment that is for nothing of ours.
    """
    payment = session.get(Payment, payment_id)
    if payment is not None and payment.purpose == registration.PURPOSE:
        return bookings.issue(session, payment, by=by, tendered_fen=tendered_fen)
    if payment is None or payment.purpose != PURPOSE:
        raise NotFound("payment.unknown", N_("没有这笔交易。"))
    charges = session.scalars(select(Charge).where(Charge.payment_id == payment_id).order_by(Charge.number)).all()
    if not charges:
        raise Conflict("receipt.not_settled", N_("这笔款项正在入账，请稍后再试。"))
    lines = _lines(session, payment_id)
    holder = people.get(session, charges[0].person_id).name
    receipt = receipts.issue(session, payment_id, holder=holder, lines=lines, by=by, tendered_fen=tendered_fen)
    for at, each in enumerate((each for each in charges if each.invoice_number is None), 1):
        number = receipt.number if len(charges) == 1 else f"{receipt.number}-{at}"
        paying.invoice(session, each.id, number, by=by)
    return receipt


def _lines(session: Session, payment_id: uuid.UUID) -> list[dict[str, object]]:
    """What is left of each item of this payment, by bill and in its source's order."""
    rows = session.execute(
        select(Allocation.fen - Allocation.refunded_fen, ChargeItem, Charge.number)
        .join(ChargeItem, ChargeItem.id == Allocation.item_id)
        .join(Charge, Charge.id == ChargeItem.charge_id)
        .where(Allocation.payment_id == payment_id)
        .order_by(Charge.number, ChargeItem.position)
    )
    return [
        {
            "bill": number,
            "name": item.name,
            "spec": item.spec,
            "quantity": f"{item.quantity:f}".rstrip("0").rstrip("."),
            "unit": item.unit,
            "fen": int(left),
        }
        for left, item, number in rows
        if left > 0
    ]


def refund(
    session: Session,
    charge_id: uuid.UUID,
    item_ids: Sequence[uuid.UUID],
    *,
    by: str,
    reason: str,
    route: str,
) -> BillRefund:
    """Give the money of these items back, to the channel or in cash out of this cashier's drawer.

    The receipt, if there is one, is taken in and voided; what is left of its payment gets another. Raises what
    `refunding.ask` raises.
    """
    asked = refunding.ask(session, charge_id, list(item_ids), by=by, reason=reason, at_window=True, route=route)
    printed = receipts.living(session, [asked.payment_id]).get(asked.payment_id)
    payment = session.get_one(Payment, asked.payment_id, populate_existing=True)
    if printed is not None and receipts.due_fen(payment) != printed.fen:
        receipts.void(session, printed.id, by=by, why=reason)
        if receipts.due_fen(payment) > 0:
            issue(session, payment.id, by=by)
    return asked
