"""Payments: opened once, settled once by evidence, asked about when notices are lost, closed before all is freed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid, Unavailable
from cloud.kit.events import StoredEvent
from cloud.kit.ids import new_id
from cloud.payments import asking, notices, service
from cloud.payments.model import ChannelNotice, LedgerEntry, Payment
from tests.support import paying
from tests.support.cashiers import Cashiers, keys, running
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.site import running_site

pytestmark = pytest.mark.req("PAY-1", "PAY-5", "PAY-6")

CHANNELS = ("wechat", "alipay")


@pytest.fixture(scope="module")
def both(database_server: DatabaseServer) -> Iterator[Cashiers]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        running(patched) as found,
    ):
        yield found


@pytest.fixture
def cashiers(both: Cashiers) -> Cashiers:
    paying.clean(both)
    return both


def settled_events() -> int:
    with begin() as session:
        return session.scalar(select(func.count()).where(StoredEvent.type == "payments.payment_settled")) or 0


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_notice_settles_once_however_often_it_comes(cashiers: Cashiers, channel: str) -> None:
    payment_id = paying.prepared(1500, channel)
    order = paying.taps(cashiers, payment_id)
    replies = [paying.notice(cashiers, order, channel) for _ in range(3)]
    assert {each.status for each in replies} in ({200}, {204})
    found = paying.payment(payment_id)
    assert (found.state, found.paid_fen, found.settled_by, found.late) == ("paid", 1500, "notice", False)
    assert (settled_events(), paying.ledger(channel)) == (1, 1500)
    with begin() as session:
        kept = session.scalars(select(ChannelNotice)).one()
    assert (kept.times, kept.verdict) == (3, "settled")


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_lost_notice_is_a_delay(cashiers: Cashiers, channel: str) -> None:
    payment_id = paying.prepared(1500, channel)
    paying.taps(cashiers, payment_id)
    paying.sweep(1)
    found = paying.payment(payment_id)
    assert (found.state, found.settled_by) == ("paid", "query")
    paying.sweep(2)
    assert settled_events() == 1


def test_notice_query_and_close_at_once_settle_once(cashiers: Cashiers) -> None:
    """Ten threads bring the same evidence by three ways."""
    for _ in range(5):
        payment_id = paying.prepared()
        order = paying.taps(cashiers, payment_id)
        before = settled_events()
        start = threading.Barrier(10)

        def bring(number: int, start: threading.Barrier = start, order=order, payment_id=payment_id) -> None:  # type: ignore[no-untyped-def]
            start.wait()
            if number % 2:
                paying.notice(cashiers, order)
            else:
                asking.ask(begin, payment_id, at_once=True)

        crew = [threading.Thread(target=bring, args=(each,)) for each in range(10)]
        for each in crew:
            each.start()
        for each in crew:
            each.join()
        assert settled_events() == before + 1
    assert paying.ledger() == cashiers.wechat.book.totals()["paid_fen"]


def test_the_same_submit_twice_is_one_payment(cashiers: Cashiers) -> None:
    wish = paying.wish()
    with begin() as session:
        first = service.open_payment(session, wish).id
    with begin() as session:
        assert service.open_payment(session, wish).id == first


def test_a_key_used_again_for_another_amount_is_refused(cashiers: Cashiers) -> None:
    subject = new_id()
    paying.opened(1500, key="k", subject_id=subject)
    with pytest.raises(Conflict, match="key_used"):
        paying.opened(1600, key="k", subject_id=subject)


def test_a_second_person_does_not_pay_the_same_thing_meanwhile(cashiers: Cashiers) -> None:
    subject = new_id()
    first = paying.opened(subject_id=subject)
    assert paying.opened(subject_id=subject) == first
    with pytest.raises(Conflict, match="under_way"):
        paying.opened(subject_id=subject, payer="oSomebodyElse")
    with pytest.raises(Conflict, match="under_way"):
        paying.opened(1400, subject_id=subject)


def test_two_at_once_open_one(cashiers: Cashiers) -> None:
    subject = new_id()
    found: list[object] = []

    def tap(number: int) -> None:
        try:
            found.append(paying.opened(subject_id=subject, payer=f"oPayer{number}"))
        except Conflict as refusal:
            found.append(refusal.code)

    crew = [threading.Thread(target=tap, args=(each,)) for each in range(8)]
    for each in crew:
        each.start()
    for each in crew:
        each.join()
    assert found.count("payment.under_way") == 7
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(Payment)) == 1


@pytest.mark.parametrize("fen", [0, -1, 100_000_01])
def test_an_amount_that_nobody_pays_is_refused(cashiers: Cashiers, fen: int) -> None:
    with pytest.raises(Invalid, match="amount"):
        paying.opened(fen)


def test_what_the_phone_needs_is_the_same_when_asked_again(cashiers: Cashiers) -> None:
    payment_id = paying.opened()
    values = {"subject": "杏林医院", "client_ip": "203.0.113.9", "return_url": "http://127.0.0.1/p"}
    assert asking.prepare(begin, payment_id, **values) == asking.prepare(begin, payment_id, **values)


def test_a_channel_that_is_away_takes_no_money_and_says_so(cashiers: Cashiers) -> None:
    cashiers.wechat.book.set_chaos({"call_lost_before": 1.0})
    with pytest.raises(Unavailable, match="no_answer"):
        paying.prepared()
    cashiers.wechat.book.set_chaos({})
    with begin() as session:
        row = session.scalars(select(Payment)).one()
    paying.over(row.id)
    paying.sweep(2)
    assert paying.payment(row.id).state == "closed"


# ---------------------------------------------------------------------- the end of a payment


@pytest.mark.parametrize("channel", CHANNELS)
def test_an_unpaid_payment_is_closed_at_the_channel_first(cashiers: Cashiers, channel: str) -> None:
    payment_id = paying.prepared(1500, channel)
    paying.over(payment_id)
    paying.sweep(1)
    found = paying.payment(payment_id)
    assert found.state == "closed"
    book = getattr(cashiers, channel).book
    assert book.orders[found.number].state == "closed"
    with begin() as session:
        assert session.scalar(select(func.count()).where(StoredEvent.type == "payments.payment_closed")) == 1


@pytest.mark.parametrize("channel", CHANNELS)
def test_money_that_came_in_the_last_second_is_settled_not_closed(cashiers: Cashiers, channel: str) -> None:
    payment_id = paying.prepared(1500, channel)
    paying.taps(cashiers, payment_id)
    paying.over(payment_id)
    paying.sweep(1)
    found = paying.payment(payment_id)
    assert (found.state, found.late) == ("paid", False)


def test_paid_between_the_question_and_the_close_is_settled(
    cashiers: Cashiers, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment_id = paying.prepared()
    paying.over(payment_id)
    close = cashiers.wechat.close

    def pays_first(number: str):  # type: ignore[no-untyped-def]
        cashiers.wechat.book.pay(number)
        return close(number)

    monkeypatch.setattr(cashiers.wechat, "close", pays_first)
    paying.sweep(1)
    assert (paying.payment(payment_id).state, paying.payment(payment_id).settled_by) == ("paid", "close")


def test_money_behind_the_close_is_paid_and_late(cashiers: Cashiers) -> None:
    """The order was let go; the money is kept and said to be late, so that it is served or sent back."""
    payment_id = paying.prepared()
    order = cashiers.wechat.book.find(paying.payment(payment_id).number)
    with begin() as session:
        service.closed(session, payment_id, why="unpaid")
    paying.taps(cashiers, payment_id)
    paying.notice(cashiers, order)
    found = paying.payment(payment_id)
    assert (found.state, found.late) == ("paid", True)
    with begin() as session:
        event = session.scalars(select(StoredEvent).where(StoredEvent.type == "payments.payment_settled")).one()
    assert event.payload["late"] is True


def test_a_signed_page_that_nobody_opened_is_payable_until_its_end(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(monkeypatch, alipay_pay="wap"):
        payment_id = paying.prepared(1500, "alipay")
        with begin() as session:
            service.give_up(session, payment_id, by="account:1")
        paying.sweep(2)
        assert paying.payment(payment_id).state == "closing"
        paying.over(payment_id)
        paying.sweep(1)
        assert paying.payment(payment_id).state == "closed"


def test_while_the_channel_is_away_nothing_is_closed(cashiers: Cashiers) -> None:
    payment_id = paying.prepared()
    paying.over(payment_id)
    cashiers.wechat.book.set_chaos({"call_lost_before": 1.0})
    paying.sweep(3)
    assert paying.payment(payment_id).state == "closing"
    cashiers.wechat.book.set_chaos({})
    paying.sweep(1)
    assert paying.payment(payment_id).state == "closed"


# ---------------------------------------------------------------------- forgery


def test_a_changed_amount_settles_nothing_and_opens_a_case(cashiers: Cashiers) -> None:
    """Signed by the channel itself and still not this payment's: compared, refused, kept."""
    for channel, changed in (
        ("wechat", {"amount": {"total": 1, "currency": "CNY"}}),
        ("alipay", {"total_amount": "0.01"}),
    ):
        payment_id = paying.prepared(1500, channel)
        order = paying.taps(cashiers, payment_id)
        paying.notice(cashiers, order, channel, **changed)
        assert paying.payment(payment_id).state == "prepared"
    assert paying.cases() == ["amount", "amount"]
    assert paying.ledger() + paying.ledger("alipay") == 0


