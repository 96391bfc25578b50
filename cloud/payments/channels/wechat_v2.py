"""WeChat Pay v2 through wechatpy, for merchants that still have only a v2 key.

What wechatpy 1.8.18 leaves open is closed here: it believes every synchronous answer (each is verified with our key
before a field of it is read), its notices are MD5 only (verified by the kind of signature we chose, never by what the
message says of itself), its orders end two hours later than asked for nothing, its refunds take the money of the day
alone, and its calls have no time limit. The refund notice of v2 carries no signature: it is a hint to ask.
Facts: WeChat Pay's v2 documentation (unifiedorder, orderquery, closeorder, refund, refundquery, downloadbill, notices).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from xml.parsers.expat import ExpatError

import requests
import xmltodict
from wechatpy.exceptions import WeChatPayException
from wechatpy.pay import WeChatPay
from wechatpy.pay.utils import calculate_signature, calculate_signature_hmac
from wechatpy.utils import random_string

from cloud.config import Settings
from cloud.kit import clock
from cloud.notify.wechat import timed_session
from cloud.payments.channels import wechat_bill
from cloud.payments.channels.keys import check_host, required
from cloud.payments.channels.wechat_v3 import HOSTS, STANDINGS
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

HMAC_SHA256 = "HMAC-SHA256"
REFUNDS = {
    "SUCCESS": RefundStanding.DONE,
    "PROCESSING": RefundStanding.PROCESSING,
    "CHANGE": RefundStanding.FAILED,
    "REFUNDCLOSE": RefundStanding.FAILED,
}
PASSING = frozenset({"SYSTEMERROR", "BIZERR_NEED_RETRY", "NOTENOUGH", "FREQUENCY_LIMITED", "USER_PAYING"})
FUNDS = ("REFUND_SOURCE_UNSETTLED_FUNDS", "REFUND_SOURCE_RECHARGE_FUNDS")
"""Where a refund is taken from: the day's income first, then the merchant's own balance."""

Fields = dict[str, Any]


class _Client(WeChatPay):  # type: ignore[misc]
    """wechatpy's client on the configured host, with time limits."""

    def __init__(self, known: Settings) -> None:
        certificate, key = known.wechat_pay_certificate_file, known.wechat_pay_certificate_key_file
        super().__init__(
            known.wechat_app_id,
            known.wechat_pay_v2_key.get_secret_value(),
            known.wechat_pay_merchant_id,
            mch_cert=str(certificate) if certificate else None,
            mch_key=str(key) if key else None,
        )
        self.API_BASE_URL = known.wechat_pay_url.rstrip("/") + "/"
        self._http = timed_session(known.wechat_pay_url)


