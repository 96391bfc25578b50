"""The receipt of a payment: printed once, whoever asks and however it was paid; again only as a marked, counted copy.

What was refunded voids it; another for the rest may follow, which names the one that it replaces.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.kit.ids import new_id
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


def print_original(session: Session, receipt_id: uuid.UUID, *, by: str) -> Receipt:
    """The original goes to paper: once. Raises `NotFound`, `Conflict` (voided; it has left already)."""
    row = _held(session, receipt_id)
    if row.voided_at is not None:
        raise Conflict("receipt.voided", N_("这张票据已作废，请刷新页面。"))
    made = session.scalar(
        insert(ReceiptCopy)
        .values(id=new_id(), receipt_id=row.id, number=0, at=clock.now(), by=by, why="")
        .on_conflict_do_nothing(constraint="uq_receipt_copy_number")
        .returning(ReceiptCopy.id)
    )
    if made is None:
        raise Conflict("receipt.printed", N_("票据已打印过，如需再打请用“补打”。"))
    record(
        session,
        actor=by,
        action="receipt.original",
        aggregate=("payment", row.payment_id),
        after={"receipt": row.number},
    )
    return row


def copies_of(session: Session, receipt_id: uuid.UUID) -> list[ReceiptCopy]:
    """Every sheet that left, the original (number 0) first."""
    found = select(ReceiptCopy).where(ReceiptCopy.receipt_id == receipt_id).order_by(ReceiptCopy.number)
    return list(session.scalars(found))


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


_DIGITS = "零壹贰叁肆伍陆柒捌玖"
_PLACES = ("", "拾", "佰", "仟")
_GROUPS = ("", "万", "亿")


def in_words(fen: int) -> str:
    """The amount in the characters that a receipt in China writes it in (``1234`` fen: 壹拾贰元叁角肆分).

    Source: the rules for filling in bills, 正确填写票据和结算凭证的基本规定: 整 after yuan or jiao, 零 for gaps.
    """
    if fen < 0 or fen >= 10**14:
        raise ValueError("an amount of a receipt")
    whole, jiao, cent = fen // 100, fen // 10 % 10, fen % 10
    text = f"{_whole(whole)}元" if whole else ""
    if not jiao and not cent:
        return f"{text or '零元'}整"
    if jiao:
        text += f"{_DIGITS[jiao]}角"
    elif whole:
        text += "零"
    return text + (f"{_DIGITS[cent]}分" if cent else "整")


def _whole(number: int) -> str:
    groups: list[int] = []
    while number:
        number, group = divmod(number, 10_000)
        groups.append(group)
    text, gap = "", False
    for at in reversed(range(len(groups))):
        group = groups[at]
        if not group:
            gap = bool(text)
            continue
        if text and (gap or group < 1000):
            text += "零"
        text += _four(group) + _GROUPS[at]
        gap = False
    return text


def _four(group: int) -> str:
    text, gap = "", False
    for place in reversed(range(4)):
        digit = group // 10**place % 10
        if not digit:
            gap = bool(text)
            continue
        text += ("零" if gap else "") + _DIGITS[digit] + _PLACES[place]
        gap = False
    return text
