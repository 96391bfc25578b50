"""The staff's page of messages: what was sent, what waits, what failed and why; one more try for what failed."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.audit import record
from cloud.kit.db import Transaction
from cloud.kit.errors import Conflict, NotFound
from cloud.notify import service
from cloud.notify.model import STATES, Delivery
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/notify"
STATE_NAMES = {
    "waiting": N_("等待发送"),
    "sending": N_("发送中"),
    "sent": N_("已发送"),
    "failed": N_("发送失败"),
    "expired": N_("已过期"),
}
TONES = {"waiting": "info", "sending": "info", "sent": "good", "failed": "bad", "expired": "warn"}
TRANSPORT_NAMES = {service.SMS: N_("短信"), service.WECHAT: N_("微信消息"), service.ALIPAY: N_("支付宝消息")}
TEMPLATE_NAMES = {
    "binding_code": N_("绑定验证码"),
    "consent_code": N_("授权验证码"),
    "report_ready": N_("报告已出"),
    "report_recalled": N_("报告已撤回"),
    "critical_waits": N_("危急值待接收"),
    "booking_confirmed": N_("挂号成功"),
    "booking_cancelled": N_("退号完成"),
    "booking_changed": N_("就诊安排变动"),
    "booking_reminder": N_("就诊提醒"),
    "session_stopped": N_("停诊通知"),
    "waiting_offer": N_("候补有号"),
    "late_refund": N_("超时支付退款"),
}
OUTCOME_NAMES = {"sent": N_("已发送"), "retry": N_("稍后重试"), "failed": N_("发送失败")}

router = APIRouter(include_in_schema=False)
navigation.add(N_("消息记录"), PAGE, permission="audit.read", group=N_("系统"), position=920, key="g m")

Reader = Annotated[CurrentStaff, Depends(require("audit.read"))]


@router.get(PAGE)
def deliveries(request: Request, staff: Reader, session: Transaction, state: str = "") -> Response:
    chosen = state if state in STATES else ""
    context = {
        "deliveries": service.recent(session, state=chosen or None),
        "chosen": chosen,
        "states": STATE_NAMES,
        "tones": TONES,
        "transports": TRANSPORT_NAMES,
        "templates": TEMPLATE_NAMES,
    }
    return render(request, "notify/deliveries.html", context)


@router.get(PAGE + "/{delivery_id}")
def delivery(request: Request, staff: Reader, session: Transaction, delivery_id: uuid.UUID) -> Response:
    """One message and its tries. Parameters (a code, a name) are not shown."""
    found = session.get(Delivery, delivery_id)
    if found is None:
        raise NotFound("delivery_unknown", N_("没有这条消息。"))
    context = {
        "delivery": found,
        "attempts": service.attempts_of(session, delivery_id),
        "states": STATE_NAMES,
        "tones": TONES,
        "transports": TRANSPORT_NAMES,
        "templates": TEMPLATE_NAMES,
        "outcomes": OUTCOME_NAMES,
    }
    return render(request, "notify/delivery.html", context)


@router.post(PAGE + "/{delivery_id}/again")
def again(staff: Reader, session: Transaction, delivery_id: uuid.UUID) -> Response:
    if not service.try_again(session, delivery_id):
        raise Conflict("delivery_not_failed", N_("只有发送失败或已过期的消息可以重发，验证码不能重发。"))
    record(session, actor=staff.actor, action="notify.again", aggregate=("delivery", delivery_id))
    return RedirectResponse(f"{PAGE}/{delivery_id}", status_code=303)
