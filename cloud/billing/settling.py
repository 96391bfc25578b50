"""How charges become paid: by a payment of ours, at their source's own window, or since they cost nothing.

Each charge of a payment is claimed by its own conditional statement. What can't be claimed any more (paid at a window
meanwhile, changed, taken back) goes back by itself, under a key that is the same however often this runs.
"""

from __future__ import annotations

import uuid
from datetime import datetime

import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from cloud.billing import record
from cloud.billing.events import ChargePaid, MoneyReturned
from cloud.billing.model import (
    Allocation,
    BillPayment,
    BillPaymentLine,
    BillPaymentState,
    Charge,
    ChargeItem,
    ChargeState,
    ItemState,
)
from cloud.kit import audit
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.events import publish
from cloud.payments import refunds
from cloud.payments.model import Payment, PaymentState
from cloud.payments.service import CASH
from cloud.web.i18n import mark as N_

log = structlog.get_logger()

UNPAID = (ChargeState.PAYABLE, ChargeState.PAYING)
ITEMS_UNPAID = (ItemState.PAYABLE, ItemState.PAYING)


def lines_of(session: Session, bill_payment_id: uuid.UUID) -> list[BillPaymentLine]:
    found = select(BillPaymentLine).where(BillPaymentLine.bill_payment_id == bill_payment_id)
    return list(session.scalars(found.order_by(BillPaymentLine.charge_id)))


def locked(session: Session, bill_payment_id: uuid.UUID) -> BillPayment | None:
    return session.scalar(
        select(BillPayment)
        .where(BillPayment.id == bill_payment_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def settle(session: Session, bill_payment_id: uuid.UUID) -> None:
    """Its payment is paid: charges and items become paid, the payment is allocated to the fen, the rest goes back.

    Called twice it does nothing the second time. Also behind a release (late money): a bill that is still payable as it
    was is paid by it.
    """
    group = locked(session, bill_payment_id)
    if group is None or group.state == BillPaymentState.SETTLED or group.payment_id is None:
        return
    payment = session.get_one(Payment, group.payment_id, populate_existing=True)
    if payment.state != PaymentState.PAID or payment.paid_at is None:
        return
    lines = lines_of(session, group.id)
    charges = {each.id: each for each in record.locked_charges(session, [each.charge_id for each in lines])}
    returned = 0
    for line in lines:
        if not _pay(session, group, payment, line):
            returned += line.fen
    session.flush()
    group.returned_fen, group.state = returned, BillPaymentState.SETTLED
    session.flush()
    audit.record(
        session,
        actor=f"channel:{payment.channel}",
        action="bill_payment.settle",
        aggregate=("bill_payment", group.id),
        after={"fen": group.fen, "returned_fen": returned, "payment": payment.number, "late": payment.late},
    )
    if returned:
        _give_back(session, group, payment, returned, sorted({each.person_id for each in charges.values()}))


def _pay(session: Session, group: BillPayment, payment: Payment, line: BillPaymentLine) -> bool:
    """One charge of the group; False: somebody else has it, or it is not what it was."""
    moved = session.scalar(
        update(Charge)
        .where(
            Charge.id == line.charge_id,
            Charge.version == line.version,
            or_(
                Charge.state == ChargeState.PAYABLE,
                (Charge.state == ChargeState.PAYING) & (Charge.paying_id == group.id),
            ),
        )
        .values(
            state=ChargeState.PAID,
            paid_how="payment",
            payment_id=payment.id,
            paid_at=payment.paid_at,
            paying_id=None,
        )
        .returning(Charge)
        .execution_options(populate_existing=True)
    )
    if moved is None:
        return False
    for item in settle_items(session, moved):
        session.add(Allocation(bill_payment_id=group.id, payment_id=payment.id, item_id=item.id, fen=item.fen))
    _tell(session, moved)
    return True


def settle_items(session: Session, charge: Charge) -> list[ChargeItem]:
    """Behind the charge's own step to PAID: its items follow; what was done before it was paid is EXECUTED at once."""
    items = record.locked_items(session, [each.id for each in record.items_of(session, charge.id)])
    done = [each.id for each in items if each.executed_at is not None]
    record.move_items(session, done, ITEMS_UNPAID, ItemState.EXECUTED)
    record.move_items(session, [each.id for each in items if each.id not in done], ITEMS_UNPAID, ItemState.PAID)
    return items


def _tell(session: Session, charge: Charge) -> None:
    publish(
        session,
        ChargePaid(
            aggregate_id=charge.id,
            person_id=charge.person_id,
            source=charge.source,
            number=charge.number,
            how=charge.paid_how or "",
            payment_id=charge.payment_id,
            fen=charge.total_fen,
        ),
    )
    record.tell_pages(session, charge)


def _give_back(session: Session, group: BillPayment, payment: Payment, fen: int, person_ids: list[uuid.UUID]) -> None:
    refunds.ask_refund(
        session,
        payment.id,
        fen,
        key=f"bills:{group.id}:returned",
        reason="账单已由其他方式缴费或已变更",
        by="system",
        route="cash" if payment.channel == CASH else "channel",
    )
    publish(
        session,
        MoneyReturned(aggregate_id=group.id, payment_id=payment.id, person_ids=tuple(person_ids), fen=fen),
    )
    log.warning("money for bills goes back by itself", payment=payment.number, fen=fen, late=payment.late)


# ---------------------------------------------------------------------- without a payment of ours


def without_money(session: Session, charge: Charge, *, how: str, at: datetime, receipt: str | None = None) -> Charge:
    """The charge, whose row is held, and its items become paid without a payment of ours."""
    moved = record.move_charge(
        session, charge.id, UNPAID, ChargeState.PAID, paid_how=how, paid_at=at, receipt=receipt, paying_id=None
    )
    if moved is None:
        raise Conflict("charge.paid", N_("账单 {number} 已缴费。"), number=charge.number)
    settle_items(session, moved)
    _tell(session, moved)
    return moved


def paid_elsewhere(session: Session, source: str, number: str, *, at: datetime, receipt: str | None, by: str) -> Charge:
    """Its source took the money itself (its own window). Said twice, it is one. A phone's payment that is under way or
    comes later is sent back by itself.

    Raises `NotFound`, `Conflict` (``charge.paid``: it was paid here too; ``charge.void``: a case is open for both).
    """
    known = record.by_number(session, source, number)
    if known is None:
        raise NotFound("charge.unknown", N_("没有这张账单。"))
    held = record.locked_charges(session, [known.id])[0]
    if held.state == ChargeState.PAID and held.paid_how != "payment":
        return held
    if held.state == ChargeState.PAID:
        record.open_case(held, "charge_paid_twice", fen=held.total_fen, receipt=receipt)
        raise Conflict("charge.paid", N_("账单 {number} 已缴费。"), number=number)
    if held.state == ChargeState.VOID:
        record.open_case(held, "void_charge_paid", fen=held.total_fen, receipt=receipt)
        raise Conflict("charge.void", N_("账单 {number} 已作废。"), number=number)
    moved = without_money(session, held, how="elsewhere", at=at, receipt=receipt)
    audit.record(
        session,
        actor=by,
        action="charge.paid_elsewhere",
        aggregate=("charge", moved.id),
        after={"receipt": receipt, "fen": moved.total_fen},
    )
    return moved
