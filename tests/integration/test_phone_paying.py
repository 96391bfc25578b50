"""The pay page and the transactions on a phone: shown to its payer alone, believed on the channel's word alone."""

from __future__ import annotations

import gzip
import html
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import httpx
import psycopg
import pytest
from sqlalchemy import text, update
from structlog.testing import capture_logs

from cloud.config import Settings
from cloud.his.port import NumberLock, NumberStand, NumberStanding, Unknown
from cloud.kit import clock
from cloud.kit.db import begin, engine
from cloud.patient.identity import access
from cloud.patient.paying import stand_in
from cloud.patient.paying.rules import Stage, stage_of, track, word_of
from cloud.patient.registration import at_his
from cloud.patient.registration.model import Booking
from cloud.payments.model import Payment, Refund
from cloud.people.access import grant
from tests.support import paying, registering
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.phone_payments import PayTown, account_of, asked_of, attribute, pay_town, pays
from tests.support.phones import Phone, register
from tests.support.work import work


@pytest.fixture(scope="module")
def place(database_server: DatabaseServer) -> Iterator[PayTown]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        pay_town(patched) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def wang(place: PayTown) -> Phone:
    phone = place.town.phone("wang")
    phone.sign_in()
    return phone


@pytest.fixture(scope="module")
def stranger(place: PayTown) -> Phone:
    phone = place.town.phone("stranger")
    phone.sign_in()
    return phone


@pytest.fixture(autouse=True)
def calm(place: PayTown) -> Iterator[None]:
    yield
    place.cashiers.wechat.book.set_chaos({})


@pytest.mark.req("PAY-1", "PAY-5", "UX-1")
def test_a_phone_without_scripts_pays_and_comes_back_to_what_it_paid_for(place: PayTown, wang: Phone) -> None:
    place.cashiers.wechat.book.set_chaos({"notice_lost": 1.0})
    payment_id = asked_of("wang", 1234)
    page = wang.get(f"/p/pay/{payment_id}")
    assert "12.34" in page.text
    assert "内科 张*" in page.text
    ended = pays(wang, payment_id)
    assert (ended.status_code, ended.headers["location"]) == (303, "/p/reports")
    found = paying.payment(payment_id)
    assert (found.state, found.settled_by) == ("paid", "query")


@pytest.mark.req("PAY-5")
def test_coming_back_without_having_paid_pays_nothing(place: PayTown, wang: Phone) -> None:
    payment_id = asked_of("wang")
    wang.get(f"/p/pay/{payment_id}")
    page = wang.get(f"/p/pay/{payment_id}?back=1")
    assert page.status_code == 200
    assert 'http-equiv="refresh"' in page.text
    assert paying.payment(payment_id).state == "prepared"
    assert wang.get(f"/p/pay/{payment_id}/stand?asked=1").json() == {"stage": "open", "next": "/p/reports"}


@pytest.mark.req("PAY-1")
def test_the_same_page_opened_twice_is_one_order_at_the_channel(place: PayTown, wang: Phone) -> None:
    payment_id = asked_of("wang")
    pages = [wang.get(f"/p/pay/{payment_id}").text for _ in range(2)]
    assert attribute(pages[0], "data-phone") == attribute(pages[1], "data-phone")
    number = paying.payment(payment_id).number
    assert [each for each in place.cashiers.wechat.book.orders if each == number] == [number]


@pytest.mark.req("SEC-1", "PAY-5")
@pytest.mark.parametrize("address", ["/p/pay/{}", "/p/pay/{}/stand?asked=1", "/p/transactions/{}"])
def test_a_strangers_payment_answers_like_none(stranger: Phone, wang: Phone, address: str) -> None:
    payment_id = asked_of("wang")
    answers = [stranger.get(address.format(key)) for key in (payment_id, uuid.uuid4(), "nonsense")]
    assert [each.status_code for each in answers] == [404, 404, 404]
    bodies = {each.text.replace(str(payment_id), "") for each in answers[:1]}
    assert all("15.00" not in each for each in bodies)
    assert paying.payment(payment_id).state == "open"


@pytest.mark.req("SEC-1")
def test_a_stranger_can_neither_end_nor_list_anothers_payment(stranger: Phone, wang: Phone) -> None:
    payment_id = asked_of("wang")
    answer = stranger.post(f"/p/pay/{payment_id}/give-up")
    assert answer.status_code == 404
    assert paying.payment(payment_id).expires_at > clock.now() + timedelta(minutes=5)
    assert paying.payment(payment_id).number not in stranger.get("/p/transactions").text


@pytest.mark.req("PAY-6")
def test_a_phone_that_asks_without_end_does_not_make_us_ask_the_channel_without_end(
    place: PayTown, wang: Phone
) -> None:
    payment_id = asked_of("wang")
    wang.get(f"/p/pay/{payment_id}")
    for _ in range(20):
        assert wang.get(f"/p/pay/{payment_id}/stand?asked=1").status_code == 200
    assert paying.payment(payment_id).asked == 12


