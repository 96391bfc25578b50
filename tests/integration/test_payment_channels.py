"""Each driver against its channel's stand-in, with real signatures both ways: what it asks, hears and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from cloud.config import Settings, settings
from cloud.kit import clock
from cloud.kit.errors import Unavailable
from cloud.payments import channels
from cloud.payments.channels.keys import BadKeys
from cloud.payments.contract import (
    Ask,
    BadNotice,
    Channel,
    Closing,
    LineKind,
    NoticeKind,
    RefundAsk,
    RefundStanding,
    Refused,
    Standing,
    Unknown,
)
from simulators.money import signing
from simulators.money.alipay import AlipayService
from simulators.money.book import Order
from simulators.money.wechat_pay import WechatPayService
from tests.support.cashiers import keys, running

pytestmark = pytest.mark.req("CHN-1", "PAY-4")

DRIVERS = {
    "v3": ("wechat", {}),
    "v2": ("wechat", {"wechat_pay_driver": "v2"}),
    "v2-md5": ("wechat", {"wechat_pay_driver": "v2", "wechat_pay_v2_signature": "MD5"}),
    "alipay": ("alipay", {}),
}


class Stand:
    """One driver and its channel."""

    def __init__(self, channel: Channel, service: WechatPayService | AlipayService) -> None:
        self.channel, self.service = channel, service
        self.drawn = 0

    def ask(self, fen: int = 1234, **changed: object) -> Ask:
        self.drawn += 1
        values = {
            "number": f"P20261123{self.drawn:010d}",
            "fen": fen,
            "payer": "oSimulated0001",
            "subject": "杏林医院-门诊缴费",
            "until": clock.now() + timedelta(minutes=9),
            "client_ip": "203.0.113.9",
            "notice_url": "none:",
            "return_url": "http://127.0.0.1/p",
        }
        return Ask(**{**values, **changed})  # type: ignore[arg-type]

    def paid(self, fen: int = 1234) -> Order:
        ask = self.ask(fen)
        self.channel.prepay(ask)
        order = self.service.book.pay(ask.number)
        if isinstance(self.service, AlipayService):
            order.transaction_id = order.channel_number
        return order

    def told(self, order: Order, **changed: object) -> tuple[bytes, dict[str, str]]:
        """The channel's notice of a payment, lower-case header names as the web server gives them."""
        service = self.service
        if isinstance(service, AlipayService):
            body, headers = service.notice(order, **changed)  # type: ignore[arg-type]
        elif order.sign_type == "v3":
            at = changed.pop("at", None)
            resource = {**service._trade(order), **changed}
            body, headers = service.v3_notice("TRANSACTION.SUCCESS", resource, at)  # type: ignore[arg-type]
        else:
            body, headers = service.v2_notice(order, **changed)  # type: ignore[arg-type]
        return body, {name.lower(): value for name, value in headers.items()}


@pytest.fixture(params=list(DRIVERS), scope="module")
def driver(request: pytest.FixtureRequest) -> Iterator[Stand]:
    name, more = DRIVERS[request.param]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XINGLIN_ENVIRONMENT", "test")
        with running(patched, **more) as cashiers:
            yield Stand(channels.of(name), cashiers.wechat if name == "wechat" else cashiers.alipay)
    settings.cache_clear()


@pytest.fixture
def stand(driver: Stand) -> Stand:
    """The channel with empty books."""
    driver.service.book.orders.clear()
    driver.service.book.refunds.clear()
    driver.service.book.set_chaos({})
    return driver


def test_a_payment_is_prepared_paid_and_asked(stand: Stand) -> None:
    ask = stand.ask()
    prepared = stand.channel.prepay(ask)
    assert prepared.phone
    assert stand.channel.query(ask.number).standing == Standing.UNPAID
    stand.service.book.pay(ask.number)
    found = stand.channel.query(ask.number)
    assert found.standing == Standing.PAID
    assert found.evidence is not None
    assert (found.evidence.number, found.evidence.fen) == (ask.number, ask.fen)
    assert found.evidence.payers == (ask.payer,)
    assert abs(found.evidence.paid_at - clock.now()) < timedelta(minutes=1)


def test_the_phone_gets_what_the_channel_will_take(stand: Stand) -> None:
    """What the web view is called with is signed for exactly this order."""
    phone = stand.channel.prepay(stand.ask()).phone
    if isinstance(stand.service, AlipayService):
        assert set(phone) == {"tradeNO"}
        return
    assert phone["package"].startswith("prepay_id=wx")
    merchant = stand.service.merchant
    if phone["signType"] == "RSA":
        text = "\n".join([phone["appId"], phone["timeStamp"], phone["nonceStr"], phone["package"], ""])
        assert signing.rsa_verifies(merchant.public_key, text, phone["paySign"])
    else:
        fields = {name: value for name, value in phone.items() if name != "paySign"}
        assert phone["paySign"] == signing.v2_signature(fields, merchant.v2_key, phone["signType"])


