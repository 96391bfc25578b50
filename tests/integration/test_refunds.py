"""Refunds: stored before the call, one number each, never above what was paid, repeated until the channel has said."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.events import StoredEvent
from cloud.payments import arrivals, dropping, refunds
from cloud.payments.contract import RefundStand, RefundStanding, Unknown
from cloud.payments.model import Payment, Refund
from tests.support import paying
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on

pytestmark = pytest.mark.req("PAY-4", "PAY-5")


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


def arrived() -> int:
    with begin() as session:
        return session.scalar(select(func.count()).where(StoredEvent.type == "payments.refund_arrived")) or 0


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
def test_a_refund_arrives_once(cashiers: Cashiers, channel: str) -> None:
    payment_id = paying.paid(cashiers, 1500, channel)
    refund_id = paying.refund(payment_id, 1500)
    paying.sweep(3)
    assert paying.state_of(refund_id) == "done"
    assert (paying.ledger(channel), arrived()) == (0, 1)
    assert getattr(cashiers, channel).book.totals()["refunded_fen"] == 1500


def test_a_refund_asked_twice_is_one(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers)
    assert paying.refund(payment_id, 500, "booking:1") == paying.refund(payment_id, 500, "booking:1")
    with pytest.raises(Conflict, match="key_used"):
        paying.refund(payment_id, 600, "booking:1")


def test_refunds_together_never_exceed_what_was_paid(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers, 1500)
    paying.refund(payment_id, 1000)
    with pytest.raises(Conflict, match="too_much"):
        paying.refund(payment_id, 501)
    with pytest.raises(Invalid):
        paying.refund(payment_id, 0)
    paying.refund(payment_id, 500)
    paying.sweep(5)
    assert (paying.ledger(), cashiers.wechat.book.totals()["refunded_fen"]) == (0, 1500)


def test_what_is_not_paid_is_not_refunded(cashiers: Cashiers) -> None:
    with pytest.raises(Conflict, match="not_paid"):
        paying.refund(paying.prepared(), 100)


def test_eight_people_refund_the_last_yuan_at_once_and_one_does(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers, 100)
    found: list[str] = []

    def press() -> None:
        try:
            paying.refund(payment_id, 100)
            found.append("made")
        except Conflict as refusal:
            found.append(refusal.code)

    crew = [threading.Thread(target=press) for _ in range(8)]
    for each in crew:
        each.start()
    for each in crew:
        each.join()
    assert sorted(found) == ["made"] + ["refund.too_much"] * 7
    paying.sweep(3)
    assert cashiers.wechat.book.totals()["refunded_fen"] == 100


def test_the_database_itself_refuses_what_the_code_would_forget(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers, 100)
    paying.refund(payment_id, 60)
    row = {"id": uuid.uuid4(), "at": clock.now(), "payment": payment_id}
    insert = text(
        "INSERT INTO refund (id, created_at, number, payment_id, key, fen, route, state, reason, by, asked)"
        " VALUES (:id, :at, 'X', :payment, 'x', 41, 'channel', 'waiting', 'r', 'b', 0)"
    )
    with pytest.raises(DBAPIError, match="ck_payment_refunds"), begin() as session:
        session.execute(insert, row)
    with pytest.raises(DBAPIError, match="keeps its payment"), begin() as session:
        session.execute(update(Refund).values(fen=1))


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
def test_an_answer_that_is_lost_is_asked_for_and_nothing_moves_twice(cashiers: Cashiers, channel: str) -> None:
    payment_id = paying.paid(cashiers, 1500, channel)
    book = getattr(cashiers, channel).book
    book.set_chaos({"refund_unknown": 1.0, "notice_lost": 1.0})
    refund_id = paying.refund(payment_id, 700)
    paying.sweep(1)
    assert paying.state_of(refund_id) == "waiting"
    paying.sweep(3)
    assert paying.state_of(refund_id) == "done"
    assert (book.totals()["refunds"], book.totals()["refunded_fen"]) == (1, 700)


def test_a_worker_that_dies_in_the_call_costs_a_lease(cashiers: Cashiers, monkeypatch: pytest.MonkeyPatch) -> None:
    payment_id = paying.paid(cashiers)
    refund_id = paying.refund(payment_id, 700)

    def dies(*_: object) -> RefundStand:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr("cloud.payments.channels.wechat_v3.WechatV3.refund", dies)
        with pytest.raises(SystemExit):
            refunds.step(begin, refund_id)
    assert paying.state_of(refund_id) == "asked"
    assert refunds.due(begin) == []
    paying.sweep(2)
    assert (paying.state_of(refund_id), cashiers.wechat.book.totals()["refunds"]) == ("done", 1)


def test_two_workers_on_one_refund_make_one_call(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers)
    refund_id = paying.refund(payment_id, 700)
    crew = [threading.Thread(target=refunds.step, args=(begin, refund_id)) for _ in range(6)]
    for each in crew:
        each.start()
    for each in crew:
        each.join()
    paying.sweep(2)
    assert (paying.state_of(refund_id), arrived()) == ("done", 1)
    with begin() as session:
        assert session.get_one(Refund, refund_id).asked <= 2


def test_two_refunds_of_one_payment_keep_the_channels_gap(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers)
    first, second = paying.refund(payment_id, 700), paying.refund(payment_id, 300)
    refunds.step(begin, first)
    refunds.step(begin, second)
    assert paying.state_of(second) == "waiting"
    with begin() as session:
        waits = session.get_one(Refund, second).ask_at
    assert waits is not None
    assert waits > clock.now() + timedelta(seconds=30)
    paying.sweep(3)
    assert (paying.state_of(first), paying.state_of(second)) == ("done", "done")


def test_what_the_channel_cant_bring_back_is_a_persons_case(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers)
    cashiers.wechat.book.set_chaos({"refund_failed": 1.0})
    refund_id = paying.refund(payment_id, 700)
    paying.sweep(2)
    assert paying.state_of(refund_id) == "stuck"
    assert paying.cases() == ["refund_stuck"]
    assert paying.ledger() == 1500
    with pytest.raises(Conflict, match="too_much"):
        paying.refund(payment_id, 801)


def test_cash_at_the_window_is_booked_as_cash(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers)
    refund_id = paying.refund(payment_id, 700, route="cash")
    assert paying.state_of(refund_id) == "done"
    assert (paying.ledger("cash"), paying.ledger("wechat")) == (-700, 1500)
    paying.sweep(2)
    assert cashiers.wechat.book.totals()["refunds"] == 0


def test_a_stuck_refund_is_paid_out_in_cash_once_the_channel_has_said_no_again(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers)
    cashiers.wechat.book.set_chaos({"refund_failed": 1.0})
    refund_id = paying.refund(payment_id, 700)
    paying.sweep(2)
    refunds.pay_out(begin, refund_id, by="staff:1", reason="原卡已注销")
    assert paying.state_of(refund_id) == "done"
    assert paying.ledger("cash") == -700
    with pytest.raises(Conflict):
        refunds.pay_out(begin, refund_id, by="staff:1", reason="原卡已注销")


def test_a_stuck_refund_that_arrived_after_all_is_not_paid_out_again(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers)
    cashiers.wechat.book.set_chaos({"refund_failed": 1.0})
    refund_id = paying.refund(payment_id, 700)
    paying.sweep(2)
    for each in cashiers.wechat.book.refunds.values():
        each.state = "done"
    with pytest.raises(Conflict, match="arrived"):
        refunds.pay_out(begin, refund_id, by="staff:1", reason="原卡已注销")
    assert (paying.state_of(refund_id), paying.ledger("cash"), paying.ledger("wechat")) == ("done", 0, 800)


def test_a_refund_made_at_the_channel_itself_is_booked_and_asks_for_a_person(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers)
    number = paying.payment(payment_id).number
    outside = RefundStand(RefundStanding.DONE, 600, "503", clock.now())
    for _ in range(2):
        with begin() as session:
            arrivals.settle_refund(session, "wechat", number, "MANUAL-1", outside, by="bill")
    assert paying.cases() == ["refund_outside"]
    assert paying.ledger() == 900
    with pytest.raises(Conflict, match="too_much"):
        paying.refund(payment_id, 901)


def test_a_refund_of_another_amount_than_asked_is_no_refund_of_ours(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers)
    refund_id = paying.refund(payment_id, 700)
    with begin() as session:
        number, own = session.get_one(Payment, payment_id).number, session.get_one(Refund, refund_id).number
        arrivals.settle_refund(session, "wechat", number, own, RefundStand(RefundStanding.DONE, 70), by="notice")
    assert paying.state_of(refund_id) == "waiting"
    assert paying.cases() == ["refund_amount"]


# ---------------------------------------------------------------------- given up before money moved


@pytest.fixture
def lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slice of the tests' purpose lets its refunds be given up."""
    monkeypatch.setitem(dropping._lets, "test", lambda _session, _refund: True)