@pytest.mark.req("UX-1", "PAY-5")
def test_a_channel_that_is_down_gives_a_clear_page_and_the_money_a_way(place: PayTown, wang: Phone) -> None:
    payment_id = asked_of("wang")
    place.cashiers.wechat.book.set_chaos({"call_lost_before": 1.0})
    page = wang.get(f"/p/pay/{payment_id}")
    assert page.status_code == 503
    for said in ("没有应答", "没有扣款", "收费窗口", f'href="/p/pay/{payment_id}"'):
        assert said in page.text
    assert "data-pay-now" not in page.text
    assert wang.get(f"/p/pay/{payment_id}/stand?asked=1").json()["stage"] == "open"
    place.cashiers.wechat.book.set_chaos({})
    assert pays(wang, payment_id).headers["location"] == "/p/reports"


@contextmanager
def without_database() -> Iterator[None]:
    """Nobody reaches this database, and who was connected is not any more."""
    here = engine().url
    elsewhere = here.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(elsewhere, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{here.database}" WITH ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (here.database,))
        try:
            yield
        finally:
            admin.execute(f'ALTER DATABASE "{here.database}" WITH ALLOW_CONNECTIONS true')


@pytest.mark.req("UX-1", "PAY-5", "PAY-6")
def test_money_paid_while_the_database_is_away_is_not_lost(place: PayTown, wang: Phone) -> None:
    payment_id = asked_of("wang", 4321)
    wang.get(f"/p/pay/{payment_id}")
    with capture_logs() as log, without_database():
        order = place.cashiers.wechat.book.pay(paying_number(place))
        page = wang.get(f"/p/pay/{payment_id}?back=1")
        assert page.status_code == 503
        for said in ("已付的款项不会丢失", "重试", f'href="/p/pay/{payment_id}?back=1"'):
            assert said in page.text
        told = httpx.post(f"{place.town.url}/pay/notice/wechat", content=b"{}", trust_env=False)
        assert told.status_code >= 400, "a notice that is not stored is not acknowledged: the channel repeats it"
    assert [each["event"] for each in log].count("database is away") == 2
    ended = wang.get(f"/p/pay/{payment_id}?back=1")
    assert (ended.status_code, ended.headers["location"]) == (303, "/p/reports")
    assert paying.payment(payment_id).paid_fen == order.fen == 4321


def paying_number(place: PayTown) -> str:
    """The newest order at the channel."""
    return list(place.cashiers.wechat.book.orders)[-1]


@pytest.mark.req("UX-1", "PAY-5")
def test_a_database_that_lets_a_phone_wait_gives_a_page_that_says_so(
    wang: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody holds the table: without an end to the waiting the phone's browser would give up first."""
    monkeypatch.setattr(access, "PATIENCE_S", 0.3)
    with capture_logs(), begin() as session:
        session.execute(text("LOCK TABLE payment IN ACCESS EXCLUSIVE MODE"))
        page = wang.get("/p/transactions")
    assert page.status_code == 503
    assert "已付的款项不会丢失" in page.text
    assert wang.get("/p/transactions").status_code == 200


class FailingHis:
    """A HIS that locks numbers while it is there, and says nothing any more once it is not."""

    connected = True
    name = "failing"

    def __init__(self) -> None:
        self.there = False

    def lock_number(self, lock: NumberLock) -> NumberStand:
        return self._said(NumberStand(NumberStanding.LOCKED, lock.key, "H1", lock.seq))

    def number_stand(self, key: str) -> NumberStand:
        return self._said(NumberStand(NumberStanding.ABSENT, key))

    def confirm_number(self, key: str, _paid: object) -> NumberStand:
        return self._said(NumberStand(NumberStanding.CONFIRMED, key, "H1", 1))

    def open_numbers(self, _session_code: str) -> tuple[()]:
        return ()

    def _said(self, stand: NumberStand) -> NumberStand:
        if not self.there:
            raise Unknown("no_answer")
        return stand


@pytest.mark.req("UX-1", "HIS-1", "REG-1", "REG-3")
def test_a_his_that_is_down_takes_no_money_and_says_what_becomes_of_money_that_came(
    place: PayTown, wang: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    his = FailingHis()
    monkeypatch.setattr("cloud.his.port.port", lambda: his)
    who = register("孙小雨")
    with begin() as session:
        grant(session, account_id=account_of("wang"), person_id=who, scopes=("book", "pay"), origin="self", by="test")
    booking = registering.held(registering.opened_session(3, owner="his"), (account_of("wang"), who))
    address = f"/p/bookings/{booking}"
    at_his.step(begin, booking)
    page = wang.get(address)
    assert (page.status_code, "正在向医院确认号源" in page.text, "去支付" in page.text) == (200, True, False)
    refused = wang.post(f"{address}/pay", token_from="/p/my")
    assert refused.status_code == 409
    assert "请稍候几秒再支付" in refused.text
    assert wang.get("/p").status_code == wang.get("/p/book").status_code == 200
    his.there = True
    asked_again(booking)
    held = wang.post(f"{address}/pay", token_from="/p/my")
    assert held.status_code == 303, held.text
    his.there = False
    assert pays(wang, uuid.UUID(held.headers["location"].rpartition("/")[2])).headers["location"] == address
    work("registration")
    page = wang.get(address)
    assert "已收到付款，正在向医院确认号源。如未成功会自动退款。" in page.text
    his.there = True
    asked_again(booking)
    assert "挂号成功" in wang.get(address).text


def asked_again(booking: uuid.UUID) -> None:
    """The questions to the HIS that are due, whatever their wait."""
    for _ in range(4):
        with begin() as session:
            session.execute(update(Booking).where(Booking.his_ask_at.is_not(None)).values(his_ask_at=clock.now()))
        at_his.step(begin, booking)


@pytest.mark.req("PAY-5")
def test_who_gives_up_is_told_that_nothing_was_taken(place: PayTown, wang: Phone) -> None:
    payment_id = asked_of("wang")
    wang.get(f"/p/pay/{payment_id}")
    answer = wang.post(f"/p/pay/{payment_id}/give-up")
    assert (answer.status_code, answer.headers["location"]) == (303, "/p/reports")
    assert "请不要重复支付" in wang.get(f"/p/pay/{payment_id}").text
    paying.over(payment_id)
    paying.sweep(2)
    assert "已经关闭，没有扣款" in wang.get(f"/p/pay/{payment_id}").text
    number = paying.payment(payment_id).number
    assert number not in wang.get("/p/transactions").text
    assert number in wang.get("/p/transactions?only=unpaid").text


@pytest.mark.req("PAY-5", "PAY-6")
def test_money_that_came_too_late_is_told_on_its_own_page(place: PayTown, wang: Phone) -> None:
    payment_id = asked_of("wang")
    wang.get(f"/p/pay/{payment_id}")
    order = paying.taps(place.cashiers, payment_id)
    order.state = "unpaid"
    paying.over(payment_id)
    paying.sweep(2)
    order.state = "paid"
    paying.notice(place.cashiers, order)
    answer = wang.get(f"/p/pay/{payment_id}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/p/transactions/{payment_id}")
    assert "在支付超时之后才到账" in wang.get(f"/p/transactions/{payment_id}").text


@pytest.mark.req("PAY-4", "PAY-5")
def test_a_refund_is_followed_and_shown_as_arrived_only_when_it_has(place: PayTown, wang: Phone) -> None:
    payment_id = paying_of(wang)
    place.cashiers.wechat.book.set_chaos({"refunds_stay_processing_s": 3600})
    refund_id = paying.refund(payment_id, 500)
    page = wang.get(f"/p/transactions/{payment_id}").text
    assert "退款中" in page
    assert "正在提交给支付渠道" in page
    paying.sweep(1)
    page = wang.get(f"/p/transactions/{payment_id}").text
    assert paying.state_of(refund_id) == "processing"
    assert "银行正在处理" in page
    assert "已到账" not in page
    place.cashiers.wechat.book.set_chaos({})
    paying.sweep(2)
    page = wang.get(f"/p/transactions/{payment_id}").text
    assert "已到账" in page
    assert "部分退款" in page
    assert "已退 5.00" in wang.get("/p/transactions?only=refunds").text


def paying_of(phone: Phone, fen: int = 1500) -> uuid.UUID:
    payment_id = asked_of(phone.openid, fen)
    assert pays(phone, payment_id).status_code == 303
    return payment_id


@pytest.mark.req("PAY-4")
def test_a_refund_the_channel_cannot_make_sends_the_payer_to_the_window(place: PayTown, wang: Phone) -> None:
    payment_id = paying_of(wang)
    place.cashiers.wechat.book.set_chaos({"refund_failed": 1.0})
    paying.refund(payment_id, 1500)
    paying.sweep(2)
    page = wang.get(f"/p/transactions/{payment_id}").text
    assert "退款需到窗口办理" in page
    assert "请带身份证件到收费窗口" in page
    assert "已到账" not in page


@pytest.mark.req("PAY-5")
def test_older_transactions_follow_on_the_next_page_and_none_is_left_out(place: PayTown) -> None:
    many = place.town.phone("many")
    many.sign_in()
    numbers = {paying.payment(asked_of("many")).number for _ in range(23)}
    seen: list[str] = []
    address: str | None = "/p/transactions"
    while address:
        page = many.get(address).text
        seen += [each for each in numbers if each in page]
        address = attribute(page, 'rel="next" href') if 'rel="next"' in page else None
    assert sorted(seen) == sorted(numbers)


@pytest.mark.req("SEC-1")
def test_no_page_of_production_leads_to_a_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    phone = {"package": "prepay_id=wx1"}
    url = "http://127.0.0.1:1"
    known = {name: Settings(environment=name, wechat_pay_url=url) for name in ("test", "production")}
    monkeypatch.setattr(stand_in, "settings", lambda: known["test"])
    assert stand_in.cashier("wechat", phone, "/back").startswith(f"{url}/cashier?prepay_id=")
    monkeypatch.setattr(stand_in, "settings", lambda: known["production"])
    assert stand_in.cashier("wechat", phone, "/back") == ""
    monkeypatch.setattr(
        stand_in, "settings", lambda: Settings(environment="test", wechat_pay_url="https://api.mch.weixin.qq.com")
    )
    assert stand_in.cashier("wechat", phone, "/back") == ""


def _payment(state: str, **more: object) -> Payment:
    now = clock.now()
    ends = {"until": now + timedelta(minutes=5), "expires_at": now + timedelta(minutes=6)}
    return Payment(**{"state": state, "fen": 1500, "paid_fen": 1500, "late": False, **ends, **more})


def _refund(state: str, fen: int = 1500, route: str = "channel", asked: int = 1) -> Refund:
    return Refund(state=state, fen=fen, route=route, asked=asked, created_at=clock.now(), done_at=None)


@pytest.mark.req("PAY-5")
def test_a_payment_whose_time_is_over_is_never_called_open() -> None:
    now = clock.now()
    assert stage_of(_payment("prepared"), now) is Stage.OPEN
    assert stage_of(_payment("prepared", until=now), now) is Stage.CLOSING
    assert stage_of(_payment("open", expires_at=now), now) is Stage.CLOSING
    assert stage_of(_payment("paid", late=True), now) is Stage.LATE


@pytest.mark.req("PAY-5")
@pytest.mark.parametrize(
    ("states", "word"),
    [
        ([], "已支付"),
        (["done"], "已退款"),
        (["dropped"], "已支付"),
        (["done", "waiting"], "退款中"),
        (["stuck", "processing"], "退款需到窗口办理"),
    ],
)
def test_a_transactions_word_names_what_its_payer_waits_for(states: list[str], word: str) -> None:
    assert word_of(_payment("paid"), [_refund(each) for each in states], clock.now()).text == word


@pytest.mark.req("PAY-5")
def test_only_a_refund_that_is_done_has_an_arrived_step() -> None:
    for state in ("waiting", "asked", "processing", "stuck", "dropped"):
        assert not any(step.title.startswith("已到账") for step in track(_refund(state))), state
    assert [step.stand for step in track(_refund("done"))] == ["done", "done", "done"]
    assert [step.stand for step in track(_refund("processing"))] == ["done", "now", ""]
    assert track(_refund("done", route="cash"))[-1].title == "已在窗口以现金退还"


def first_view(phone: Phone, address: str) -> int:
    """Bytes that a browser loads before it shows the page, compressed, without pictures."""
    page = phone.get(address)
    assert page.status_code == 200, address
    links = re.findall(r'<(?:link rel="stylesheet"|script)[^>]*(?:href|src)="(/static/[^"]+)"([^>]*)>', page.text)
    needed = [html.unescape(each) for each, more in links if 'media="print"' not in more]
    assert any("patient.css" in each for each in needed)
    total = len(gzip.compress(page.content))
    for each in needed:
        answer = phone.get(each)
        assert answer.status_code == 200, each
        total += len(gzip.compress(answer.content))
    return total


@pytest.mark.req("UX-1")
def test_the_first_view_of_a_phones_page_is_light(wang: Phone) -> None:
    """Under 60 KB (architecture, must 11); ours are far below, and stay so."""
    for address in ("/p", "/p/today", "/p/transactions", f"/p/pay/{asked_of('wang')}"):
        assert first_view(wang, address) < 20_000, address


@pytest.mark.req("UX-1")
def test_large_type_is_chosen_once_and_kept_on_every_page(place: PayTown) -> None:
    phone = place.town.phone("elder")
    phone.sign_in()
    assert 'class="large"' not in phone.get("/p").text
    assert 'class="large"' in phone.get("/p/today?type=large").text
    for address in ("/p", "/p/transactions", "/p/bind", "/p/nowhere"):
        page = phone.get(address)
        assert 'class="large"' in page.text, address
        assert "标准字号" in page.text
    phone.get("/p?type=normal")
    assert 'class="large"' not in phone.get("/p").text
    assert 'class="large"' not in phone.get("/p?type=huge").text
