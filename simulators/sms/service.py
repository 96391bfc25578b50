"""The SMS gateway's HTTP endpoint and the phones behind it.

POST /sms (key in X-Key) takes {"id", "phone", "template", "parameters"}; the same id twice is delivered once, as
carriers' gateways do with a client's message number. GET /simulator/inbox?phone= is what the phone would show.
"""

from __future__ import annotations

import argparse
import html
import time
from pathlib import Path
from typing import Any

from simulators.http_service import Answer, HttpService, Request, as_json, as_page, wait_for_end
from simulators.ledger import Ledger
from simulators.sms.aliyun import AliyunDoor

TEXTS = {
    "binding_code": "【杏林医院】您的验证码是{code}，{minutes}分钟内有效。请勿告诉他人。",
    "report_ready": "【{hospital}】{patient}的检验报告已出（{released}），查看：{link}",
    "consent_code": "【杏林医院】{who}申请查看您的{what}。同意请把验证码{code}告诉对方，"
    "{minutes}分钟内有效；不同意请勿理会。",
    "charge_arose": "【{hospital}】{patient}有{count}张新账单，共{yuan}元，查看：{link}",
    "refund_arrived": "【{hospital}】{patient}的退款{yuan}元已到账，查看：{link}",
    "late_refund": "【{hospital}】超时支付的{yuan}元正在退回，查看：{link}",
    "refund_stuck": "【{hospital}】有一笔{yuan}元退款需人工处理，请查看：{link}",
    "booking_confirmed": "【{hospital}】{patient}挂号成功，就诊时间{time}，查看：{link}",
    "booking_cancelled": "【{hospital}】{patient}的挂号已退（{time}），查看：{link}",
    "booking_changed": "【{hospital}】{patient}的就诊安排有变动（{time}），查看：{link}",
    "booking_reminder": "【{hospital}】提醒：{patient}请于{time}就诊，查看：{link}",
    "session_stopped": "【{hospital}】{patient}原定{time}的门诊停诊，请改约或退款：{link}",
    "waiting_offer": "【{hospital}】候补有号，{patient}请尽快确认（{time}）：{link}",
    "report_recalled": "【{hospital}】{patient}的一份检验报告已撤回，请以新报告为准：{link}",
}
"""As they would lie at the carrier, approved; an unknown template is refused for good."""


class SmsService(HttpService):
    def __init__(self, ledger: Ledger, key: str) -> None:
        super().__init__(ledger)
        self.key = key
        self.messages: list[dict[str, Any]] = []
        self._receipts: dict[str, str] = {}
        codes = {f"SMS_{number}": name for number, name in enumerate(TEXTS, 1000)}
        self.aliyun = AliyunDoor("simulated-key-id", key, "杏林医院", codes, self._deliver)
        self.routes |= {
            ("POST", "/sms"): self.take,
            ("POST", "/aliyun/"): self.aliyun.take,
            ("GET", "/simulator/inbox"): self.inbox,
            ("GET", "/"): self.page,
        }

    def take(self, request: Request) -> Answer:
        if request.headers.get("x-key", "") != self.key:
            self.ledger.write("refused", reason="wrong key")
            return as_json({"ok": False, "permanent": True, "reason": "wrong key"}, 401)
        wish = request.json()
        number, phone, template = (str(wish.get(name, "")) for name in ("id", "phone", "template"))
        parameters = wish.get("parameters")
        if not number or not phone.isdigit() or template not in TEXTS or not isinstance(parameters, dict):
            self.ledger.write("refused", reason="unknown template or phone", template=template)
            return as_json({"ok": False, "permanent": True, "reason": "unknown template or phone"})
        with self.lock:
            known = self._receipts.get(number)
            receipt = known or f"SIM{len(self._receipts) + 1:08d}"
            self._receipts[number] = receipt
            if known is None:
                self._show(phone, template, parameters)
        self.ledger.write("repeated" if known else "delivered", id=number, phone=phone, template=template)
        return as_json({"ok": True, "receipt": receipt})

    def _deliver(self, phone: str, template: str, parameters: dict[str, Any], number: str) -> None:
        with self.lock:
            self._show(phone, template, parameters)
        self.ledger.write("delivered", id=number, phone=phone, template=template)

    def _show(self, phone: str, template: str, parameters: dict[str, Any]) -> None:
        text = TEXTS[template].format_map(_Gaps(parameters))
        self.messages.append(
            {"t": time.time(), "phone": phone, "template": template, "parameters": parameters, "text": text}
        )

    def inbox(self, request: Request) -> Answer:
        """Newest last; `since` (epoch seconds) leaves older ones out."""
        phone, since = request.query.get("phone", ""), float(request.query.get("since", "0"))
        with self.lock:
            found = [each for each in self.messages if each["phone"] == phone and each["t"] >= since]
        return as_json({"messages": found})

    def page(self, _request: Request) -> Answer:
        """For a visitor of the demo: the last messages, newest first."""
        with self.lock:
            newest = self.messages[-100:][::-1]
        rows = "".join(f"<tr><td>{each['phone']}</td><td>{html.escape(each['text'])}</td></tr>" for each in newest)
        return as_page(
            "<!doctype html><html lang='zh-CN'><meta charset='utf-8'><title>短信模拟器</title>"
            f"<h1>短信模拟器</h1><table border='1' cellpadding='6'>{rows}</table></html>"
        )


class _Gaps(dict[str, Any]):
    """A parameter that did not come stands as its name."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", default="simulated-sms-key")
    parser.add_argument("--ledger", type=Path)


def run(arguments: argparse.Namespace) -> int:
    service = SmsService(Ledger(arguments.ledger, "sms"), arguments.key)
    service.start(arguments.host, arguments.port)
    wait_for_end()
    return 0