def drop(refund_id: uuid.UUID, reason: str = "退错项目") -> None:
    dropping.drop(begin, refund_id, by="staff:1", reason=reason)


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
def test_a_refund_that_the_channel_never_heard_of_is_dropped_and_its_amount_is_free(
    cashiers: Cashiers, channel: str, lets_go: None
) -> None:
    payment_id = paying.paid(cashiers, 1500, channel)
    refund_id = paying.refund(payment_id, 1500)
    with pytest.raises(Invalid, match="reason"):
        drop(refund_id, " ")
    drop(refund_id)
    assert paying.state_of(refund_id) == "dropped"
    with pytest.raises(Conflict, match="not_droppable"):
        drop(refund_id)
    paying.sweep(2)
    assert getattr(cashiers, channel).book.totals()["refunds"] == 0
    paying.refund(payment_id, 1500)
    paying.sweep(3)
    assert (paying.ledger(channel), getattr(cashiers, channel).book.totals()["refunds"]) == (0, 1)


def test_only_what_its_slice_lets_go_is_dropped(cashiers: Cashiers) -> None:
    refund_id = paying.refund(paying.paid(cashiers), 700)
    with pytest.raises(Conflict, match="not_droppable"):
        drop(refund_id)
    assert paying.state_of(refund_id) == "waiting"


