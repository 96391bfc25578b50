"""WeChat Pay as a hospital's merchant sees it: APIv3 and v2 on one set of books, checked signatures both ways.

From WeChat Pay's merchant documentation: a v3 request is refused (401) unless its Authorization verifies with the
merchant's public key; every v3 answer and notice is signed with the platform's key; a notice's resource is encrypted
with the APIv3 key. A v2 request is refused unless its sign field fits.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs
from xml.etree import ElementTree

from cryptography.hazmat.primitives.asymmetric import rsa

from simulators.http_service import Answer, HttpService, Request, Route, as_json, as_page
from simulators.ledger import Ledger
from simulators.money import bills, pages, signing
from simulators.money.book import Book, Order, Refunded, Refusal
from simulators.money.telling import Teller

BEIJING = timezone(timedelta(hours=8))
SCHEME = "WECHATPAY2-SHA256-RSA2048"


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
REFUSALS = {
    "absent": (404, "ORDER_NOT_EXIST"),
    "paid": (400, "ORDERPAID"),
    "closed": (400, "ORDER_CLOSED"),
    "expired": (400, "INVALID_REQUEST"),
    "number_used": (400, "OUT_TRADE_NO_USED"),
    "refund_number_used": (400, "INVALID_REQUEST"),
    "refund_too_much": (400, "INVALID_REQUEST"),
    "unpaid": (400, "INVALID_REQUEST"),
    "refund_absent": (404, "RESOURCE_NOT_EXISTS"),
}
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
STATES = {"unpaid": "NOTPAY", "paid": "SUCCESS", "closed": "CLOSED"}
REFUND_STATES = {"done": "SUCCESS", "processing": "PROCESSING", "failed": "ABNORMAL"}


class WechatPayService(HttpService):
    def __init__(self, ledger: Ledger, merchant: Merchant) -> None:
        super().__init__(ledger)
        self.merchant = merchant
        self.book = Book("4200")
        self.teller = Teller(self.book, ledger, lambda status, body: status in (200, 204) and b"FAIL" not in body)
        self.prepaid: dict[str, str] = {}
        self.base = ""
        self.routes |= {
            ("POST", "/v3/pay/transactions/jsapi"): self.v3(self.prepay),
            ("POST", "/v3/refund/domestic/refunds"): self.v3(self.refund),
            ("GET", "/v3/bill/tradebill"): self.v3(self.trade_bill),
            ("POST", "/pay/unifiedorder"): self.v2(self.unified_order),
            ("POST", "/pay/orderquery"): self.v2(self.order_query),
            ("POST", "/pay/closeorder"): self.v2(self.close_order),
            ("POST", "/secapi/pay/refund"): self.v2(self.v2_refund),
            ("POST", "/pay/refundquery"): self.v2(self.refund_query),
            ("POST", "/pay/downloadbill"): self.download_bill,
            ("GET", "/bill/file"): self.bill_file,
            ("GET", "/cashier"): self.cashier,
            ("POST", "/cashier"): self.tap,
            ("POST", "/simulator/pay"): self.pay_at_once,
            ("POST", "/simulator/chaos"): self.set_chaos,
            ("GET", "/simulator/totals"): lambda _request: as_json(self.book.totals()),
        }

    def handle(self, request: Request) -> Answer:
        """v3 has numbers in its paths."""
        chaos = self.book.chaos
        if not request.path.startswith(("/simulator", "/cashier", "/bill")) and self.book.happens(
            chaos.call_lost_before
        ):
            return Answer(dropped=True)
        answer = self._routed(request)
        if not request.path.startswith(("/simulator", "/cashier", "/bill")) and self.book.happens(
            chaos.call_lost_after
        ):
            return Answer(dropped=True)
        return answer

    def _routed(self, request: Request) -> Answer:
        found = re.fullmatch(r"/v3/pay/transactions/out-trade-no/([^/]+)(/close)?", request.path)
        if found and (request.path not in self.faults):
            number, closing = found.groups()
            step = self.close if closing else self.query
            return self.v3(lambda _data: step(number))(request)
        found = re.fullmatch(r"/v3/refund/domestic/refunds/([^/]+)", request.path)
        if found:
            number = found[1]
            return self.v3(lambda _data: self.one_refund(number))(request)
        return super().handle(request)

    # -- v3 ------------------------------------------------------------------------------------------------------

    def v3(self, step: Any) -> Route:
        def answer(request: Request) -> Answer:
            if not self._authorised(request):
                self.ledger.write("unsigned call refused", path=request.path)
                return self._signed(401, {"code": "SIGN_ERROR", "message": "签名错误"})
            try:
                status, data = step(request.json() if request.body else dict(request.query))
            except Refusal as refusal:
                status, code = REFUSALS[refusal.code]
                return self._signed(status, {"code": code, "message": code})
            except (KeyError, TypeError, ValueError) as error:
                return self._signed(400, {"code": "PARAM_ERROR", "message": str(error)})
            return Answer(dropped=True) if status == 0 else self._signed(status, data)

        return answer

    def _authorised(self, request: Request) -> bool:
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        parts = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        path = request.path + (f"?{'&'.join(f'{k}={v}' for k, v in request.query.items())}" if request.query else "")
        text = "\n".join(
            [request.method, path, parts.get("timestamp", ""), parts.get("nonce_str", ""), request.body.decode(), ""]
        )
        return (
            scheme == SCHEME
            and parts.get("mchid") == self.merchant.merchant_id
            and parts.get("serial_no") == self.merchant.serial
            and abs(time.time() - int(parts.get("timestamp") or 0)) < 300
            and signing.rsa_verifies(self.merchant.public_key, text, parts.get("signature", ""))
        )

    def _signed(self, status: int, data: Mapping[str, Any] | None) -> Answer:
        body = b"" if data is None else json.dumps(data, ensure_ascii=False).encode()
        return Answer(status, body, "application/json; charset=utf-8", tuple(self._signature(body.decode()).items()))

    def _signature(self, body: str, at: float | None = None) -> dict[str, str]:
        stamp, nonce = str(int(time.time() if at is None else at)), secrets.token_hex(16)
        return {
            "Wechatpay-Timestamp": stamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Serial": self.merchant.platform_key_id,
            "Wechatpay-Signature-Type": SCHEME,
            "Wechatpay-Signature": signing.rsa_sign(self.merchant.platform_key, f"{stamp}\n{nonce}\n{body}\n"),
        }

    def prepay(self, data: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if (data["appid"], data["mchid"]) != (self.merchant.app_id, self.merchant.merchant_id):
            return 400, {"code": "APPID_MCHID_NOT_MATCH", "message": "appid和mch_id不匹配"}
        order = self.book.place(
            Order(
                number=str(data["out_trade_no"]),
                fen=int(data["amount"]["total"]),
                payer=str(data["payer"]["openid"]),
                subject=str(data["description"]),
                notice_url=str(data["notify_url"]),
                expires_at=datetime.fromisoformat(str(data["time_expire"])).timestamp(),
                channel_number="wx" + secrets.token_hex(16),
                sign_type="v3",
            )
        )
        self._remember(order)
        return 200, {"prepay_id": order.channel_number}

    def _remember(self, order: Order) -> None:
        with self.lock:
            self.prepaid[order.channel_number] = order.number
        self.ledger.write("order placed", number=order.number, fen=order.fen)

    def query(self, number: str) -> tuple[int, dict[str, Any]]:
        return 200, self._trade(self.book.find(number))

    def _trade(self, order: Order) -> dict[str, Any]:
        refunded = order.state == "paid" and self.book.refunded(order.number) > 0
        state = "REFUND" if refunded else STATES[order.state]
        told: dict[str, Any] = {
            "appid": self.merchant.app_id,
            "mchid": self.merchant.merchant_id,
            "out_trade_no": order.number,
            "trade_state": state,
            "trade_state_desc": state,
            "amount": {"total": order.fen, "payer_total": order.fen, "currency": "CNY", "payer_currency": "CNY"},
        }
        if order.state == "paid":
            told |= {
                "transaction_id": order.transaction_id,
                "trade_type": "JSAPI",
                "bank_type": "OTHERS",
                "success_time": _rfc(order.paid_at),
                "payer": {"openid": order.payer},
            }
        return told

    def close(self, number: str) -> tuple[int, None]:
        self.book.close(number)
        return 204, None

    def refund(self, data: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        made, fresh = self.book.refund(
            str(data["out_trade_no"]),
            str(data["out_refund_no"]),
            int(data["amount"]["refund"]),
            str(data.get("notify_url", "")),
        )
        if fresh:
            self.ledger.write("refunded", number=made.number, fen=made.fen, state=made.state)
            self._tell_refund(made)
            if self.book.happens(self.book.chaos.refund_unknown):
                return 0, {}
        return 200, self._refund(made)

    def one_refund(self, number: str) -> tuple[int, dict[str, Any]]:
        return 200, self._refund(self.book.find_refund(number))

    def _refund(self, made: Refunded) -> dict[str, Any]:
        order = self.book.find(made.order_number)
        return {
            "refund_id": made.channel_number,
            "out_refund_no": made.number,
            "transaction_id": order.transaction_id,
            "out_trade_no": order.number,
            "channel": "ORIGINAL",
            "user_received_account": "支付用户零钱",
            "create_time": _rfc(made.at),
            **({"success_time": _rfc(made.at)} if made.state == "done" else {}),
            "status": REFUND_STATES[made.state],
            "amount": {"total": order.fen, "refund": made.fen, "currency": "CNY"},
        }

    # -- notices -------------------------------------------------------------------------------------------------

    def tell_paid(self, order: Order) -> None:
        if order.sign_type == "v3":
            self.teller.tell(
                order.notice_url, order.number, lambda: self.v3_notice("TRANSACTION.SUCCESS", self._trade(order))
            )
        else:
            self.teller.tell(order.notice_url, order.number, lambda: self.v2_notice(order))

    def _tell_refund(self, made: Refunded) -> None:
        order = self.book.find(made.order_number)
        if made.state == "processing":
            return
        if order.sign_type == "v3":
            told = {
                **self._refund(made),
                "mchid": self.merchant.merchant_id,
                "refund_status": REFUND_STATES[made.state],
            }
            del told["status"]
            kind = "REFUND.SUCCESS" if made.state == "done" else "REFUND.ABNORMAL"
            self.teller.tell(made.notice_url, made.number, lambda: self.v3_notice(kind, told))
        else:
            self.teller.tell(made.notice_url, made.number, lambda: self.v2_refund_notice(made))

    def v3_notice(self, kind: str, resource: Mapping[str, Any], at: float | None = None) -> Told:
        """Body and headers of a notice; `at`: the signature's own time, for one that is played again later."""
        nonce, ciphertext = signing.gcm_encrypt(self.merchant.v3_key, json.dumps(resource), "transaction")
        identity = hashlib.sha256(json.dumps(resource, sort_keys=True).encode()).hexdigest()[:32]
        body = json.dumps(
            {
                "id": identity,
                "create_time": _rfc(time.time()),
                "event_type": kind,
                "resource_type": "encrypt-resource",
                "summary": kind,
                "resource": {
                    "algorithm": "AEAD_AES_256_GCM",
                    "original_type": "transaction",
                    "associated_data": "transaction",
                    "nonce": nonce,
                    "ciphertext": ciphertext,
                },
            }
        )
        return body.encode(), {"Content-Type": "application/json", **self._signature(body, at)}

    # -- v2 ------------------------------------------------------------------------------------------------------

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
        self._remember(order)
        return {"trade_type": "JSAPI", "prepay_id": order.channel_number}

    def order_query(self, fields: dict[str, str]) -> dict[str, str]:
        order = self.book.find(fields["out_trade_no"])
        return {"trade_state": self._trade(order)["trade_state"], **self._v2_trade(order)}

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
            self._tell_refund(made)
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

    # -- bills ---------------------------------------------------------------------------------------------------

    def trade_bill(self, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        raw = bills.wechat(self.book, self.merchant.app_id, self.merchant.merchant_id, query["bill_date"])
        if raw is None:
            return 400, {"code": "NO_STATEMENT_EXIST", "message": "账单文件不存在"}
        url = f"{self.base}/bill/file?day={query['bill_date']}"
        return 200, {"hash_type": "SHA1", "hash_value": hashlib.sha1(raw).hexdigest(), "download_url": url}

    def bill_file(self, request: Request) -> Answer:
        raw = bills.wechat(self.book, self.merchant.app_id, self.merchant.merchant_id, request.query["day"])
        if raw is None or not self._authorised(request):
            return as_json({"code": "NOT_FOUND"}, 404)
        return Answer(200, gzip.compress(raw), "application/x-gzip")

    def download_bill(self, request: Request) -> Answer:
        fields = _fields(request.body)
        if fields.get("sign") != signing.v2_signature(fields, self.merchant.v2_key, "MD5"):
            return _xml({"return_code": "FAIL", "return_msg": "签名错误", "error_code": "20001"})
        day = "-".join(re.findall(r"^(\d{4})(\d\d)(\d\d)$", fields["bill_date"])[0])
        raw = bills.wechat(self.book, self.merchant.app_id, self.merchant.merchant_id, day)
        if raw is None:
            return _xml({"return_code": "FAIL", "return_msg": "No Bill Exist", "error_code": "20002"})
        return Answer(200, raw, "text/plain; charset=utf-8")

    # -- the phone -----------------------------------------------------------------------------------------------

    def cashier(self, request: Request) -> Answer:
        """What opens when a page asks WeChat to pay: the amount, and a button."""
        number = self.prepaid.get(request.query.get("prepay_id", "").removeprefix("prepay_id="), "")
        try:
            order = self.book.find(number)
        except Refusal:
            return as_page("<h1>订单不存在</h1>", 404)
        return as_page(pages.cashier("微信支付", order, request.query.get("back", "")))

    def tap(self, request: Request) -> Answer:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        try:
            order = self.book.pay(form.get("number", ""))
        except Refusal as refusal:
            return as_page(pages.over(html.escape(refusal.code), form.get("back", "")), 409)
        self._paid(order)
        return as_page(pages.paid("微信支付", order, form.get("back", "")))

    def pay_at_once(self, request: Request) -> Answer:
        """For programs: somebody has tapped "pay"."""
        try:
            order = self.book.pay(str(request.json().get("number", "")))
        except Refusal as refusal:
            return as_json({"error": refusal.code}, 409)
        self._paid(order)
        return as_json({"transaction_id": order.transaction_id})

    def _paid(self, order: Order) -> None:
        self.ledger.write("paid", number=order.number, fen=order.fen, transaction=order.transaction_id)
        self.tell_paid(order)

    def set_chaos(self, request: Request) -> Answer:
        try:
            self.book.set_chaos(request.json())
        except TypeError as error:
            return as_json({"error": str(error)}, 400)
        return as_json({"ok": True})

    def start(self, host: str, port: int) -> Any:
        server = super().start(host, port)
        self.base = f"http://{host}:{server.server_port}"
        return server


def _rfc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone(BEIJING).isoformat(timespec="seconds")


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
