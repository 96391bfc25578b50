"""The receipt of a payment: printed once, whoever asks and however it was paid; again only as a marked, counted copy.

What was refunded voids it; another for the rest may follow, which names the one that it replaces.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.payments import arrivals
from cloud.payments.drawers_model import RECEIPT_NUMBERS, Receipt, ReceiptCopy
from cloud.payments.model import Payment, PaymentState
from cloud.web.i18n import mark as N_

Line = Mapping[str, Any]
"""``{"name": ..., "fen": ...}`` and what else the paper shows (spec, quantity, unit)."""


def due_fen(payment: Payment) -> int:
    """What a receipt of this payment is about now: paid less refunded, refunds under way included."""
    return (payment.paid_fen or 0) - payment.reserved_fen


def issue(
    session: Session,
    payment_id: uuid.UUID,
    *,
    holder: str,
    lines: Sequence[Line],
    by: str,
    tendered_fen: int | None = None,
) -> Receipt:
    """Print the one receipt. `lines` add up to what is left of the payment.

    Raises `Conflict` (not paid, all refunded, printed already), `Invalid` (the lines' sum).
    """
    payment = arrivals.locked(session, payment_id)
    if payment.state != PaymentState.PAID:
        raise Conflict("receipt.not_paid", N_("这笔款项尚未到账，不能打印票据。"))
    fen = due_fen(payment)
    if fen <= 0:
        raise Conflict("receipt.refunded", N_("这笔款项已全部退回，不能打印票据。"))
    if sum(int(each["fen"]) for each in lines) != fen:
        raise Invalid("receipt.lines", N_("票据明细与实收金额不符，请刷新页面后重试。"))
    before = session.scalar(
        select(Receipt.id).where(Receipt.payment_id == payment_id).order_by(Receipt.printed_at.desc(), Receipt.id)
    )
    drawn = session.scalar(select(RECEIPT_NUMBERS.next_value()))
    row = Receipt(
        number=f"{clock.today():%Y}{drawn:08d}",
        payment_id=payment_id,
        fen=fen,
        holder=holder,
        lines=[dict(each) for each in lines],
        tendered_fen=tendered_fen,
        printed_by=by,
        replaces_id=before,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise Conflict("receipt.printed", N_("票据已打印过，如需再打请用“补打”。")) from None
    record(
        session,
        actor=by,
        action="receipt.print",
        aggregate=("payment", payment_id),
        after={"receipt": row.number, "fen": fen},
    )
    return row


def print_again(session: Session, receipt_id: uuid.UUID, *, by: str, why: str) -> Receipt:
    """One more copy, marked as such. Raises `Invalid` (no reason), `NotFound`, `Conflict` (voided)."""
    if not why.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    row = _held(session, receipt_id)
    if row.voided_at is not None:
        raise Conflict("receipt.voided", N_("这张票据已作废，不能补打。"))
    row.copies += 1
    session.add(ReceiptCopy(receipt_id=row.id, number=row.copies, by=by, why=why.strip()))
    record(
        session,
        actor=by,
        action="receipt.copy",
        aggregate=("payment", row.payment_id),
        after={"receipt": row.number, "copy": row.copies},
        reason=why.strip(),
    )
    return row


def void(session: Session, receipt_id: uuid.UUID, *, by: str, why: str) -> None:
    """It counts no more: refunded, or replaced by one for the rest. Raises as `print_again` does."""
    if not why.strip():
        raise Invalid("reason.missing", N_("请填写原因。"))
    payment_id = _held(session, receipt_id).payment_id
    done = session.scalar(
        update(Receipt)
        .where(Receipt.id == receipt_id, Receipt.voided_at.is_(None))
        .values(voided_at=clock.now(), voided_by=by, voided_why=why.strip())
        .returning(Receipt.number)
    )
    if done is None:
        raise Conflict("receipt.voided", N_("这张票据已作废，请刷新页面。"))
    record(
        session,
        actor=by,
        action="receipt.void",
        aggregate=("payment", payment_id),
        after={"receipt": done},
        reason=why.strip(),
    )


def _held(session: Session, receipt_id: uuid.UUID) -> Receipt:
    row = session.scalar(
        select(Receipt).where(Receipt.id == receipt_id).with_for_update().execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound("receipt.unknown", N_("没有这张票据。"))
    return row


def living(session: Session, payment_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Receipt]:
    """The receipt that counts of each payment, by payment; a payment without one has never been printed or was
    voided. Who settles with the insurance later asks here whether a payment is still without one."""
    rows = session.scalars(
        select(Receipt).where(Receipt.payment_id.in_(list(payment_ids)), Receipt.voided_at.is_(None))
    )
    return {each.payment_id: each for each in rows}
