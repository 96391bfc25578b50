"""WeChat Pay's older interface (v2): XML, one key on both sides, MD5 or HMAC-SHA256; and what both interfaces share."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from xml.etree import ElementTree

from cryptography.hazmat.primitives.asymmetric import rsa

from simulators.http_service import Answer, Request, Route
from simulators.ledger import Ledger
from simulators.money import bills, signing
from simulators.money.book import Order, Refunded, Refusal
from simulators.money.cashier import CashierService

BEIJING = timezone(timedelta(hours=8))


@dataclass(slots=True)
class Merchant:
    """What both sides know of each other."""

    app_id: str
    merchant_id: str
    serial: str
    public_key: str
    """The merchant's, PEM: its requests must verify with it."""
    v3_key: str
    v2_key: str
    platform_key: rsa.RSAPrivateKey
    platform_key_id: str = "PUB_KEY_ID_0000000000000000000000000001"


Told = tuple[bytes, dict[str, str]]
"""A notice: body and headers."""
STATES = {"unpaid": "NOTPAY", "paid": "SUCCESS", "closed": "CLOSED"}
V2_REFUSALS = {
    "absent": "ORDERNOTEXIST",
    "paid": "ORDERPAID",
    "closed": "ORDERCLOSED",
    "expired": "INVALID_REQUEST",
    "number_used": "OUT_TRADE_NO_USED",
    "refund_number_used": "INVALID_REQUEST",
    "refund_too_much": "INVALID_REQUEST",
    "unpaid": "TRADE_STATE_ERROR",
    "refund_absent": "REFUNDNOTEXIST",
}


