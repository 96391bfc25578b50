"""Cash at a window: the same payment, the same ledger, the same facts; the cashier's word is the evidence.

Opened and settled in one transaction, for the money is on the counter. What it was for hears of it like of any other
payment (`PaymentSettled`). See decisions/0002.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, Invalid
from cloud.payments import service
from cloud.payments.contract import Evidence
from cloud.payments.model import Payment, PaymentState
from cloud.payments.service import CASH, Settled, Wish
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Taken:
    payment: Payment
    change_fen: int
    again: bool
    """The same submit had been taken before: no money moved now."""


def wish(purpose: str, subject_id: uuid.UUID, fen: int, *, payer_key: str, key: str) -> Wish:
    """A payment by cash, as `service.open_payment` wants it. `payer_key`: whose transactions list it (``person:<id>``
    where no account is behind it)."""
    return Wish(
        purpose=purpose,
        subject_id=subject_id,
        fen=fen,
        channel=CASH,
        app_id="",
        merchant_id="",
        payer="",
        payer_key=payer_key,
        key=key,
        hold_until=clock.now() + timedelta(minutes=10),
    )


def take(session: Session, wanted: Wish, *, by: str, tendered_fen: int | None = None) -> Taken:
    """Take cash for what is wished. `by`: the cashier, in whose drawer it lies; `tendered_fen`: what was handed over.

    Raises `Invalid` (too little was handed over), `Conflict` (somebody is paying for it by phone; the key was used for
    something else).
    """
    tendered = wanted.fen if tendered_fen is None else tendered_fen
    if tendered < wanted.fen:
        raise Invalid("cash.too_little", N_("收到的现金少于应收金额。"))
    payment = service.open_payment(session, wanted)
    return settle_open(session, payment, by=by, tendered_fen=tendered)


def settle_open(session: Session, payment: Payment, *, by: str, tendered_fen: int) -> Taken:
    """Take the cash for a payment that another slice opened with channel ``cash``. Raises as `take` does."""
    if payment.channel != CASH:
        raise Conflict("cash.other_channel", N_("这笔费用正在用手机支付，请稍后查看结果。"))
    change = tendered_fen - payment.fen
    if change < 0:
        raise Invalid("cash.too_little", N_("收到的现金少于应收金额。"))
    if payment.state == PaymentState.PAID:
        return Taken(payment, change, again=True)
    evidence = Evidence(
        number=payment.number,
        fen=payment.fen,
        currency=payment.currency,
        app_id="",
        merchant_id="",
        payers=(),
        transaction_id=payment.number,
        paid_at=clock.now(),
    )
    settled = service.settle(session, CASH, evidence, by="window", cashier=by)
    assert settled is Settled.NOW
    record(
        session,
        actor=by,
        action="payment.cash",
        aggregate=("payment", payment.id),
        after={"fen": payment.fen, "tendered_fen": tendered_fen, "change_fen": change},
    )
    return Taken(payment, change, again=False)
