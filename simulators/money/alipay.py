"""Alipay's gateway as a hospital's app sees it: one address, methods by name, RSA2 both ways.

From Alipay's open documentation: a call is refused unless its sign verifies with the app's public key; the answer's
signature stands over the exact text of its own node; asynchronous notices are forms, repeated until they hear
``success``.
"""

from __future__ import annotations

import html
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlencode

from cryptography.hazmat.primitives.asymmetric import rsa

from simulators.http_service import Answer, Request, as_json, as_page
from simulators.ledger import Ledger
from simulators.money import bills, pages, signing
from simulators.money.alipay_life import AUTHORIZE, LifeAccount, LifeRefusal
from simulators.money.book import Order, Refusal
from simulators.money.cashier import CashierService

BEIJING = timezone(timedelta(hours=8))
REFUSALS = {
    "absent": "ACQ.TRADE_NOT_EXIST",
    "paid": "ACQ.TRADE_HAS_SUCCESS",
    "closed": "ACQ.TRADE_HAS_CLOSE",
    "expired": "ACQ.INVALID_PARAMETER",
    "number_used": "ACQ.CONTEXT_INCONSISTENT",
    "refund_number_used": "ACQ.DISCORDANT_REPEAT_REQUEST",
    "refund_too_much": "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
    "unpaid": "ACQ.TRADE_STATUS_ERROR",
}
INVALID = {"code": "40002", "msg": "Invalid Arguments"}
STATES = {"unpaid": "WAIT_BUYER_PAY", "paid": "TRADE_SUCCESS", "closed": "TRADE_CLOSED"}


@dataclass(slots=True)
class App:
    app_id: str
    seller_id: str
    public_key: str
    """The app's, PEM."""
    own_key: rsa.RSAPrivateKey
    """Alipay's."""


