"""WeChat Pay APIv3 through wechatpayv3: payments in the official account's web view (JSAPI), refunds, bills.

Around the library: only WeChat's public key is used (platform certificates would be fetched while a forged notice is
being read); a notice's own time must be about now (the library takes one of yesterday); every identity in an answer or
notice is handed on to be compared; whatever is not clearly one of three outcomes is `Unknown`.
Facts: WeChat Pay's merchant documentation, APIv3 (JSAPI orders, refunds, bills, notices).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import requests
from wechatpayv3 import SignType, WeChatPay, WeChatPayType

from cloud.config import Settings
from cloud.kit import clock
from cloud.payments.channels import wechat_bill
from cloud.payments.channels.keys import BadKeys, check_host, private_key, public_key, required, strangers
from cloud.payments.contract import (
    Ask,
    BadNotice,
    BillFile,
    Closing,
    Evidence,
    Notice,
    NoticeKind,
    Prepared,
    RefundAsk,
    RefundStand,
    RefundStanding,
    Refused,
    Reply,
    Stand,
    Standing,
    Unknown,
)
from cloud.payments.rules import too_far

TIMEOUT_S = (3.05, 10.0)
HOSTS = frozenset({"api.mch.weixin.qq.com", "api2.wechatpay.cn"})
STANDINGS = {
    "SUCCESS": Standing.PAID,
    "REFUND": Standing.PAID,
    "NOTPAY": Standing.UNPAID,
    "PAYERROR": Standing.UNPAID,
    "USERPAYING": Standing.PAYING,
    "CLOSED": Standing.CLOSED,
    "REVOKED": Standing.CLOSED,
}
REFUNDS = {
    "SUCCESS": RefundStanding.DONE,
    "PROCESSING": RefundStanding.PROCESSING,
    "ABNORMAL": RefundStanding.FAILED,
    "CLOSED": RefundStanding.FAILED,
}
PASSING = frozenset({"SYSTEM_ERROR", "FREQUENCY_LIMITED", "RATELIMIT_EXCEEDED", "NOT_ENOUGH", "USER_PAYING"})
"""Refusals that may be over at the next try."""


class WechatV3:
    name = "wechat"
    refund_gap = timedelta(seconds=60)
    shortest = timedelta()
    payable_when_absent = False

    def __init__(self, known: Settings) -> None:
        check_host(known, "XINGLIN_WECHAT_PAY_URL", known.wechat_pay_url, HOSTS)
        required(
            known,
            "wechat_app_id",
            "wechat_pay_merchant_id",
            "wechat_pay_serial",
            "wechat_pay_private_key",
            "wechat_pay_public_key",
            "wechat_pay_public_key_id",
            "wechat_pay_v3_key",
        )
        secret = known.wechat_pay_private_key.get_secret_value()
        own = private_key("XINGLIN_WECHAT_PAY_PRIVATE_KEY", secret)
        strangers("XINGLIN_WECHAT_PAY_PUBLIC_KEY", own, public_key("…PUBLIC_KEY", known.wechat_pay_public_key))
        if len(known.wechat_pay_v3_key.get_secret_value().encode()) != 32:
            raise BadKeys("XINGLIN_WECHAT_PAY_V3_KEY must have exactly 32 characters.")
        self.app_id = known.wechat_app_id
        self.merchant_id = known.wechat_pay_merchant_id
        self._key_id = known.wechat_pay_public_key_id
        self._pay = WeChatPay(
            WeChatPayType.JSAPI,
            mchid=self.merchant_id,
            private_key=secret,
            cert_serial_no=known.wechat_pay_serial,
            appid=self.app_id,
            apiv3_key=known.wechat_pay_v3_key.get_secret_value(),
            public_key=known.wechat_pay_public_key,
            public_key_id=self._key_id,
            timeout=TIMEOUT_S,
            # A host on this machine is never reached through a proxy of the environment.
            proxy={"http": "", "https": ""} if known.environment != "production" else None,
        )
        self._pay._core._gate_way = known.wechat_pay_url.rstrip("/")

    # -- calls ---------------------------------------------------------------------------------------------------

    def prepay(self, ask: Ask) -> Prepared:
        answer = self._call(
            "prepay",
            lambda: self._pay.pay(
                description=ask.subject[:127],
                out_trade_no=ask.number,
                amount={"total": ask.fen, "currency": "CNY"},
                payer={"openid": ask.payer},
                time_expire=clock.local(ask.until).isoformat(timespec="seconds"),
                scene_info={"payer_client_ip": ask.client_ip},
                notify_url=ask.notice_url,
            ),
        )
        prepay_id = answer.get("prepay_id")
        if not prepay_id:
            raise Unknown("prepay_without_id")
        package, nonce, stamp = f"prepay_id={prepay_id}", uuid.uuid4().hex, str(int(clock.now().timestamp()))
        signature = self._pay.sign([self.app_id, stamp, nonce, package], SignType.RSA_SHA256)
        phone = {
            "appId": self.app_id,
            "timeStamp": stamp,
            "nonceStr": nonce,
            "package": package,
            "signType": "RSA",
            "paySign": signature,
        }
        return Prepared(phone, str(prepay_id))

    def query(self, number: str) -> Stand:
        try:
            answer = self._call("query", lambda: self._pay.query(out_trade_no=number))
        except Refused as refusal:
            if refusal.code in ("ORDER_NOT_EXIST", "ORDERNOTEXIST", "RESOURCE_NOT_EXISTS"):
                return Stand(Standing.ABSENT)
            raise Unknown(refusal.code) from refusal
        return self._stand(answer, number)

    def _stand(self, answer: Mapping[str, Any], number: str) -> Stand:
        standing = STANDINGS.get(str(answer.get("trade_state")))
        if standing is None or answer.get("out_trade_no") != number:
            raise Unknown("trade_state")
        return Stand(standing, self._evidence(answer) if standing == Standing.PAID else None)

    def _evidence(self, answer: Mapping[str, Any]) -> Evidence:
        try:
            amount = answer["amount"]
            return Evidence(
                number=str(answer["out_trade_no"]),
                fen=int(amount["total"]),
                currency=str(amount.get("currency", "CNY")),
                app_id=str(answer["appid"]),
                merchant_id=str(answer["mchid"]),
                payers=tuple(filter(None, [str((answer.get("payer") or {}).get("openid", ""))])),
                transaction_id=str(answer["transaction_id"]),
                paid_at=_moment(answer["success_time"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Unknown("evidence_incomplete") from error

    def close(self, number: str) -> Closing:
        try:
            self._call("close", lambda: self._pay.close(number))
        except Refused as refusal:
            if refusal.code in ("ORDERPAID", "ORDER_PAID"):
                return Closing.ALREADY_PAID
            if refusal.code in ("ORDER_CLOSED", "ORDERCLOSED"):
                return Closing.CLOSED
            if refusal.code in ("ORDER_NOT_EXIST", "ORDERNOTEXIST"):
                return Closing.ABSENT
            raise Unknown(refusal.code) from refusal
        return Closing.CLOSED

    def refund(self, ask: RefundAsk) -> RefundStand:
        answer = self._call(
            "refund",
            lambda: self._pay.refund(
                out_refund_no=ask.refund_number,
                amount={"refund": ask.fen, "total": ask.total_fen, "currency": "CNY"},
                out_trade_no=ask.number,
                reason=ask.reason[:80] or None,
                notify_url=ask.notice_url,
            ),
        )
        return self._refund(answer, ask.refund_number)

    def refund_query(self, number: str, refund_number: str) -> RefundStand:
        try:
            answer = self._call("refund_query", lambda: self._pay.query_refund(refund_number))
        except Refused as refusal:
            if refusal.code in ("RESOURCE_NOT_EXISTS", "REFUNDNOTEXIST"):
                return RefundStand(RefundStanding.ABSENT)
            raise Unknown(refusal.code) from refusal
        return self._refund(answer, refund_number)

    def _refund(self, answer: Mapping[str, Any], refund_number: str) -> RefundStand:
        status = str(answer.get("status") or answer.get("refund_status"))
        standing = REFUNDS.get(status)
        if standing is None or answer.get("out_refund_no") != refund_number:
            raise Unknown("refund_status")
        try:
            done = answer.get("success_time")
            return RefundStand(
                standing,
                int(answer["amount"]["refund"]),
                str(answer.get("refund_id", "")),
                _moment(done) if done else None,
                status,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Unknown("refund_incomplete") from error

    def _call(self, what: str, call: Any) -> dict[str, Any]:
        """The answer as an object. The library checks the signature of every 2xx answer and raises a bare Exception."""
        try:
            status, text = call()
        except requests.RequestException as error:
            raise Unknown(f"{what}_{type(error).__name__}") from error
        except Exception as error:  # the library's only word for a signature that is not WeChat's
            raise Unknown(f"{what}_unsigned") from error
        if status == 204:
            return {}
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise Unknown(f"{what}_unreadable") from error
        if not isinstance(answer, dict):
            raise Unknown(f"{what}_unreadable")
        if 200 <= status < 300:
            return answer
        code = str(answer.get("code", f"http_{status}"))
        # A refusal carries no signature that the library checks; none of them moves or settles money.
        if status >= 500 or code == "SYSTEM_ERROR":
            raise Unknown(code)
        raise Refused(code, permanent=code not in PASSING)

    # -- notices -------------------------------------------------------------------------------------------------

    def parse_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        if headers.get("wechatpay-serial") != self._key_id:
            raise BadNotice("other_key")
        try:
            said = datetime.fromtimestamp(int(headers["wechatpay-timestamp"]), UTC)
        except (KeyError, ValueError, OverflowError, OSError) as error:
            raise BadNotice("no_time") from error
        if too_far(said, now):
            raise BadNotice("too_old")
        try:
            told = self._pay.callback(dict(headers), body)
        except (
            Exception
        ) as error:  # a missing header, another algorithm, bytes that are no JSON: the library's bare word
            raise BadNotice("unreadable") from error
        if not told:
            raise BadNotice("forged")
        resource, kind = told["resource"], str(told.get("event_type", ""))
        key = str(told.get("id") or hashlib.sha256(body).hexdigest())
        number = str(resource.get("out_trade_no", ""))
        try:
            if kind == "TRANSACTION.SUCCESS":
                return Notice(NoticeKind.PAYMENT, key, number, evidence=self._evidence(resource))
            if kind.startswith("REFUND."):
                if resource.get("mchid") != self.merchant_id:
                    raise BadNotice("other_merchant")
                refund_number = str(resource.get("out_refund_no", ""))
                stand = self._refund(resource, refund_number)
                return Notice(NoticeKind.REFUND, key, number, refund_number, refund=stand)
        except Unknown as error:
            raise BadNotice(error.code) from error
        raise BadNotice("other_event")

    def reply(self, taken: bool) -> Reply:
        if taken:
            return Reply(204)
        return Reply(401, json.dumps({"code": "FAIL", "message": "refused"}).encode(), "application/json")

    # -- bills ---------------------------------------------------------------------------------------------------

    def bill(self, day: date) -> BillFile | None:
        try:
            told = self._call("bill", lambda: self._pay.trade_bill(day.isoformat(), bill_type="ALL", tar_type="GZIP"))
        except Refused as refusal:
            if refusal.code in ("NO_STATEMENT_EXIST", "STATEMENT_CREATING"):
                return None
            raise
        try:
            # The file itself is not signed; the answer that names its hash is.
            status, packed = self._pay._core.request(self._path(str(told["download_url"])), skip_verify=True)
        except (requests.RequestException, KeyError) as error:
            raise Unknown(f"bill_{type(error).__name__}") from error
        if status != 200:
            raise Unknown(f"bill_http_{status}")
        content = packed if isinstance(packed, bytes) else packed.encode()
        try:
            raw = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise Unknown("bill_cut") from error
        if hashlib.sha1(raw).hexdigest() != str(told.get("hash_value", "")).lower():  # noqa: S324 the channel's own choice
            raise Unknown("bill_hash")
        return wechat_bill.read(day, raw, self.app_id, self.merchant_id)

    def _path(self, url: str) -> str:
        gate = self._pay._core._gate_way
        if not url.startswith(gate):
            raise Unknown("bill_elsewhere")
        return url[len(gate) :]


def _moment(text: str) -> datetime:
    """RFC 3339; raises `ValueError` for one without a zone."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found.astimezone(UTC)
