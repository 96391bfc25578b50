"""Pure: what a payment and its refunds are called on the phone, and how far each refund has come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cloud.payments.model import IN_FLIGHT, Payment, PaymentState, Refund, RefundState
from cloud.web.i18n import mark as N_


class Stage(StrEnum):
    """How far a payment is, for who stands at the pay page."""

    OPEN = "open"
    """It can be paid now."""
    CLOSING = "closing"
    """Its time is over; whether money came is being asked."""
    OVER = "over"
    PAID = "paid"
    LATE = "late"
    """Money came after it was closed."""


def stage_of(payment: Payment, now: datetime) -> Stage:
    if payment.state == PaymentState.PAID:
        return Stage.LATE if payment.late else Stage.PAID
    if payment.state == PaymentState.CLOSED:
        return Stage.OVER
    if payment.state == PaymentState.CLOSING or min(payment.until, payment.expires_at) <= now:
        return Stage.CLOSING
    return Stage.OPEN


@dataclass(frozen=True, slots=True)
class Word:
    """A state in one word; `tone` is a class of the style sheet: good, warn, bad, info or ""."""

    text: str
    tone: str = ""


_UNPAID = {
    Stage.OPEN: Word(N_("待支付"), "warn"),
    Stage.CLOSING: Word(N_("确认中"), "info"),
    Stage.OVER: Word(N_("未支付，已关闭")),
}


def word_of(payment: Payment, refunds: Iterable[Refund], now: datetime) -> Word:
    """A transaction's state, its refunds included."""
    stage = stage_of(payment, now)
    if stage in _UNPAID:
        return _UNPAID[stage]
    states = {each.state for each in refunds}
    back = sum(each.fen for each in refunds if each.state == RefundState.DONE)
    if RefundState.STUCK in states:
        return Word(N_("退款需到窗口办理"), "bad")
    if states & set(IN_FLIGHT):
        return Word(N_("退款中"), "info")
    if back:
        return Word(N_("已退款") if back >= (payment.paid_fen or 0) else N_("部分退款"))
    return Word(N_("已支付"), "good")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a refund's way. `stand`: done, now, bad, or "" for what is still to come."""

    title: str
    stand: str
    at: datetime | None = None
    note: str = ""


def track(refund: Refund) -> list[Step]:
    """已受理 → 渠道处理 → 到账, as far as the channel's own evidence says; nothing is shown as arrived before it is."""
    taken = Step(N_("已受理"), "done", refund.created_at)
    state = refund.state
    if state == RefundState.DROPPED:
        return [taken, Step(N_("退款未进行"), "bad", None, N_("这项退款没有进行，款项未变动。"))]
    if refund.route == "cash":
        return [taken, Step(N_("已在窗口以现金退还"), "done", refund.done_at)]
    return [taken, _at_channel(refund), _arrival(refund)]


def _at_channel(refund: Refund) -> Step:
    title = N_("渠道处理")
    if refund.state == RefundState.DONE:
        return Step(title, "done")
    if refund.state == RefundState.STUCK:
        note = N_("渠道未能退回原支付账户。请带身份证件到收费窗口，由工作人员核实后退还。")
        return Step(N_("渠道未能退回"), "bad", None, note)
    if refund.state == RefundState.PROCESSING:
        return Step(title, "now", None, N_("渠道已受理，银行正在处理。"))
    if refund.asked > 1:
        return Step(title, "now", None, N_("渠道暂时没有明确答复，系统会自动重试，不会重复退款。"))
    return Step(title, "now", None, N_("正在提交给支付渠道。"))


def _arrival(refund: Refund) -> Step:
    if refund.state == RefundState.DONE:
        return Step(N_("已到账"), "done", refund.done_at, N_("以渠道的到账通知为准，银行卡入账可能稍有延迟。"))
    if refund.state == RefundState.STUCK:
        return Step(N_("到账"), "")
    return Step(N_("到账"), "", None, N_("零钱或余额通常几分钟到账，银行卡一般 1–3 个工作日。"))