def test_a_call_that_may_still_arrive_keeps_a_refund_from_being_dropped(
    cashiers: Cashiers, monkeypatch: pytest.MonkeyPatch, lets_go: None
) -> None:
    refund_id = paying.refund(paying.paid(cashiers), 700)

    def lost(*_: object) -> RefundStand:
        raise Unknown("timeout")

    with monkeypatch.context() as patched:
        patched.setattr("cloud.payments.channels.wechat_v3.WechatV3.refund", lost)
        refunds.step(begin, refund_id)
    with pytest.raises(Conflict, match="asked_lately"):
        drop(refund_id)
    paying.hurry()  # long ago now
    drop(refund_id)
    assert paying.state_of(refund_id) == "dropped"


def test_a_refund_that_the_channel_has_after_all_is_booked_instead_of_dropped(
    cashiers: Cashiers, lets_go: None
) -> None:
    payment_id = paying.paid(cashiers)
    cashiers.wechat.book.set_chaos({"refund_unknown": 1.0, "notice_lost": 1.0})
    refund_id = paying.refund(payment_id, 700)
    paying.sweep(1)
    paying.hurry()
    with pytest.raises(Conflict, match="arrived"):
        drop(refund_id)
    paying.sweep(3)
    assert (paying.state_of(refund_id), paying.ledger()) == ("done", 800)


def test_a_refund_that_failed_at_the_channel_is_not_dropped(cashiers: Cashiers, lets_go: None) -> None:
    cashiers.wechat.book.set_chaos({"refund_failed": 1.0})
    refund_id = paying.refund(paying.paid(cashiers), 700)
    paying.sweep(2)
    paying.hurry()
    with pytest.raises(Conflict, match="at_channel"):
        drop(refund_id)
    assert paying.state_of(refund_id) == "stuck"


def test_a_channel_that_does_not_answer_keeps_the_refund(
    cashiers: Cashiers, monkeypatch: pytest.MonkeyPatch, lets_go: None
) -> None:
    refund_id = paying.refund(paying.paid(cashiers), 700)

    def silent(*_: object) -> RefundStand:
        raise Unknown("timeout")

    with monkeypatch.context() as patched:
        patched.setattr("cloud.payments.channels.wechat_v3.WechatV3.refund_query", silent)
        with pytest.raises(Unknown):
            drop(refund_id)
    assert paying.state_of(refund_id) == "waiting"


def test_dropping_and_refunding_at_the_same_moment_one_wins(cashiers: Cashiers, lets_go: None) -> None:
    """The money moves and the refund is done, or it does not and the refund is dropped: never both, never neither."""
    ends = Counter[str]()
    for round_ in range(12):
        refund_id = paying.refund(paying.paid(cashiers, 100), 100)
        told: list[str] = []

        def gives_up(refund_id: uuid.UUID = refund_id, told: list[str] = told) -> None:
            try:
                drop(refund_id)
                told.append("dropped")
            except Conflict as refusal:
                told.append(refusal.code)

        crew = [threading.Thread(target=refunds.step, args=(begin, refund_id)), threading.Thread(target=gives_up)]
        for each in crew if round_ % 2 else reversed(crew):
            each.start()
        for each in crew:
            each.join()
        paying.sweep(1)
        state = paying.state_of(refund_id)
        assert (state == "dropped") == (told == ["dropped"])
        ends[state] += 1
    assert set(ends) <= {"done", "dropped"}
    assert cashiers.wechat.book.totals()["refunds"] == ends["done"]
    assert paying.cases() == []