def test_another_merchants_or_payers_money_settles_nothing(cashiers: Cashiers) -> None:
    for changed in ({"mchid": "1900000099"}, {"appid": "wx9999"}, {"payer": {"openid": "oAnother"}}):
        payment_id = paying.prepared()
        paying.notice(cashiers, paying.taps(cashiers, payment_id), **changed)
        assert paying.payment(payment_id).state == "prepared"
    assert sorted(paying.cases()) == ["app", "merchant", "payer"]


def test_a_forged_notice_settles_nothing_and_leaves_a_trace(
    cashiers: Cashiers, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment_id = paying.prepared()
    order = paying.taps(cashiers, payment_id)
    monkeypatch.setattr(cashiers.wechat.merchant, "platform_key", keys()[0])
    assert paying.notice(cashiers, order).status == 401
    assert paying.payment(payment_id).state == "prepared"
    with begin() as session:
        assert session.scalars(select(ChannelNotice.verdict)).all() == ["forged"]


def test_a_notice_of_a_day_ago_settles_nothing(cashiers: Cashiers) -> None:
    for channel in CHANNELS:
        payment_id = paying.prepared(1500, channel)
        order = paying.taps(cashiers, payment_id)
        paying.notice(cashiers, order, channel, at=clock.now().timestamp() - 86_400)
        assert paying.payment(payment_id).state == "prepared"


def test_money_for_a_number_we_never_gave_opens_a_case(cashiers: Cashiers) -> None:
    payment_id = paying.prepared()
    order = paying.taps(cashiers, payment_id)
    paying.notice(cashiers, order, out_trade_no="P209912310000000001")
    assert paying.cases() == ["no_payment"]
    assert paying.payment(payment_id).state == "prepared"


def test_a_notice_that_is_too_large_is_refused_unread(cashiers: Cashiers) -> None:
    assert notices.take(begin, "wechat", {}, b"x" * (notices.LARGEST_BYTES + 1)).status == 401


def test_notices_come_over_http_without_a_cookie(cashiers: Cashiers) -> None:
    payment_id = paying.prepared()
    order = paying.taps(cashiers, payment_id)
    body, headers = cashiers.wechat.v3_notice("TRANSACTION.SUCCESS", cashiers.wechat._trade(order))
    with running_site() as site:
        visitor = site.visitor()
        answer = visitor.post("/pay/notice/wechat", content=body, headers=headers)
        assert answer.status_code == 204
        assert visitor.post("/pay/notice/wechat", content=b"<xml/>").status_code == 401
        assert visitor.post("/pay/notice/nobody", content=b"").status_code == 404
    assert paying.payment(payment_id).state == "paid"


# ---------------------------------------------------------------------- what the database itself holds


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE payment SET state = 'open', paid_fen = NULL",
        "UPDATE payment SET fen = 1",
        "UPDATE payment SET paid_fen = 1",
        "UPDATE payment SET transaction_id = 'x'",
        "UPDATE payment_ledger SET fen = 1",
        "DELETE FROM payment_ledger",
        "UPDATE payment SET reserved_fen = 1501",
    ],
)
def test_nobody_turns_money_back_past_the_database(cashiers: Cashiers, change: str) -> None:
    paying.paid(cashiers)
    with pytest.raises(DBAPIError), begin() as session:
        session.execute(text(change))


def test_a_case_is_closed_once_with_a_reason(cashiers: Cashiers) -> None:
    with begin() as session:
        service.open_case(session, "amount", "k", "wechat", None, fen=1)
        service.open_case(session, "amount", "k", "wechat", None, fen=1)
    with begin() as session:
        case_id = session.scalar(select(service.PaymentCase.id))
        assert case_id is not None
        with pytest.raises(Invalid):
            service.close_case(session, case_id, by="staff:1", why=" ")
        service.close_case(session, case_id, by="staff:1", why="渠道测试款")
        with pytest.raises(Conflict):
            service.close_case(session, case_id, by="staff:2", why="再次")


def test_the_ledger_of_many_equals_the_channels_books(cashiers: Cashiers) -> None:
    for fen in (100, 1, 99_999, 2505):
        paying.paid(cashiers, fen)
    with begin() as session:
        rows = session.scalar(select(func.count()).select_from(LedgerEntry))
    assert (rows, paying.ledger()) == (4, cashiers.wechat.book.totals()["paid_fen"])
