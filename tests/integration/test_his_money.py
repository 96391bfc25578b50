"""Every movement of money is told to the HIS once, and its books are held against the ledger line by line."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from cloud.app import load_slices
from cloud.config import settings
from cloud.his import delivery, differences, hl7_port, reconciling, reporting
from cloud.his.model import HisMoneyDay, HisOutbox, HisPeer, OutgoingState
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid
from cloud.kit.ids import new_id
from cloud.payments import cash, drawers, refunds
from cloud.payments.model import LedgerEntry
from simulators.his.faults import Fault
from simulators.his.receiver import HisReceiver
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.his_numbers import standing_his
from tests.support.site import hire_cast, running_site

pytestmark = [pytest.mark.req("HIS-1"), pytest.mark.req("PAY-6")]
CASHIER = "staff:cashier"
TABLES = "payment, his_outbox, his_peer, his_money_day, his_money_difference, cash_shift"


@pytest.fixture(scope="module")
def hospital(database_server: DatabaseServer) -> Iterator[HisReceiver]:
    """One database and one HIS for the module; each test empties both."""
    with pytest.MonkeyPatch.context() as patched, standing_his() as his, database_server.clone() as url:
        patched.setenv("XINGLIN_HIS_HOST", "127.0.0.1")
        patched.setenv("XINGLIN_HIS_PORT", str(his.port))
        with cloud_on(url, patched):
            load_slices()
            yield his
            hl7_port.at("127.0.0.1", his.port).close()


@pytest.fixture
def his(hospital: HisReceiver) -> HisReceiver:
    hospital.book.money.clear()
    hospital.temper.clear()
    with begin() as session:
        session.execute(text(f"TRUNCATE {TABLES} CASCADE"))
        drawers.open_shift(session, by=CASHIER, opening_fen=100_000)
    return hospital


def paid(fen: int = 1500) -> uuid.UUID:
    with begin() as session:
        wanted = cash.wish("test", new_id(), fen, payer_key="window", key=str(new_id()))
        payment_id = cash.take(session, wanted, by=CASHIER, tendered_fen=fen).payment.id
    told(payment_id)
    return payment_id


def refunded(payment_id: uuid.UUID, fen: int) -> None:
    with begin() as session:
        refunds.ask_refund(session, payment_id, fen, key=str(new_id()), reason="退费", by=CASHIER, route="cash")
    told(payment_id)


def told(payment_id: uuid.UUID) -> None:
    """What the reaction to the fact does."""
    with begin() as session:
        reporting.report_money(session, payment_id)


def pause_is_over() -> None:
    with begin() as session:
        session.query(HisPeer).update({"retry_at": None})


def ledger_fen() -> int:
    with begin() as session:
        return int(session.scalar(select(func.coalesce(func.sum(LedgerEntry.fen), 0))) or 0)


def his_fen(his: HisReceiver) -> int:
    return sum(each.fen for each in his.book.money.values())


def books() -> HisMoneyDay:
    found = reconciling.read_day(begin, clock.today())
    assert found is not None
    return found


def test_payments_and_refunds_are_booked_by_the_his_once_each(his: HisReceiver) -> None:
    first, second = paid(1500), paid(2305)
    refunded(first, 500)
    told(first)
    told(second)
    assert delivery.deliver(begin) == 3
    assert his_fen(his) == ledger_fen() == 3305
    assert sorted(each.times for each in his.book.money.values()) == [1, 1, 1]
    assert {each.batch for each in his.book.money.values() if each.fen < 0} <= set(his.book.money)
    row = books()
    assert (row.his_paid_fen, row.his_refunded_fen, row.differences) == (3805, 500, [])


def test_an_answer_that_is_lost_after_the_effect_books_nothing_twice(his: HisReceiver) -> None:
    payment_id = paid()
    refunded(payment_id, 1500)
    his.temper.set(Fault("lost_after", "DFT", next=2))
    for _ in range(3):
        delivery.deliver(begin)
        pause_is_over()
    assert his_fen(his) == ledger_fen() == 0
    assert [each.times for each in his.book.money.values()] == [3, 1], "the refund waited behind its payment"
    assert books().differences == []


def test_a_his_that_cannot_at_the_moment_is_asked_again_and_nobody_has_to_look(his: HisReceiver) -> None:
    paid()
    his.temper.set(Fault("refuse", "DFT"))
    assert delivery.deliver(begin) == 0
    with begin() as session:
        assert session.scalars(select(HisOutbox.state)).one() == OutgoingState.WAITING
    pause_is_over()
    assert delivery.deliver(begin) == 1


def test_a_line_of_the_ledger_that_no_event_brought_is_found_by_the_sweep_and_told_once(his: HisReceiver) -> None:
    paid()
    with begin() as session:
        session.execute(text("TRUNCATE his_outbox"))
    with begin() as session:
        assert reporting.sweep(session) == 1
        assert reporting.sweep(session) == 0
    assert delivery.deliver(begin) == 1


def test_what_is_not_alike_is_named_line_by_line(his: HisReceiver) -> None:
    for fen in (100, 200, 300):
        paid(fen)
    delivery.deliver(begin)
    numbers = {each.fen: each.number for each in his.book.money.values()}
    del his.book.money[numbers[100]]
    his.book.money[numbers[200]].fen = 250
    strange = his.book.money[numbers[300]]
    his.book.money["NOT-OURS"] = type(strange)("NOT-OURS", 900, "cash", strange.at, "")
    found = {each["number"]: (each["what"], each["his_fen"], each["our_fen"]) for each in books().differences}
    assert found == {
        numbers[100]: (differences.MISSING, None, 100),
        numbers[200]: (differences.AMOUNT, 250, 200),
        "NOT-OURS": (differences.STRANGE, 900, None),
    }


def test_a_difference_is_one_ticket_that_a_person_closes_with_a_reason(his: HisReceiver) -> None:
    for fen in (100, 200):
        paid(fen)
    delivery.deliver(begin)
    numbers = {each.fen: each.number for each in his.book.money.values()}
    his.book.money[numbers[200]].fen = 250
    books()
    books()
    with begin() as session:
        (ticket,) = differences.of_day(session, clock.today())
        assert (ticket.kind, ticket.number, ticket.his_fen, ticket.our_fen) == ("amount", numbers[200], 250, 200)
        with pytest.raises(Invalid, match="reason"):
            differences.close(session, ticket.id, by="staff:1", why=" ")
        differences.close(session, ticket.id, by="staff:1", why="HIS 手工改账，已通知更正")
        with pytest.raises(Conflict, match="closed"):
            differences.close(session, ticket.id, by="staff:2", why="同上")
    books()  # a person has closed it: seen again it stays closed
    with begin() as session:
        assert differences.open_count(session) == 0


def test_a_ticket_ends_by_itself_once_the_books_are_alike_and_comes_back_if_they_part(his: HisReceiver) -> None:
    paid(100)
    delivery.deliver(begin)
    ((number, line),) = his.book.money.items()
    for lost, waiting in ((True, 1), (False, 0), (True, 1)):
        if lost:
            del his.book.money[number]
        else:
            his.book.money[number] = line
        books()
        with begin() as session:
            assert differences.open_count(session) == waiting


def test_what_is_only_on_its_way_to_the_his_asks_for_nobody_until_the_day_is_over(his: HisReceiver) -> None:
    paid(100)
    row = books()
    assert len(row.differences) == 1
    with begin() as session:
        assert differences.open_count(session) == 0
        differences.keep(session, row.day, row.differences, over=True)
        assert differences.open_count(session) == 1


def test_a_line_that_the_his_booked_on_another_day_is_called_that(his: HisReceiver) -> None:
    paid(100)
    delivery.deliver(begin)
    (booked,) = his.book.money.values()
    yesterday = clock.today() - timedelta(days=1)
    booked.at = f"{yesterday:%Y%m%d}235959"
    found = reconciling.read_day(begin, yesterday)
    assert found is not None
    assert [each["what"] for each in found.differences] == [differences.OTHER_DAY]
    assert [each["what"] for each in books().differences] == [differences.MISSING]


def test_what_the_his_lost_or_refused_is_told_again_and_booked_once(his: HisReceiver) -> None:
    for fen in (100, 200):
        paid(fen)
    delivery.deliver(begin)
    lost = next(each for each in his.book.money.values() if each.fen == 100)
    del his.book.money[lost.number]
    assert len(books().differences) == 1
    with begin() as session:
        assert reconciling.tell_again(session, clock.today(), by="staff:1") == 1
    assert delivery.deliver(begin) == 1
    assert books().differences == []
    assert his_fen(his) == 300


def test_the_books_come_in_pages_and_none_is_skipped(his: HisReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.his.money.PAGE", 3)
    for fen in range(1, 9):
        paid(fen)
    delivery.deliver(begin)
    row = books()
    assert (row.his_count, row.his_paid_fen, row.differences) == (8, 36, [])


def test_a_his_that_does_not_tell_its_books_leaves_the_last_reading(his: HisReceiver) -> None:
    paid(100)
    delivery.deliver(begin)
    read_at = books().read_at
    his.temper.set(Fault("garbage", "QBP", next=2))
    assert reconciling.read_day(begin, clock.today()) is None
    with begin() as session:
        assert session.scalars(select(HisMoneyDay.read_at)).one() == read_at
        (day,) = reconciling.days(session, until=clock.today())
    assert (day.count, day.paid_fen, day.acknowledged, day.waiting, day.refused) == (1, 100, 1, 0, 0)


def test_a_handful_goes_out_on_one_claim_and_another_worker_keeps_its_hands_off(his: HisReceiver) -> None:
    for fen in range(1, 6):
        paid(fen)
    held = delivery._claim(begin)
    assert [each.fen for each in held] == [1, 2, 3, 4, 5]
    paid(6)
    assert delivery._claim(begin) == [], "one that came later does not overtake what a worker holds"
    with begin() as session:
        session.execute(text("UPDATE his_outbox SET claimed_until = clock_timestamp() - interval '1 second'"))
    assert delivery.deliver(begin) == 6


def test_without_a_his_nothing_is_told(his: HisReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XINGLIN_HIS_HOST")
    settings.cache_clear()
    paid()
    with begin() as session:
        assert reporting.sweep(session) == 0
        assert session.scalar(select(func.count()).select_from(HisOutbox)) == 0
    reconciling.read_lately(begin)
    monkeypatch.undo()
    settings.cache_clear()


def test_the_accountant_sees_the_days_reads_the_books_and_reports_again(his: HisReceiver) -> None:
    for fen in (12345, 200):
        paid(fen)
    delivery.deliver(begin)
    lost = next(each for each in his.book.money.values() if each.fen == 12345)
    del his.book.money[lost.number]
    books()
    today = clock.today()
    with running_site() as site:
        hire_cast()
        accountant = site.staff("finance")
        page = accountant.get("/staff/his/money")
        assert page.status_code == 200
        assert "125.45" in page.text
        day = accountant.get(f"/staff/his/money/{today}")
        assert "HIS 没有入账" in day.text
        assert lost.number in day.text
        assert accountant.get("/staff/his/money/no-day").status_code == 404
        with begin() as session:
            (ticket,) = differences.of_day(session, today)
        close = f"/staff/his/money/differences/{ticket.id}/close/now"
        cashier = site.staff("cashier")
        cashier.get("/staff")
        assert cashier.post(close, {"reason": "x"}).status_code == 403
        accountant.get(f"/staff/his/money/{today}")
        assert accountant.post(close, {"reason": " "}).status_code == 422
        accountant.get(f"/staff/his/money/{today}")
        assert "已向 HIS 核实" in accountant.post(close, {"reason": "已向 HIS 核实，重报"}).text
        accountant.get(f"/staff/his/money/{today}")
        assert accountant.post(f"/staff/his/money/{today}/again").status_code == 200
        assert delivery.deliver(begin) == 1
        assert accountant.post(f"/staff/his/money/{today}/read").status_code == 200
        for other in (site.staff("technician"), site.staff("cashier")):
            other.get("/staff")
            assert other.post(f"/staff/his/money/{today}/again").status_code == 403
            assert other.post(f"/staff/his/money/{today}/read").status_code == 403
        assert site.staff("technician").get("/staff/his/money").status_code == 403
        messages = site.staff("technician").get("/staff/his?direction=out&show=all")
        assert "DFT^P03" in messages.text
    with begin() as session:
        wanted = session.scalars(text("SELECT args -> 'args' ->> 'day' FROM procrastinate_jobs")).all()
    assert str(today) in wanted
    assert books().differences == []