def test_the_channel_takes_no_money_after_the_hold(stand: Stand) -> None:
    """wechatpy would let one pay for two hours."""
    ask = stand.ask()
    stand.channel.prepay(ask)
    assert stand.service.book.orders[ask.number].expires_at == pytest.approx(ask.until.timestamp(), abs=1)


def test_an_unpaid_order_is_closed_and_a_paid_one_is_not(stand: Stand) -> None:
    ask = stand.ask()
    stand.channel.prepay(ask)
    assert stand.channel.close(ask.number) == Closing.CLOSED
    assert stand.channel.query(ask.number).standing == Standing.CLOSED
    assert stand.channel.close(stand.paid().number) == Closing.ALREADY_PAID
    assert stand.channel.close("P202611239999999999") == Closing.ABSENT
    assert stand.channel.query("P202611239999999999").standing == Standing.ABSENT


def test_a_refund_with_one_number_moves_money_once(stand: Stand) -> None:
    order = stand.paid(1000)
    ask = RefundAsk(order.number, f"{order.number}R01", 300, 1000, "患者退费", "none:")
    first = stand.channel.refund(ask)
    again = stand.channel.refund(ask)
    assert {first.standing, again.standing} <= {RefundStanding.DONE, RefundStanding.PROCESSING}
    found = stand.channel.refund_query(order.number, ask.refund_number)
    assert (found.standing, found.fen) == (RefundStanding.DONE, 300)
    assert stand.service.book.totals()["refunded_fen"] == 300
    assert stand.channel.refund_query(order.number, f"{order.number}R99").standing == RefundStanding.ABSENT


def test_a_refund_of_more_than_is_left_is_refused(stand: Stand) -> None:
    order = stand.paid(1000)
    with pytest.raises(Refused):
        stand.channel.refund(RefundAsk(order.number, f"{order.number}R01", 1001, 1000, "患者退费", "none:"))


def test_a_call_without_an_answer_is_neither_yes_nor_no(stand: Stand) -> None:
    order = stand.paid(1000)
    stand.service.book.set_chaos({"call_lost_after": 1.0})
    with pytest.raises(Unknown):
        stand.channel.refund(RefundAsk(order.number, f"{order.number}R01", 300, 1000, "患者退费", "none:"))
    with pytest.raises(Unknown):
        stand.channel.query(order.number)
    stand.service.book.set_chaos({})
    assert stand.channel.refund_query(order.number, f"{order.number}R01").standing == RefundStanding.DONE


