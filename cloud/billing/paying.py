"""Several charges paid together: by phone, or in cash at a window.

A charge is in one person's hands at a time: PAYABLE → PAYING by one conditional statement each, all or none. They are
let go when the payment has closed at its channel, not before; a window may take them over at once, and money that comes
for the phone's payment all the same goes back by itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Protocol

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.billing import policy, record, settling
from cloud.billing.model import (
    PURPOSE,
    BillPayment,
    BillPaymentLine,
    BillPaymentState,
    Charge,
    ChargeState,
    ItemState,
)
from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.ids import new_id
from cloud.payments import cash
from cloud.payments import service as payments
from cloud.payments.cash import Taken
from cloud.payments.model import Payment, PaymentState
from cloud.payments.service import CASH, LARGEST_FEN, Wish
from cloud.web.i18n import mark as N_

MOST_CHARGES = 50


class Payer(Protocol):
    """Who pays, at their channel (`cloud.patient.identity` makes one of an account)."""

    @property
    def channel(self) -> str: ...
    @property
    def app_id(self) -> str: ...
    @property
    def merchant_id(self) -> str: ...
    @property
    def payer(self) -> str: ...
    @property
    def payer_key(self) -> str: ...


def begin(
    session: Session,
    charge_ids: Collection[uuid.UUID],
    payer: Payer,
    *,
    key: str,
    by: str,
    expected_fen: int | None = None,
) -> Payment:
    """A payment for these charges, open for the phone; commit, then lead to its page.

    `key`: the submit's own; the same again gives the same payment. So does the same choice of charges by the same payer
    while its payment can still be paid. `expected_fen`: the sum the person saw.

    Raises `NotFound`, `Invalid` (none, too many, too much at once), `Conflict` (``charge.changed``: another sum than
    shown; ``charge.paying``: somebody is paying one of them; ``charge.paid``; ``charge.void``; ``payment.key_used``).
    """
    wanted = _chosen(charge_ids)
    known = session.scalar(select(BillPayment).where(BillPayment.key == key))
    if known is not None:
        return _same(session, known, wanted, payer)
    charges = record.locked_charges(session, wanted)
    under_way = _under_way(session, charges, payer)
    if under_way is not None:
        return under_way
    return _open(session, charges, payer, key=key, by=by, expected_fen=expected_fen)


def _chosen(charge_ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
    wanted = sorted(set(charge_ids))
    if not 0 < len(wanted) <= MOST_CHARGES:
        raise Invalid("charge.none_chosen", N_("请选择要缴费的账单，一次最多 50 张。"))
    return wanted


def _same(session: Session, known: BillPayment, wanted: Sequence[uuid.UUID], payer: Payer) -> Payment:
    held = [each.charge_id for each in settling.lines_of(session, known.id)]
    if held != list(wanted) or known.payer_key != payer.payer_key or known.payment_id is None:
        raise Conflict("payment.key_used", N_("本次提交与之前的内容不一致，请返回后重新提交。"))
    return session.get_one(Payment, known.payment_id)


def _under_way(session: Session, charges: Sequence[Charge], payer: Payer) -> Payment | None:
    """The payer's own payment for exactly these charges, if it can still be paid."""
    holders = {each.paying_id for each in charges if each.state == ChargeState.PAYING}
    if len(holders) != 1 or any(each.state != ChargeState.PAYING for each in charges):
        return None
    group = session.get_one(BillPayment, holders.pop())
    payment = session.get_one(Payment, group.payment_id)
    mine = (group.payer_key, payment.channel, payment.payer) == (payer.payer_key, payer.channel, payer.payer)
    whole = [each.charge_id for each in settling.lines_of(session, group.id)] == [each.id for each in charges]
    live = payment.state in (PaymentState.OPEN, PaymentState.PREPARED) and payment.until > clock.now()
    return payment if mine and whole and live else None


def _open(
    session: Session, charges: Sequence[Charge], payer: Payer, *, key: str, by: str, expected_fen: int | None
) -> Payment:
    for each in charges:
        if each.state != ChargeState.PAYABLE:
            raise why_not_payable(each)
    fen = sum(each.total_fen for each in charges)
    if expected_fen is not None and expected_fen != fen:
        raise Conflict("charge.changed", N_("账单金额已变化，请返回核对后重新缴费。"))
    if fen > LARGEST_FEN:
        raise Invalid("payment.amount", N_("金额应大于 0，且不超过 10 万元。"))
    group = BillPayment(id=new_id(), key=key, payer_key=payer.payer_key, by=by, fen=fen)
    session.add(group)
    session.flush()
    for each in charges:
        if record.move_charge(session, each.id, (ChargeState.PAYABLE,), ChargeState.PAYING, paying_id=group.id) is None:
            raise why_not_payable(each)
        session.add(
            BillPaymentLine(bill_payment_id=group.id, charge_id=each.id, version=each.version, fen=each.total_fen)
        )
        _items(session, each.id, ItemState.PAYABLE, ItemState.PAYING)
        record.tell_pages(session, each)
    payment = payments.open_payment(
        session,
        Wish(
            purpose=PURPOSE,
            subject_id=group.id,
            fen=fen,
            channel=payer.channel,
            app_id=payer.app_id,
            merchant_id=payer.merchant_id,
            payer=payer.payer,
            payer_key=payer.payer_key,
            key=f"bills:{group.id}",
            hold_until=clock.now() + timedelta(minutes=policy.hold_minutes(session)),
        ),
    )
    session.flush()
    group.payment_id = payment.id
    session.flush()
    return payment


