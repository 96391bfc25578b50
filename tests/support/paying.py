"""A payment's life driven step by step in tests: opened, prepared, paid at the simulator, asked, refunded."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sqlalchemy import func, select, text, update

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.ids import new_id
from cloud.payments import asking, channels, notices, refunds, service
from cloud.payments.contract import Reply
from cloud.payments.model import IN_FLIGHT, UNSETTLED, LedgerEntry, Payment, PaymentCase, Refund
from cloud.payments.service import Wish
from simulators.money.alipay import AlipayService
from simulators.money.book import Order
from tests.support.cashiers import Cashiers

PAYER = "oSimulated0001"


def wish(fen: int = 1500, channel: str = "wechat", **changed: object) -> Wish:
    offered = channels.of(channel)
    values = {
        "purpose": "test",
        "subject_id": new_id(),
        "fen": fen,
        "channel": channel,
        "app_id": offered.app_id,
        "merchant_id": offered.merchant_id,
        "payer": PAYER,
        "payer_key": "account:1",
        "key": str(new_id()),
        "hold_until": clock.now() + timedelta(minutes=10),
    }
    return Wish(**{**values, **changed})  # type: ignore[arg-type]


def opened(fen: int = 1500, channel: str = "wechat", **changed: object) -> uuid.UUID:
    with begin() as session:
        return service.open_payment(session, wish(fen, channel, **changed)).id


def prepared(fen: int = 1500, channel: str = "wechat", **changed: object) -> uuid.UUID:
    payment_id = opened(fen, channel, **changed)
    asking.prepare(begin, payment_id, subject="杏林医院-门诊", client_ip="203.0.113.9", return_url="http://127.0.0.1/p")
    return payment_id


def payment(payment_id: uuid.UUID) -> Payment:
    with begin() as session:
        return session.get_one(Payment, payment_id)


def taps(cashiers: Cashiers, payment_id: uuid.UUID) -> Order:
    """The person pays; no notice is sent."""
    found = payment(payment_id)
    book = getattr(cashiers, found.channel).book
    order: Order = book.pay(found.number)
    if found.channel == "alipay":
        order.transaction_id = order.channel_number
    return order


def notice(cashiers: Cashiers, order: Order, channel: str = "wechat", **changed: object) -> Reply:
    """The channel tells us of a payment."""
    told = getattr(cashiers, channel)
    if isinstance(told, AlipayService):
        body, headers = told.notice(order, **changed)  # type: ignore[arg-type]
    elif order.sign_type == "v3":
        at = changed.pop("at", None)
        body, headers = told.v3_notice("TRANSACTION.SUCCESS", {**told._trade(order), **changed}, at)
    else:
        body, headers = told.v2_notice(order, **changed)
    return notices.take(begin, channel, headers, body)


def paid(cashiers: Cashiers, fen: int = 1500, channel: str = "wechat", **changed: object) -> uuid.UUID:
    payment_id = prepared(fen, channel, **changed)
    taps(cashiers, payment_id)
    asking.ask(begin, payment_id, at_once=True)
    assert payment(payment_id).state == "paid"
    return payment_id


def refund(payment_id: uuid.UUID, fen: int, key: str | None = None, route: str = "channel") -> uuid.UUID:
    with begin() as session:
        asked = refunds.ask_refund(
            session, payment_id, fen, key=key or str(new_id()), reason="患者退费", by="test", route=route
        )
        return asked.id


def hurry() -> None:
    """Whatever waits is due now: payments' questions, refunds' steps and dead claims."""
    past = clock.now() - timedelta(hours=1)
    with begin() as session:
        session.execute(update(Payment).where(Payment.state.in_(UNSETTLED)).values(ask_at=past))
        session.execute(update(Refund).where(Refund.called_at.is_not(None)).values(called_at=past))
        session.execute(update(Refund).where(Refund.state.in_(IN_FLIGHT)).values(ask_at=past, claimed_until=past))


def over(payment_id: uuid.UUID) -> None:
    """Its time is up."""
    past: datetime = clock.now() - timedelta(minutes=2)
    with begin() as session:
        session.execute(
            update(Payment)
            .where(Payment.id == payment_id)
            .values(expires_at=past, ask_at=past, until=past, created_at=past - timedelta(minutes=10))
        )


def sweep(rounds: int = 6) -> None:
    """What the jobs do, without their waiting."""
    for _ in range(rounds):
        hurry()
        for payment_id in asking.due(begin):
            asking.ask(begin, payment_id)
        for refund_id in refunds.due(begin):
            refunds.step(begin, refund_id)


def ledger(channel: str = "wechat") -> int:
    """Fen that the channel owes us by our ledger."""
    with begin() as session:
        return int(
            session.scalar(select(func.coalesce(func.sum(LedgerEntry.fen), 0)).where(LedgerEntry.channel == channel))
            or 0
        )


def clean(cashiers: Cashiers) -> None:
    """Empty books on both sides."""
    with begin() as session:
        session.execute(text("TRUNCATE payment, refund, payment_ledger, payment_notice, payment_case, event CASCADE"))
    for each in (cashiers.wechat, cashiers.alipay):
        each.book.orders.clear()
        each.book.refunds.clear()
        each.book.set_chaos({})


def cases() -> list[str]:
    with begin() as session:
        return list(session.scalars(select(PaymentCase.kind).order_by(PaymentCase.created_at)))


def state_of(refund_id: uuid.UUID) -> str:
    with begin() as session:
        return session.get_one(Refund, refund_id).state