def test_an_answer_that_somebody_else_signed_is_not_believed(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """wechatpy believes every answer; here nobody knows what the channel said."""
    order = stand.paid()
    if isinstance(stand.service, AlipayService):
        monkeypatch.setattr(stand.service.app, "own_key", keys()[0])
    else:
        monkeypatch.setattr(stand.service.merchant, "platform_key", keys()[0])
        if order.sign_type != "v3":
            # The stand-in goes on checking requests with the right key, and signs its answers with another.
            monkeypatch.setattr(stand.service, "_v2_signed", _forger(stand.service))
    with pytest.raises(Unknown):
        stand.channel.query(order.number)


def _forger(service: WechatPayService):  # type: ignore[no-untyped-def]
    genuine = WechatPayService._v2_signed

    def forge(told, kind):  # type: ignore[no-untyped-def]
        key, service.merchant.v2_key = service.merchant.v2_key, "another-key-of-thirty-two-chars!"
        try:
            return genuine(service, told, kind)
        finally:
            service.merchant.v2_key = key

    return forge


# ---------------------------------------------------------------------- notices


def test_a_genuine_notice_is_evidence(stand: Stand) -> None:
    order = stand.paid()
    body, headers = stand.told(order)
    notice = stand.channel.parse_notice(headers, body, clock.now())
    assert notice.kind == NoticeKind.PAYMENT
    assert notice.evidence is not None
    assert (notice.number, notice.evidence.fen) == (order.number, order.fen)
    again, more = stand.told(order)
    assert stand.channel.parse_notice(more, again, clock.now()).key == notice.key


def test_a_changed_notice_is_no_notice(stand: Stand) -> None:
    body, headers = stand.told(stand.paid())
    for at in range(40, len(body) - 1, max(1, len(body) // 40)):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        with pytest.raises(BadNotice):
            stand.channel.parse_notice(headers, changed, clock.now())


def test_a_notice_for_another_merchant_is_handed_on_to_be_refused(stand: Stand) -> None:
    """Signed well, but not ours: either the driver refuses it, or the evidence says whose it is."""
    order = stand.paid()
    service = stand.service
    if isinstance(service, AlipayService):
        body, headers = stand.told(order, seller_id="2088999999999999")
    elif order.sign_type == "v3":
        body, headers = stand.told(order, mchid="1900000099")
        assert stand.channel.parse_notice(headers, body, clock.now()).evidence.merchant_id == "1900000099"  # type: ignore[union-attr]
        return
    else:
        body, headers = stand.told(order, mch_id="1900000099")
    with pytest.raises(BadNotice, match="other_merchant"):
        stand.channel.parse_notice(headers, body, clock.now())


def test_a_notice_of_yesterday_is_played_again_in_vain(stand: Stand) -> None:
    """v2 has no time in its notices: there the same key says that it was taken before."""
    order = stand.paid()
    if order.sign_type in ("MD5", "HMAC-SHA256"):
        first, again = (stand.channel.parse_notice(*reversed(stand.told(order)), clock.now()) for _ in range(2))
        assert first.key == again.key
        return
    body, headers = stand.told(order, at=clock.now().timestamp() - 86_400)
    with pytest.raises(BadNotice, match="too_old"):
        stand.channel.parse_notice(headers, body, clock.now())


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<xml>", b"\xff\xfe", b"sign=&a=1", b"<!DOCTYPE x [<!ENTITY a 'b'>]><xml>&a;</xml>"]
)
def test_what_is_no_notice_is_refused_with_a_word(stand: Stand, body: bytes) -> None:
    headers = {
        "wechatpay-serial": "PUB_KEY_ID_0000000000000000000000000001",
        "wechatpay-timestamp": str(int(clock.now().timestamp())),
        "wechatpay-signature": "WECHATPAY/SIGNTEST/aaaa",
        "wechatpay-signature-type": "WECHATPAY2-SHA256-RSA2048",
        "wechatpay-nonce": "a",
    }
    with pytest.raises(BadNotice):
        stand.channel.parse_notice(headers, body, clock.now())


def test_the_answers_are_the_ones_each_channel_wants(stand: Stand) -> None:
    taken, refused = stand.channel.reply(True), stand.channel.reply(False)
    if isinstance(stand.service, AlipayService):
        assert (taken.body, refused.body) == (b"success", b"failure")
    elif taken.status == 204:
        assert refused.status == 401
    else:
        assert b"SUCCESS" in taken.body
        assert b"FAIL" in refused.body


# ---------------------------------------------------------------------- bills


def test_a_days_bill_lists_what_was_paid_and_refunded(stand: Stand) -> None:
    first, second = stand.paid(1000), stand.paid(2505)
    stand.channel.refund(RefundAsk(second.number, f"{second.number}R01", 505, 2505, "患者退费", "none:"))
    bill = stand.channel.bill(clock.today())
    assert bill is not None
    lines = [(each.kind, each.number, each.refund_number, each.fen) for each in bill.lines]
    assert lines == [
        (LineKind.PAID, first.number, "", 1000),
        (LineKind.PAID, second.number, "", 2505),
        (LineKind.REFUNDED, second.number, f"{second.number}R01", 505),
    ]


def test_a_day_without_trade_has_no_bill(stand: Stand) -> None:
    assert stand.channel.bill(clock.today() - timedelta(days=1)) is None


# ---------------------------------------------------------------------- settings


def test_our_own_public_key_in_the_channels_place_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XINGLIN_ENVIRONMENT", "test")
    merchant_key, _, app_key, _ = keys()
    for name, pem in (
        ("wechat_pay_public_key", signing.public_pem(merchant_key)),
        ("alipay_public_key", signing.public_pem(app_key)),
    ):
        with running(monkeypatch, **{name: pem}), pytest.raises(BadKeys, match="own public key"):
            channels.check(settings())
        settings.cache_clear()


@pytest.mark.parametrize("name", ["wechat_pay_v3_key", "wechat_pay_private_key", "alipay_public_key"])
def test_an_empty_secret_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("XINGLIN_ENVIRONMENT", "test")
    with running(monkeypatch, **{name: ""}), pytest.raises(BadKeys, match="empty"):
        channels.check(settings())
    settings.cache_clear()


def test_production_speaks_to_no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(monkeypatch) as _:
        known = Settings(environment="production", secret_key="x" * 40)
        with pytest.raises(BadKeys, match="stand-in"):
            channels.check(known)
    settings.cache_clear()


def test_a_hospital_without_a_channel_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XINGLIN_ENVIRONMENT", "test")
    monkeypatch.setenv("XINGLIN_WECHAT_PAY_DRIVER", "")
    monkeypatch.setenv("XINGLIN_ALIPAY_APP_ID", "")
    settings.cache_clear()
    assert channels.offered() == []
    with pytest.raises(Unavailable):
        channels.of("wechat")
    settings.cache_clear()


def test_a_hospital_with_both_channels_offers_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XINGLIN_ENVIRONMENT", "test")
    with running(monkeypatch) as cashiers:
        assert channels.offered() == ["wechat", "alipay"]
        offered = [channels.of(each) for each in channels.offered()]
        assert [each.app_id for each in offered] == [cashiers.wechat.merchant.app_id, cashiers.alipay.app.app_id]
    settings.cache_clear()