def _items(session: Session, charge_id: uuid.UUID, come_from: ItemState, goes_to: ItemState) -> None:
    record.move_items(session, [each.id for each in record.items_of(session, charge_id)], (come_from,), goes_to)


def why_not_payable(charge: Charge) -> Conflict:
    sentence = {
        ChargeState.PAYING: N_("账单 {number} 正在支付，请完成或取消那次支付后再试。"),
        ChargeState.PAID: N_("账单 {number} 已缴费。"),
        ChargeState.VOID: N_("账单 {number} 已作废。"),
    }.get(ChargeState(charge.state), N_("账单 {number} 刚刚有变化，请刷新页面。"))
    return Conflict(f"charge.{charge.state}", sentence, number=charge.number)


def give_up(session: Session, bill_payment_id: uuid.UUID, *, by: str) -> None:
    """The payer changed their mind: the payment is closed at its channel now, and its charges are let go after that."""
    group = session.get(BillPayment, bill_payment_id)
    if group is not None and group.payment_id is not None:
        payments.give_up(session, group.payment_id, by=by)


def release(session: Session, bill_payment_id: uuid.UUID) -> None:
    """Its payment has closed: what it still has is payable again. Called twice it does nothing the second time."""
    group = settling.locked(session, bill_payment_id)
    if group is None or group.state != BillPaymentState.OPEN:
        return
    if session.scalar(select(Payment.state).where(Payment.id == group.payment_id)) != PaymentState.CLOSED:
        return
    record.locked_charges(session, [each.charge_id for each in settling.lines_of(session, group.id)])
    for moved in _let_go(session, group.id):
        _items(session, moved.id, ItemState.PAYING, ItemState.PAYABLE)
        record.tell_pages(session, moved)
    group.state = BillPaymentState.CLOSED
    session.flush()


def _let_go(
    session: Session, bill_payment_id: uuid.UUID, charge_ids: Collection[uuid.UUID] | None = None
) -> list[Charge]:
    mine = [Charge.state == ChargeState.PAYING, Charge.paying_id == bill_payment_id]
    if charge_ids is not None:
        mine.append(Charge.id.in_(list(charge_ids)))
    return list(
        session.scalars(
            update(Charge)
            .where(*mine)
            .values(state=ChargeState.PAYABLE, paying_id=None)
            .returning(Charge)
            .execution_options(populate_existing=True)
        )
    )


# ---------------------------------------------------------------------- the window


def take_over(session: Session, charge_ids: Collection[uuid.UUID], *, by: str, reason: str) -> None:
    """The patient stands at the window while their phone's payment is still open: the window has the charges now.

    The phone's payment is closed as soon as its channel lets us; money that comes for it all the same goes back by
    itself.
    """
    if not reason.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    held = record.locked_charges(session, _chosen(charge_ids))
    for each in held:
        if each.state != ChargeState.PAYING or each.paying_id is None:
            continue
        group_id = each.paying_id
        _let_go(session, group_id, [each.id])
        _items(session, each.id, ItemState.PAYING, ItemState.PAYABLE)
        give_up(session, group_id, by=by)
        audit.record(
            session,
            actor=by,
            action="charge.take_over",
            aggregate=("charge", each.id),
            before={"bill_payment": group_id},
            reason=reason.strip(),
        )


class _Cash:
    channel, app_id, merchant_id, payer = CASH, "", "", ""

    def __init__(self, payer_key: str) -> None:
        self.payer_key = payer_key


def take_cash(
    session: Session,
    charge_ids: Collection[uuid.UUID],
    *,
    by: str,
    key: str,
    payer_key: str = "",
    expected_fen: int | None = None,
    tendered_fen: int | None = None,
) -> Taken:
    """The cashier took the money: paid at once, in the cashier's drawer. The same `key` again is the same payment.

    Raises as `begin` does, and ``cash.too_little``; a charge that a phone is paying wants `take_over` first.
    """
    payment = begin(session, charge_ids, _Cash(payer_key or "window"), key=key, by=by, expected_fen=expected_fen)
    taken = cash.settle_open(
        session, payment, by=by, tendered_fen=payment.fen if tendered_fen is None else tendered_fen
    )
    settling.settle(session, payment.subject_id)
    return taken


def invoice(session: Session, charge_id: uuid.UUID, number: str, *, by: str) -> Charge:
    """Its paper invoice was printed, once. Raises `Conflict` (not paid, printed before)."""
    done = session.scalar(
        update(Charge)
        .where(Charge.id == charge_id, Charge.state == ChargeState.PAID, Charge.invoice_number.is_(None))
        .values(invoice_number=number.strip(), invoiced_at=clock.now())
        .returning(Charge)
        .execution_options(populate_existing=True)
    )
    if done is None:
        raise Conflict("charge.invoiced", N_("这张账单未缴费，或发票已打印过。"))
    audit.record(
        session, actor=by, action="charge.invoice", aggregate=("charge", charge_id), after={"number": number.strip()}
    )
    return done
