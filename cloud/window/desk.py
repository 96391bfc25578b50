"""What the cashier sees of one patient: bills to pay, bills paid, each with its items, payment, receipt and refunds."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.billing import refunding
from cloud.billing.model import Charge, ChargeItem, ChargeState
from cloud.billing.refunding import RefundView
from cloud.billing.rules import standing
from cloud.kit import clock
from cloud.kit.db import among
from cloud.payments import receipts
from cloud.payments.drawers_model import Receipt
from cloud.payments.model import Payment

LOOKED_BACK = timedelta(days=180)
MOST_PAID = 60


@dataclass(frozen=True, slots=True)
class Bill:
    """One charge with what stands around it. `refundable`: its items that may be refunded here and now."""

    charge: Charge
    items: Sequence[ChargeItem]
    standing: str
    payment: Payment | None = None
    receipt: Receipt | None = None
    refunds: Sequence[RefundView] = ()

    @property
    def refundable(self) -> list[ChargeItem]:
        return [each for each in self.items if each.state == "paid"] if self.payment is not None else []


@dataclass(frozen=True, slots=True)
class Desk:
    to_pay: Sequence[Bill]
    paid: Sequence[Bill]

    @property
    def due_fen(self) -> int:
        return sum(each.charge.total_fen for each in self.to_pay if each.charge.state == ChargeState.PAYABLE)


def of(session: Session, person_ids: Sequence[uuid.UUID]) -> Desk:
    """Of one patient, merged files included."""
    open_ones = session.scalars(
        select(Charge)
        .where(Charge.person_id.in_(person_ids), Charge.state.in_((ChargeState.PAYABLE, ChargeState.PAYING)))
        .order_by(Charge.made_at, Charge.id)
    ).all()
    paid = session.scalars(
        select(Charge)
        .where(
            Charge.person_id.in_(person_ids),
            Charge.state == ChargeState.PAID,
            Charge.made_at >= clock.now() - LOOKED_BACK,
        )
        .order_by(Charge.paid_at.desc(), Charge.id)
        .limit(MOST_PAID)
    ).all()
    items = _items(session, [*open_ones, *paid])
    payment_ids = {each.payment_id for each in paid if each.payment_id}
    payments = {each.id: each for each in session.scalars(select(Payment).where(among(Payment.id, payment_ids)))}
    printed = receipts.living(session, payment_ids)
    return Desk(
        to_pay=[_bill(each, items.get(each.id, [])) for each in open_ones],
        paid=[
            _bill(
                each,
                items.get(each.id, []),
                payments.get(each.payment_id) if each.payment_id else None,
                printed.get(each.payment_id) if each.payment_id else None,
                refunding.refunds_of(session, each.id) if _may_have_refunds(items.get(each.id, [])) else (),
            )
            for each in paid
        ],
    )


def _may_have_refunds(items: Sequence[ChargeItem]) -> bool:
    return any(each.state in ("refunding", "refunded") for each in items)


def _bill(
    charge: Charge,
    items: Sequence[ChargeItem],
    payment: Payment | None = None,
    receipt: Receipt | None = None,
    refunds: Sequence[RefundView] = (),
) -> Bill:
    return Bill(charge, items, str(standing(charge.state, [each.state for each in items])), payment, receipt, refunds)


def _items(session: Session, charges: Sequence[Charge]) -> dict[uuid.UUID, list[ChargeItem]]:
    found: dict[uuid.UUID, list[ChargeItem]] = {}
    rows = session.scalars(
        select(ChargeItem)
        .join(Charge, (Charge.id == ChargeItem.charge_id) & (Charge.version == ChargeItem.version))
        .where(among(Charge.id, [each.id for each in charges]))
        .order_by(ChargeItem.position)
    )
    for each in rows:
        found.setdefault(each.charge_id, []).append(each)
    return found