class WechatPayV2(CashierService):
    """The v2 calls and notices on one set of books."""

    def __init__(self, ledger: Ledger, merchant: Merchant) -> None:
        super().__init__(ledger, "4200", lambda status, body: status in (200, 204) and b"FAIL" not in body)
        self.merchant = merchant
        self.prepaid: dict[str, str] = {}
        self.routes |= {
            ("POST", "/pay/unifiedorder"): self.v2(self.unified_order),
            ("POST", "/pay/orderquery"): self.v2(self.order_query),
            ("POST", "/pay/closeorder"): self.v2(self.close_order),
            ("POST", "/secapi/pay/refund"): self.v2(self.v2_refund),
            ("POST", "/pay/refundquery"): self.v2(self.refund_query),
            ("POST", "/pay/downloadbill"): self.download_bill,
        }

    def tell_refund(self, made: Refunded) -> None:
        """By the interface that the order was made with."""
        raise NotImplementedError

    def state_of(self, order: Order) -> str:
        refunded = order.state == "paid" and self.book.refunded(order.number) > 0
        return "REFUND" if refunded else STATES[order.state]

    def remember(self, order: Order) -> None:
        with self.lock:
            self.prepaid[order.channel_number] = order.number
        self.ledger.write("order placed", number=order.number, fen=order.fen)

    def v2(self, step: Any) -> Route:
        def answer(request: Request) -> Answer:
            fields = _fields(request.body)
            kind = fields.get("sign_type") or "MD5"
            if not fields or fields.get("sign") != signing.v2_signature(fields, self.merchant.v2_key, kind):
                self.ledger.write("unsigned call refused", path=request.path)
                return _xml({"return_code": "FAIL", "return_msg": "签名错误"})
            if (fields.get("appid"), fields.get("mch_id")) != (self.merchant.app_id, self.merchant.merchant_id):
                return self._v2_signed({"result_code": "FAIL", "err_code": "APPID_MCHID_NOT_MATCH"}, kind)
            try:
                told = step(fields)
            except Refusal as refusal:
                told = {"result_code": "FAIL", "err_code": V2_REFUSALS[refusal.code], "err_code_des": refusal.code}
            return Answer(dropped=True) if told is None else self._v2_signed(told, kind)

        return answer

    def _v2_signed(self, told: Mapping[str, str], kind: str) -> Answer:
        fields = {
            "return_code": "SUCCESS",
            "appid": self.merchant.app_id,
            "mch_id": self.merchant.merchant_id,
            "nonce_str": secrets.token_hex(16),
            "result_code": "SUCCESS",
            **told,
        }
        return _xml({**fields, "sign": signing.v2_signature(fields, self.merchant.v2_key, kind)})

    def unified_order(self, fields: dict[str, str]) -> dict[str, str]:
        ends = datetime.strptime(fields["time_expire"], "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
        order = self.book.place(
            Order(
                number=fields["out_trade_no"],
                fen=int(fields["total_fee"]),
                payer=fields["openid"],
                subject=fields["body"],
                notice_url=fields["notify_url"],
                expires_at=ends.timestamp(),
                channel_number="wx" + secrets.token_hex(16),
                sign_type=fields.get("sign_type") or "MD5",
            )
        )
        self.remember(order)
        return {"trade_type": "JSAPI", "prepay_id": order.channel_number}

    def order_query(self, fields: dict[str, str]) -> dict[str, str]:
        order = self.book.find(fields["out_trade_no"])
        return {"trade_state": self.state_of(order), **self._v2_trade(order)}

    def _v2_trade(self, order: Order) -> dict[str, str]:
        told = {"out_trade_no": order.number, "total_fee": str(order.fen), "fee_type": "CNY"}
        if order.state == "paid":
            told |= {
                "openid": order.payer,
                "trade_type": "JSAPI",
                "bank_type": "OTHERS",
                "cash_fee": str(order.fen),
                "transaction_id": order.transaction_id,
                "time_end": f"{datetime.fromtimestamp(order.paid_at, BEIJING):%Y%m%d%H%M%S}",
            }
        return told

    def close_order(self, fields: dict[str, str]) -> dict[str, str]:
        self.book.close(fields["out_trade_no"])
        return {}

    def v2_refund(self, fields: dict[str, str]) -> dict[str, str] | None:
        made, fresh = self.book.refund(
            fields["out_trade_no"], fields["out_refund_no"], int(fields["refund_fee"]), fields.get("notify_url", "")
        )
        if fresh:
            self.ledger.write("refunded", number=made.number, fen=made.fen, state=made.state)
            self.tell_refund(made)
            if self.book.happens(self.book.chaos.refund_unknown):
                return None
        return {
            "out_trade_no": made.order_number,
            "out_refund_no": made.number,
            "refund_id": made.channel_number,
            "refund_fee": str(made.fen),
            "total_fee": fields["total_fee"],
        }

    def refund_query(self, fields: dict[str, str]) -> dict[str, str]:
        made = self.book.find_refund(fields["out_refund_no"])
        state = {"done": "SUCCESS", "processing": "PROCESSING", "failed": "CHANGE"}[made.state]
        told = {
            "out_trade_no": made.order_number,
            "refund_count": "1",
            "out_refund_no_0": made.number,
            "refund_id_0": made.channel_number,
            "refund_fee_0": str(made.fen),
            "refund_status_0": state,
        }
        if made.state == "done":
            told["refund_success_time_0"] = f"{datetime.fromtimestamp(made.at, BEIJING):%Y-%m-%d %H:%M:%S}"
        return told

    def v2_notice(self, order: Order, key: str | None = None, **changed: str) -> Told:
        """The payment notice; `key` and `changed` for one that is not genuine."""
        fields = {
            "return_code": "SUCCESS",
            "result_code": "SUCCESS",
            "appid": self.merchant.app_id,
            "mch_id": self.merchant.merchant_id,
            "nonce_str": secrets.token_hex(16),
            "is_subscribe": "Y",
            **self._v2_trade(order),
            **changed,
        }
        sign = signing.v2_signature(fields, key or self.merchant.v2_key, order.sign_type)
        return _xml({**fields, "sign": sign}).body, {"Content-Type": "text/xml"}

    def v2_refund_notice(self, made: Refunded) -> Told:
        inner = _xml(
            {
                "out_trade_no": made.order_number,
                "out_refund_no": made.number,
                "refund_id": made.channel_number,
                "refund_fee": str(made.fen),
                "refund_status": "SUCCESS" if made.state == "done" else "CHANGE",
            },
            "root",
        ).body.decode()
        fields = {
            "return_code": "SUCCESS",
            "appid": self.merchant.app_id,
            "mch_id": self.merchant.merchant_id,
            "nonce_str": secrets.token_hex(16),
            "req_info": signing.ecb_encrypt(self.merchant.v2_key, inner),
        }
        return _xml(fields).body, {"Content-Type": "text/xml"}

    def download_bill(self, request: Request) -> Answer:
        fields = _fields(request.body)
        if fields.get("sign") != signing.v2_signature(fields, self.merchant.v2_key, "MD5"):
            return _xml({"return_code": "FAIL", "return_msg": "签名错误", "error_code": "20001"})
        day = "-".join(re.findall(r"^(\d{4})(\d\d)(\d\d)$", fields["bill_date"])[0])
        raw = bills.wechat(self.book, self.merchant.app_id, self.merchant.merchant_id, day)
        if raw is None:
            return _xml({"return_code": "FAIL", "return_msg": "No Bill Exist", "error_code": "20002"})
        return Answer(200, raw, "text/plain; charset=utf-8")


def _fields(body: bytes) -> dict[str, str]:
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        return {}
    try:
        return {each.tag: each.text or "" for each in ElementTree.fromstring(body.decode())}
    except (ElementTree.ParseError, UnicodeDecodeError):
        return {}


def _xml(fields: Mapping[str, str], root: str = "xml") -> Answer:
    inner = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
    return Answer(200, f"<{root}>{inner}</{root}>".encode(), "text/xml; charset=utf-8")