class WechatV2:
    name = "wechat"
    refund_gap = timedelta(seconds=60)
    shortest = timedelta(minutes=5)
    """WeChat's documentation of closeorder: not earlier than five minutes after the order was made."""
    payable_when_absent = False

    def __init__(self, known: Settings) -> None:
        check_host(known, "XINGLIN_WECHAT_PAY_URL", known.wechat_pay_url, HOSTS)
        required(known, "wechat_app_id", "wechat_pay_merchant_id", "wechat_pay_v2_key")
        self.app_id = known.wechat_app_id
        self.merchant_id = known.wechat_pay_merchant_id
        self._key = known.wechat_pay_v2_key.get_secret_value()
        self._sign_type = known.wechat_pay_v2_signature
        self._pay = _Client(known)

    # -- calls ---------------------------------------------------------------------------------------------------

    def prepay(self, ask: Ask) -> Prepared:
        answer = self._call(
            "prepay",
            lambda: self._pay.order.create(
                "JSAPI",
                _clean(ask.subject),
                ask.fen,
                ask.notice_url,
                client_ip=ask.client_ip,
                user_id=ask.payer,
                out_trade_no=ask.number,
                time_start=clock.local(clock.now()),
                time_expire=clock.local(ask.until),
                sign_type=self._sign_type,
            ),
        )
        prepay_id = answer.get("prepay_id")
        if not prepay_id:
            raise Unknown("prepay_without_id")
        phone = {
            "appId": self.app_id,
            "timeStamp": str(int(clock.now().timestamp())),
            "nonceStr": random_string(32),
            "package": f"prepay_id={prepay_id}",
            "signType": self._sign_type,
        }
        return Prepared({**phone, "paySign": self._signature(phone, self._sign_type)}, str(prepay_id))

    def query(self, number: str) -> Stand:
        try:
            answer = self._call("query", lambda: self._pay.order.query(out_trade_no=number))
        except Refused as refusal:
            if refusal.code == "ORDERNOTEXIST":
                return Stand(Standing.ABSENT)
            raise Unknown(refusal.code) from refusal
        standing = STANDINGS.get(str(answer.get("trade_state")))
        if standing is None or answer.get("out_trade_no") != number:
            raise Unknown("trade_state")
        return Stand(standing, _evidence(answer) if standing == Standing.PAID else None)

    def close(self, number: str) -> Closing:
        try:
            self._call("close", lambda: self._pay.order.close(number))
        except Refused as refusal:
            found = {"ORDERPAID": Closing.ALREADY_PAID, "ORDERCLOSED": Closing.CLOSED, "ORDERNOTEXIST": Closing.ABSENT}
            if refusal.code not in found:
                raise Unknown(refusal.code) from refusal
            return found[refusal.code]
        return Closing.CLOSED

    def refund(self, ask: RefundAsk) -> RefundStand:
        """Accepted is not arrived: v2 answers that it has taken the refund, how it ends is asked."""
        for last, funds in ((False, FUNDS[0]), (True, FUNDS[1])):
            try:
                answer = self._call("refund", lambda funds=funds: self._apply(ask, funds))  # type: ignore[misc]
            except Refused as refusal:
                if refusal.code != "NOTENOUGH" or last:
                    raise
                continue
            if answer.get("out_refund_no") != ask.refund_number:
                raise Unknown("refund_number")
            fen, channel_number = int(answer["refund_fee"]), str(answer.get("refund_id", ""))
            return RefundStand(RefundStanding.PROCESSING, fen, channel_number)
        raise AssertionError("the last source either answers or refuses")

    def _apply(self, ask: RefundAsk, funds: str) -> Any:
        return self._pay.refund.apply(
            ask.total_fen,
            ask.fen,
            ask.refund_number,
            out_trade_no=ask.number,
            refund_account=funds,
            refund_desc=_clean(ask.reason)[:80],
            notify_url=ask.notice_url,
        )

    def refund_query(self, number: str, refund_number: str) -> RefundStand:
        try:
            answer = self._call("refund_query", lambda: self._pay.refund.query(out_refund_no=refund_number))
        except Refused as refusal:
            if refusal.code == "REFUNDNOTEXIST":
                return RefundStand(RefundStanding.ABSENT)
            raise Unknown(refusal.code) from refusal
        at = next(
            (
                at
                for at in range(int(answer.get("refund_count", 0)))
                if answer.get(f"out_refund_no_{at}") == refund_number
            ),
            None,
        )
        standing = REFUNDS.get(str(answer.get(f"refund_status_{at}")))
        if at is None or standing is None or answer.get("out_trade_no") != number:
            raise Unknown("refund_status")
        done = answer.get(f"refund_success_time_{at}")
        return RefundStand(
            standing,
            int(answer[f"refund_fee_{at}"]),
            str(answer.get(f"refund_id_{at}", "")),
            _civil(done, "%Y-%m-%d %H:%M:%S") if done and standing == RefundStanding.DONE else None,
            str(answer.get(f"refund_status_{at}")),
        )

    def _call(self, what: str, call: Callable[[], Any]) -> Fields:
        """The verified answer. Raises `Refused` for a verified refusal, `Unknown` for whatever nobody signed."""
        try:
            answer = call()
        except WeChatPayException as refusal:
            text = refusal.response.text if refusal.response is not None else ""
            if self._verified(_parsed(text)):
                code = str(refusal.errcode or refusal.return_code)
                if code == "SYSTEMERROR":
                    raise Unknown(code) from refusal
                raise Refused(code, permanent=code not in PASSING) from refusal
            raise Unknown(f"{what}_unsigned") from refusal
        except (requests.RequestException, KeyError, TypeError, ValueError, ExpatError) as error:
            raise Unknown(f"{what}_{type(error).__name__}") from error
        if not isinstance(answer, Mapping) or not self._verified(answer):
            raise Unknown(f"{what}_unsigned")
        if answer.get("appid") != self.app_id or answer.get("mch_id") != self.merchant_id:
            raise Unknown(f"{what}_other_merchant")
        return dict(answer)

    # -- signatures ----------------------------------------------------------------------------------------------

    def _signature(self, fields: Mapping[str, Any], kind: str) -> str:
        sign = calculate_signature_hmac if kind == HMAC_SHA256 else calculate_signature
        return str(sign({name: value for name, value in fields.items() if name != "sign"}, self._key))

    def _verified(self, fields: Mapping[str, Any]) -> bool:
        """Signed with our key. An answer is signed as its request was: MD5, but for orders made with another kind."""
        sign = str(fields.get("sign") or "")
        kinds = {"MD5", self._sign_type}
        return bool(sign) and any(
            hmac.compare_digest(sign.encode(), self._signature(fields, kind).encode()) for kind in sorted(kinds)
        )

    # -- notices -------------------------------------------------------------------------------------------------

    def parse_notice(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        fields = _parsed(body.decode("utf-8", "replace"))
        if not fields:
            raise BadNotice("unreadable")
        if "req_info" in fields:
            return self._refund_hint(fields, body)
        sign = str(fields.get("sign") or "")
        if not sign or not hmac.compare_digest(sign.encode(), self._signature(fields, self._sign_type).encode()):
            raise BadNotice("forged")
        if fields.get("appid") != self.app_id or fields.get("mch_id") != self.merchant_id:
            raise BadNotice("other_merchant")
        number = str(fields.get("out_trade_no", ""))
        key = f"pay:{fields.get('transaction_id') or hashlib.sha256(body).hexdigest()}"
        if fields.get("result_code") != "SUCCESS":
            return Notice(NoticeKind.PAYMENT, f"{key}:{fields.get('err_code', '')}", number)
        try:
            return Notice(NoticeKind.PAYMENT, key, number, evidence=_evidence(fields))
        except Unknown as error:
            raise BadNotice(error.code) from error

    def _refund_hint(self, fields: Fields, body: bytes) -> Notice:
        try:
            told = self._pay.parse_refund_notify_result(body)
            number, refund_number = str(told["out_trade_no"]), str(told["out_refund_no"])
        except Exception as error:  # padding, key, XML: whatever the library says, it is no notice of ours
            raise BadNotice("forged") from error
        return Notice(NoticeKind.REFUND, f"refund:{hashlib.sha256(body).hexdigest()}", number, refund_number)

    def reply(self, taken: bool) -> Reply:
        code = "SUCCESS" if taken else "FAIL"
        text = f"<xml><return_code><![CDATA[{code}]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>"
        return Reply(200, text.encode(), "text/xml")

    # -- bills ---------------------------------------------------------------------------------------------------

    def bill(self, day: date) -> BillFile | None:
        try:
            answer = self._pay.tools.download_bill(day.strftime("%Y%m%d"), "ALL")
        except WeChatPayException as refusal:
            text = refusal.response.text if refusal.response is not None else ""
            told = _parsed(text)
            code = str(told.get("error_code") or told.get("return_msg") or "")
            if code in ("20002", "20007", "No Bill Exist", "Bill Creating"):
                return None
            raise Refused(code or "bill", permanent=False) from refusal
        except requests.RequestException as error:
            raise Unknown(f"bill_{type(error).__name__}") from error
        if not isinstance(answer, str):
            raise Unknown("bill_unreadable")
        return wechat_bill.read(day, answer.encode(), self.app_id, self.merchant_id)


def _evidence(fields: Mapping[str, Any]) -> Evidence:
    try:
        return Evidence(
            number=str(fields["out_trade_no"]),
            fen=int(fields["total_fee"]),
            currency=str(fields.get("fee_type") or "CNY"),
            app_id=str(fields["appid"]),
            merchant_id=str(fields["mch_id"]),
            payers=(str(fields["openid"]),),
            transaction_id=str(fields["transaction_id"]),
            paid_at=_civil(str(fields["time_end"]), "%Y%m%d%H%M%S"),
        )
    except (KeyError, ValueError) as error:
        raise Unknown("evidence_incomplete") from error


def _parsed(text: str) -> Fields:
    """The fields of an ``<xml>`` message; {} where it is none (entities are refused by the parser)."""
    try:
        found = xmltodict.parse(text)["xml"]
    except (ExpatError, ValueError, KeyError, TypeError):
        return {}
    return dict(found) if isinstance(found, Mapping) else {}


def _civil(text: str, shape: str) -> datetime:
    """WeChat v2 writes Beijing time without a zone."""
    return datetime.strptime(text, shape).replace(tzinfo=clock.hospital_zone()).astimezone(UTC)


def _clean(text: str) -> str:
    """wechatpy wraps values in CDATA: its end inside a value breaks the signature."""
    return text.replace("]]>", "").strip()
