"""Alipay through python-alipay-sdk: payments in its life account's web view or a mobile browser, refunds, bills.

Around the library (3.4.0): ``trade.create`` is called through the general call (its own wrapper fails on every error);
an answer is believed only when it is signed and says 10000; braces in what Alipay echoes would break the library's
reading of a genuine answer, so none are sent; amounts go as text made from fen; the timestamp is the hospital's, not
the container's; every identity in a notice is handed on to be compared.
Facts: Alipay's open documentation (trade.create, trade.wap.pay, query, close, refund, fastpay.refund.query,
bill.downloadurl.query, asynchronous notices).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.error import URLError
from urllib.parse import parse_qsl

import requests
from alipay import AliPay, DCAliPay
from alipay.exceptions import AliPayException, AliPayValidationError
from alipay.utils import AliPayConfig

from cloud.config import Settings
from cloud.kit import clock, money
from cloud.notify.wechat import timed_session
from cloud.payments.channels import alipay_bill
from cloud.payments.channels.keys import check_host, private_key, public_key, required, strangers
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

TIMEOUT_S = 10
HOSTS = frozenset({"openapi.alipay.com"})
STANDINGS = {
    "TRADE_SUCCESS": Standing.PAID,
    "TRADE_FINISHED": Standing.PAID,
    "WAIT_BUYER_PAY": Standing.UNPAID,
    "TRADE_CLOSED": Standing.CLOSED,
}
NOBODY_KNOWS = frozenset({"10003", "20000"})
ABSENT = "ACQ.TRADE_NOT_EXIST"


class Alipay:
    name = "alipay"
    refund_gap = timedelta(seconds=3)
    shortest = timedelta()

    def __init__(self, known: Settings) -> None:
        check_host(known, "XINGLIN_ALIPAY_URL", known.alipay_url, HOSTS)
        required(known, "alipay_app_id", "alipay_merchant_id", "alipay_private_key")
        secret = known.alipay_private_key.get_secret_value()
        own = private_key("XINGLIN_ALIPAY_PRIVATE_KEY", secret)
        self.app_id, self.merchant_id = known.alipay_app_id, known.alipay_merchant_id
        self._page = known.alipay_pay == "wap"
        self.payable_when_absent = self._page
        """A signed page makes its trade when somebody opens it, and not before."""
        if known.alipay_certificate:
            required(known, "alipay_app_certificate", "alipay_root_certificate")
            self._api: Any = DCAliPay(
                appid=self.app_id,
                app_private_key_string=secret,
                app_public_key_cert_string=known.alipay_app_certificate,
                alipay_public_key_cert_string=known.alipay_certificate,
                alipay_root_cert_string=known.alipay_root_certificate,
            )
            self._api._config = AliPayConfig(timeout=TIMEOUT_S)
        else:
            required(known, "alipay_public_key")
            strangers("XINGLIN_ALIPAY_PUBLIC_KEY", own, public_key("…PUBLIC_KEY", known.alipay_public_key))
            self._api = AliPay(
                appid=self.app_id,
                app_private_key_string=secret,
                alipay_public_key_string=known.alipay_public_key,
                config=AliPayConfig(timeout=TIMEOUT_S),
            )
        self._api._gateway = known.alipay_url

    # -- calls ---------------------------------------------------------------------------------------------------

    def prepay(self, ask: Ask) -> Prepared:
        content = {
            "subject": _clean(ask.subject),
            "out_trade_no": ask.number,
            "total_amount": money.yuan(ask.fen),
            "time_expire": _written(ask.until),
        }
        if self._page:
            content |= {"product_code": "QUICK_WAP_WAY", "quit_url": ask.return_url}
            signed = self._api.client_api(
                "alipay.trade.wap.pay",
                content,
                notify_url=ask.notice_url,
                return_url=ask.return_url,
                timestamp=_written(clock.now()),
            )
            return Prepared({"page": f"{self._api._gateway}?{signed}"})
        payer = "buyer_id" if ask.payer.startswith("2088") else "buyer_open_id"
        content |= {payer: ask.payer, "product_code": "JSAPI_PAY", "op_app_id": self.app_id}
        answer = self._call("alipay.trade.create", content, notify_url=ask.notice_url)
        if answer.get("out_trade_no") != ask.number or not answer.get("trade_no"):
            raise Unknown("create_without_trade")
        return Prepared({"tradeNO": str(answer["trade_no"])}, str(answer["trade_no"]))

    def query(self, number: str) -> Stand:
        try:
            answer = self._call("alipay.trade.query", {"out_trade_no": number})
        except Refused as refusal:
            if refusal.code == ABSENT:
                return Stand(Standing.ABSENT)
            raise Unknown(refusal.code) from refusal
        standing = STANDINGS.get(str(answer.get("trade_status")))
        if standing is None or answer.get("out_trade_no") != number:
            raise Unknown("trade_status")
        if standing == Standing.CLOSED and answer.get("send_pay_date"):
            # Closed behind a whole refund: money did come.
            standing = Standing.PAID
        return Stand(standing, self._evidence(answer, "send_pay_date") if standing == Standing.PAID else None)

    def _evidence(self, fields: Mapping[str, Any], moment: str) -> Evidence:
        try:
            return Evidence(
                number=str(fields["out_trade_no"]),
                fen=money.fen(str(fields["total_amount"])),
                currency=str(fields.get("trans_currency") or "CNY"),
                app_id=str(fields.get("app_id") or ""),
                merchant_id=str(fields.get("seller_id") or ""),
                payers=tuple(
                    str(fields[each]) for each in ("buyer_open_id", "buyer_id", "buyer_user_id") if fields.get(each)
                ),
                transaction_id=str(fields["trade_no"]),
                paid_at=_moment(str(fields[moment])),
            )
        except (KeyError, ValueError) as error:
            raise Unknown("evidence_incomplete") from error

    def close(self, number: str) -> Closing:
        try:
            self._call("alipay.trade.close", {"out_trade_no": number})
        except Refused as refusal:
            if refusal.code == "ACQ.TRADE_HAS_SUCCESS":
                return Closing.ALREADY_PAID
            if refusal.code == "ACQ.TRADE_STATUS_ERROR":
                # Paid or closed already: which one is asked.
                standing = self.query(number).standing
                return Closing.ALREADY_PAID if standing == Standing.PAID else Closing.CLOSED
            if refusal.code == ABSENT:
                return Closing.ABSENT
            raise Unknown(refusal.code) from refusal
        return Closing.CLOSED

    def refund(self, ask: RefundAsk) -> RefundStand:
        """`fund_change` N says that this call moved nothing (it may have moved before): the refund itself is asked."""
        answer = self._call(
            "alipay.trade.refund",
            {
                "out_trade_no": ask.number,
                "refund_amount": money.yuan(ask.fen),
                "out_request_no": ask.refund_number,
                "refund_reason": _clean(ask.reason)[:200],
            },
        )
        if answer.get("out_trade_no") != ask.number:
            raise Unknown("refund_number")
        stand = self.refund_query(ask.number, ask.refund_number)
        if stand.standing == RefundStanding.ABSENT:
            return RefundStand(RefundStanding.PROCESSING, channel_number=str(answer.get("trade_no", "")))
        return stand

    def refund_query(self, number: str, refund_number: str) -> RefundStand:
        content = {
            "out_trade_no": number,
            "out_request_no": refund_number,
            "query_options": ["gmt_refund_pay"],
        }
        try:
            answer = self._call("alipay.trade.fastpay.refund.query", content)
        except Refused as refusal:
            if refusal.code == ABSENT:
                return RefundStand(RefundStanding.ABSENT)
            raise Unknown(refusal.code) from refusal
        if not answer.get("refund_amount"):
            return RefundStand(RefundStanding.ABSENT)
        if answer.get("out_request_no") != refund_number:
            raise Unknown("refund_number")
        try:
            # An answer without a status is of the older kind, which lists a refund only once it is done.
            done = answer.get("refund_status", "REFUND_SUCCESS") == "REFUND_SUCCESS"
            at = answer.get("gmt_refund_pay")
            return RefundStand(
                RefundStanding.DONE if done else RefundStanding.PROCESSING,
                money.fen(str(answer["refund_amount"])),
                str(answer.get("trade_no", "")),
                _moment(str(at)) if at and done else None,
            )
        except ValueError as error:
            raise Unknown("refund_incomplete") from error

    def _call(self, method: str, content: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A signed answer that says 10000. `Refused` with its sub code; `Unknown` for everything that is neither."""
        try:
            answer = self._api.server_api(method, content, timestamp=_written(clock.now()), **more)
        except AliPayValidationError as error:
            raise Unknown("unsigned") from error
        except AliPayException as error:
            raise Unknown(f"unsigned_{error.code}") from error
        except (URLError, OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            raise Unknown(type(error).__name__) from error
        if not isinstance(answer, dict):
            raise Unknown("unreadable")
        code, detail = str(answer.get("code")), str(answer.get("sub_code") or answer.get("code"))
        if code == "10000":
            return answer
        if code in NOBODY_KNOWS or detail in ("ACQ.SYSTEM_ERROR", "isp.unknow-error", "aop.ACQ.SYSTEM_ERROR"):
            raise Unknown(detail)
        raise Refused(detail, permanent=detail not in ("ACQ.SELLER_BALANCE_NOT_ENOUGH", "ACQ.REFUND_CHARGE_ERROR"))

    # -- notices -------------------------------------------------------------------------------------------------

    def parse_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        try:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=100))
        except ValueError as error:
            raise BadNotice("unreadable") from error
        sign = fields.pop("sign", "")
        try:
            genuine = bool(sign) and self._api.verify(dict(fields), sign)
        except (AliPayException, ValueError, TypeError) as error:
            raise BadNotice("forged") from error
        if not genuine:
            raise BadNotice("forged")
        if fields.get("app_id") != self.app_id or fields.get("seller_id") != self.merchant_id:
            raise BadNotice("other_merchant")
        try:
            said = _moment(fields["notify_time"])
        except (KeyError, ValueError) as error:
            raise BadNotice("no_time") from error
        if too_far(said, now):
            raise BadNotice("too_old")
        number, key = fields.get("out_trade_no", ""), fields.get("notify_id", "")
        if not key:
            raise BadNotice("unreadable")
        if fields.get("gmt_refund"):
            # One message for both: of the refund it is a hint, and its amounts are sums over all refunds.
            return Notice(NoticeKind.REFUND, key, number, fields.get("out_biz_no", ""))
        if STANDINGS.get(fields.get("trade_status", "")) != Standing.PAID:
            return Notice(NoticeKind.PAYMENT, key, number)
        try:
            return Notice(NoticeKind.PAYMENT, key, number, evidence=self._evidence(fields, "gmt_payment"))
        except Unknown as error:
            raise BadNotice(error.code) from error

    def reply(self, taken: bool) -> Reply:
        return Reply(200, b"success" if taken else b"failure")

    # -- bills ---------------------------------------------------------------------------------------------------

    def bill(self, day: date) -> BillFile | None:
        content = {"bill_type": "trade", "bill_date": day.isoformat()}
        try:
            told = self._call("alipay.data.dataservice.bill.downloadurl.query", content)
        except Refused as refusal:
            if refusal.code in ("isp.bill_not_exist", "isv.bill_not_exist"):
                return None
            raise
        url = str(told.get("bill_download_url", ""))
        try:
            with timed_session(url) as session:
                answer = session.get(url)
        except requests.RequestException as error:
            raise Unknown(f"bill_{type(error).__name__}") from error
        if answer.status_code != 200:
            raise Unknown(f"bill_http_{answer.status_code}")
        return alipay_bill.read(day, answer.content)


def _written(moment: datetime) -> str:
    return f"{clock.local(moment):%Y-%m-%d %H:%M:%S}"


def _moment(text: str) -> datetime:
    """Alipay writes Beijing time without a zone (with thousandths in some fields)."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=clock.hospital_zone()).astimezone(UTC)


def _clean(text: str) -> str:
    """A brace in what Alipay echoes breaks the library's search for the signed text."""
    return text.replace("{", "（").replace("}", "）").strip()