class AlipayService(CashierService):
    channel = "支付宝"

    def __init__(self, ledger: Ledger, app: App) -> None:
        super().__init__(ledger, "2026", lambda status, body: status == 200 and body.strip() == b"success")
        self.app = app
        self.life = LifeAccount(app.app_id, ledger)
        self.methods = {
            "alipay.system.oauth.token": self.life.token,
            "alipay.open.public.message.single.send": self.life.send,
            "alipay.trade.create": self.create,
            "alipay.trade.query": self.query,
            "alipay.trade.close": self.close,
            "alipay.trade.refund": self.refund,
            "alipay.trade.fastpay.refund.query": self.refund_query,
            "alipay.data.dataservice.bill.downloadurl.query": self.bill_url,
        }
        self.routes |= {
            ("GET", "/gateway.do"): self.gateway,
            ("POST", "/gateway.do"): self.gateway,
            ("GET", "/bill/file"): self.bill_file,
            ("GET", AUTHORIZE): self.life.authorize,
            ("GET", "/life"): self.life.page,
            ("GET", "/simulator/messages"): self.life.inbox,
            ("GET", "/simulator/become"): self.life.become,
        }

    def gateway(self, request: Request) -> Answer:
        fields = dict(request.query) | {
            name: values[0] for name, values in parse_qs(request.body.decode(), keep_blank_values=True).items()
        }
        method = fields.get("method", "")
        node = method.replace(".", "_") + "_response"
        if self.book.happens(self.book.chaos.call_lost_before):
            return Answer(dropped=True)
        if fields.get("app_id") != self.app.app_id:
            return self._signed(node, {**INVALID, "sub_code": "isv.invalid-app-id"})
        if not signing.rsa_verifies(self.app.public_key, signing.alipay_text(fields), fields.get("sign", "")):
            self.ledger.write("unsigned call refused", method=method)
            return self._signed(
                node, {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.invalid-signature"}
            )
        if method == "alipay.trade.wap.pay":
            return self._open_page(fields)
        step = self.methods.get(method)
        if step is None:
            return self._signed(node, {**INVALID, "sub_code": "isv.invalid-method"})
        try:
            told = step(json.loads(fields.get("biz_content") or "{}"), fields)
        except Refusal as refusal:
            code = REFUSALS[refusal.code]
            told = {"code": "40004", "msg": "Business Failed", "sub_code": code, "sub_msg": refusal.code}
        except LifeRefusal as life_refusal:
            told = {"code": "40002", "msg": "Invalid Arguments", "sub_code": str(life_refusal)}
        if told is None or self.book.happens(self.book.chaos.call_lost_after):
            return Answer(dropped=True)
        return self._signed(node, told)

    def _signed(self, node: str, told: Mapping[str, Any]) -> Answer:
        text = json.dumps({"code": "10000", "msg": "Success", **told}, ensure_ascii=False, separators=(",", ":"))
        sign = signing.rsa_sign(self.app.own_key, text)
        return Answer(200, f'{{"{node}":{text},"sign":"{sign}"}}'.encode(), "application/json;charset=utf-8")

    # -- methods -------------------------------------------------------------------------------------------------

    def _order(self, content: dict[str, Any], fields: Mapping[str, str], *, opened: bool) -> Order:
        ends = datetime.strptime(str(content["time_expire"]), "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING)
        return Order(
            number=str(content["out_trade_no"]),
            fen=_fen(str(content["total_amount"])),
            payer=str(content.get("buyer_open_id") or content.get("buyer_id") or ""),
            subject=str(content["subject"]),
            notice_url=fields.get("notify_url", ""),
            expires_at=ends.timestamp(),
            channel_number=self.book.number(),
            opened=opened,
        )

    def create(self, content: dict[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
        order = self.book.place(self._order(content, fields, opened=True))
        self.ledger.write("order placed", number=order.number, fen=order.fen)
        return {"out_trade_no": order.number, "trade_no": order.channel_number}

    def _open_page(self, fields: Mapping[str, str]) -> Answer:
        """Somebody opened the signed page: only now is there a trade."""
        content = json.loads(fields["biz_content"])
        try:
            order = self.book.place(self._order(content, fields, opened=True))
        except Refusal as refusal:
            return as_page(pages.over(html.escape(refusal.code), ""), 409)
        return as_page(pages.cashier("支付宝", order, fields.get("return_url", "")))

    def query(self, content: dict[str, Any], _fields: Mapping[str, str]) -> dict[str, Any]:
        order = self.book.find(str(content["out_trade_no"]))
        closed_behind_refund = order.state == "paid" and self.book.refunded(order.number) == order.fen
        told = {
            "out_trade_no": order.number,
            "trade_no": order.channel_number,
            "trade_status": "TRADE_CLOSED" if closed_behind_refund else STATES[order.state],
            "total_amount": _yuan(order.fen),
        }
        if order.state == "paid":
            told |= {
                "buyer_open_id": order.payer,
                "send_pay_date": _at(order.paid_at),
                "receipt_amount": _yuan(order.fen),
            }
        return told

    def close(self, content: dict[str, Any], _fields: Mapping[str, str]) -> dict[str, Any]:
        order = self.book.find(str(content["out_trade_no"]))
        if order.state == "paid":
            raise Refusal("unpaid")  # ACQ.TRADE_STATUS_ERROR: it does not say which
        self.book.close(order.number)
        return {"out_trade_no": order.number, "trade_no": order.channel_number}

    def refund(self, content: dict[str, Any], fields: Mapping[str, str]) -> dict[str, Any] | None:
        number, fen = str(content["out_trade_no"]), _fen(str(content["refund_amount"]))
        made, fresh = self.book.refund(number, str(content["out_request_no"]), fen)
        order = self.book.find(number)
        if fresh:
            self.ledger.write("refunded", number=made.number, fen=made.fen, state=made.state)
            self.teller.tell(order.notice_url, made.number, lambda: self.notice(order, refund=made.number))
            if self.book.happens(self.book.chaos.refund_unknown):
                return None
        return {
            "out_trade_no": number,
            "trade_no": order.channel_number,
            "refund_fee": _yuan(self.book.refunded(number)),
            "fund_change": "Y" if fresh else "N",
            "gmt_refund_pay": _at(made.at),
        }

    def refund_query(self, content: dict[str, Any], _fields: Mapping[str, str]) -> dict[str, Any]:
        order = self.book.find(str(content["out_trade_no"]))
        try:
            made = self.book.find_refund(str(content["out_request_no"]))
        except Refusal:
            return {}
        if made.order_number != order.number or made.state == "failed":
            return {}
        return {
            "out_trade_no": order.number,
            "trade_no": order.channel_number,
            "out_request_no": made.number,
            "refund_amount": _yuan(made.fen),
            "total_amount": _yuan(order.fen),
            "refund_status": "REFUND_SUCCESS" if made.state == "done" else "REFUND_PROCESSING",
            "gmt_refund_pay": _at(made.at),
        }

    # -- notices -------------------------------------------------------------------------------------------------

    def notice(
        self,
        order: Order,
        *,
        refund: str = "",
        key: rsa.RSAPrivateKey | None = None,
        at: float | None = None,
        **changed: str,
    ) -> tuple[bytes, dict[str, str]]:
        """A notice; `key`, `at` and `changed` for one that is not genuine."""
        fields = {
            "notify_time": _at(time.time() if at is None else at),
            "notify_type": "trade_status_sync",
            "notify_id": f"{order.transaction_id}{refund}",
            "charset": "utf-8",
            "version": "1.0",
            "app_id": self.app.app_id,
            "seller_id": self.app.seller_id,
            "out_trade_no": order.number,
            "trade_no": order.channel_number,
            "trade_status": STATES[order.state],
            "total_amount": _yuan(order.fen),
            "buyer_open_id": order.payer,
            "subject": order.subject,
            "gmt_create": _at(order.made_at),
            "gmt_payment": _at(order.paid_at),
        }
        if refund:
            fields |= {
                "out_biz_no": refund,
                "refund_fee": _yuan(self.book.refunded(order.number)),
                "gmt_refund": _at(time.time()),
            }
        fields |= changed
        sign = signing.rsa_sign(key or self.app.own_key, signing.alipay_text(fields))
        body = urlencode({**fields, "sign_type": "RSA2", "sign": sign}).encode()
        return body, {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}

    # -- bills and phones ----------------------------------------------------------------------------------------

    def bill_url(self, content: dict[str, Any], _fields: Mapping[str, str]) -> dict[str, Any]:
        day = str(content["bill_date"])
        if bills.alipay(self.book, self.app.seller_id, day) is None:
            return {"code": "40004", "msg": "Business Failed", "sub_code": "isp.bill_not_exist"}
        return {"bill_download_url": f"{self.base}/bill/file?day={day}&token={secrets.token_hex(8)}"}

    def bill_file(self, request: Request) -> Answer:
        packed = bills.alipay(self.book, self.app.seller_id, request.query.get("day", ""))
        return as_json({}, 404) if packed is None else Answer(200, packed, "application/zip")

    def wanted(self, request: Request) -> Order:
        number = request.query.get("trade_no", "")
        with self.book.lock:
            found = next((each for each in self.book.orders.values() if each.channel_number == number), None)
        if found is None:
            raise Refusal("absent")
        return found

    def paid(self, number: str, *, late: bool = False) -> Order:
        order = self.book.pay_all_the_same(number) if late else self.book.pay(number)
        # The trade number is Alipay's one number for order and payment.
        order.transaction_id = order.channel_number
        self.ledger.write("paid", number=order.number, fen=order.fen, transaction=order.transaction_id)
        self.teller.tell(order.notice_url, order.number, lambda: self.notice(order))
        return order


def _fen(yuan: str) -> int:
    whole, _, part = yuan.partition(".")
    return int(whole) * 100 + int((part + "00")[:2])


def _yuan(fen: int) -> str:
    return f"{fen / 100:.2f}"


def _at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, BEIJING):%Y-%m-%d %H:%M:%S}"
