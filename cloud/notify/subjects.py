"""What a channel's message says, for the fields of whatever template the account has there."""

from __future__ import annotations

from cloud.kit import clock
from cloud.notify.service import Message

SUBJECTS = {
    "report_ready": "检验报告已出",
    "report_recalled": "检验报告已撤回",
    "charge_arose": "有新的账单待缴费",
    "refund_arrived": "退款已到账",
    "late_refund": "多付款项正在退回",
    "refund_stuck": "退款需人工处理",
    "booking_confirmed": "挂号成功",
    "booking_cancelled": "退号完成",
    "booking_changed": "就诊安排有变动，请查看",
    "booking_reminder": "明日就诊提醒",
    "session_stopped": "停诊，请改约或退款",
    "waiting_offer": "候补有号，请尽快确认",
}
"""What the message is about, in words that tell nothing of the result."""


def words_of(message: Message) -> dict[str, str]:
    """The words that a field may name: the message's own parameters, its `subject`, and a time (`released`) always,
    since a channel refuses a template with an empty field."""
    said = message.parameters
    when = said.get("time") or f"{clock.local(clock.now()):%Y-%m-%d %H:%M}"
    return {"released": when, "patient": "—", **said, "subject": SUBJECTS.get(message.template, "")}
