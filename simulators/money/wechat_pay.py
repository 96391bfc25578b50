"""WeChat Pay as a hospital's merchant sees it: APIv3 and v2 on one set of books, checked signatures both ways.

From WeChat Pay's merchant documentation: a v3 request is refused (401) unless its Authorization verifies with the
merchant's public key; every v3 answer and notice is signed with the platform's key; a notice's resource is encrypted
with the APIv3 key. A v2 request is refused unless its sign field fits.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from simulators.http_service import Answer, Request, Route, as_json
from simulators.ledger import Ledger
from simulators.money import bills, signing
from simulators.money.book import Order, Refunded, Refusal
from simulators.money.wechat_pay_v2 import BEIJING, Merchant, Told, WechatPayV2

SCHEME = "WECHATPAY2-SHA256-RSA2048"


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
REFUND_STATES = {"done": "SUCCESS", "processing": "PROCESSING", "failed": "ABNORMAL"}


class WechatPayService(WechatPayV2):
    channel = "微信支付"

    def __init__(self, ledger: Ledger, merchant: Merchant) -> None:
        super().__init__(ledger, merchant)
        self.routes |= {
            ("POST", "/v3/pay/transactions/jsapi"): self.v3(self.prepay),
            ("POST", "/v3/refund/domestic/refunds"): self.v3(self.refund),
            ("GET", "/v3/bill/tradebill"): self.v3(self.trade_bill),
            ("GET", "/bill/file"): self.bill_file,
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
        self.remember(order)
        return 200, {"prepay_id": order.channel_number}

    def query(self, number: str) -> tuple[int, dict[str, Any]]:
        return 200, self._trade(self.book.find(number))

    def _trade(self, order: Order) -> dict[str, Any]:
        state = self.state_of(order)
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
            self.tell_refund(made)
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

    def tell_refund(self, made: Refunded) -> None:
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

    # -- the phone -----------------------------------------------------------------------------------------------

    def wanted(self, request: Request) -> Order:
        return self.book.find(self.prepaid.get(request.query.get("prepay_id", "").removeprefix("prepay_id="), ""))

    def paid(self, number: str, *, late: bool = False) -> Order:
        order = self.book.pay_all_the_same(number) if late else self.book.pay(number)
        self.ledger.write("paid", number=order.number, fen=order.fen, transaction=order.transaction_id)
        self.tell_paid(order)
        return order


def _rfc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone(BEIJING).isoformat(timespec="seconds")
