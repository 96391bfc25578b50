"""Cash at a window: one ledger, one drawer a shift, one receipt a payment; two cashiers at once get one of each."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid, XinglinError
from cloud.kit.ids import new_id
from cloud.payments import cash, days, drawers, receipts, reconciling, refunds, statements
from cloud.payments.drawers_model import CashShift, Receipt
from cloud.payments.model import LedgerEntry, PaymentCase
from tests.support import paying
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on

pytestmark = pytest.mark.req("WIN-1")

ZHOU, QIAN = "staff:0198aaaa-0000-7000-8000-000000000001", "staff:0198aaaa-0000-7000-8000-000000000002"


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
    with begin() as session:
        session.execute(text("TRUNCATE cash_shift, receipt, payment_bill_day, payment_difference CASCADE"))
    return both


def taken(fen: int = 1500, by: str = ZHOU, tendered: int | None = None, key: str | None = None) -> uuid.UUID:
    with begin() as session:
        wanted = cash.wish("bills", new_id(), fen, payer_key="person:1", key=key or str(new_id()))
        return cash.take(session, wanted, by=by, tendered_fen=tendered).payment.id


def expected(cashier: str = ZHOU) -> int:
    with begin() as session:
        shift = drawers.open_of(session, cashier)
        return 0 if shift is None else drawers.standing(session, shift.id).expected_fen


def test_cash_is_settled_at_once_in_the_one_ledger_and_lies_in_the_cashiers_drawer(cashiers: Cashiers) -> None:
    with begin() as session:
        drawers.open_shift(session, by=ZHOU, opening_fen=20000, place="1号窗")
    found = paying.payment(taken(1234, tendered=2000))
    assert (found.state, found.settled_by, found.paid_fen, found.late) == ("paid", "window", 1234, False)
    assert (paying.ledger("cash"), expected()) == (1234, 21234)


def test_the_change_is_what_was_handed_over_too_much(cashiers: Cashiers) -> None:
    with begin() as session:
        took = cash.take(
            session,
            cash.wish("bills", new_id(), 1234, payer_key="", key="k-change"),
            by=ZHOU,
            tendered_fen=2000,
        )
        assert (took.change_fen, took.again) == (766, False)
        with pytest.raises(Invalid):
            cash.take(session, cash.wish("bills", new_id(), 1234, payer_key="", key="k2"), by=ZHOU, tendered_fen=1233)


def test_the_same_submit_twice_takes_the_money_once(cashiers: Cashiers) -> None:
    subject = new_id()
    for again in (False, True):
        with begin() as session:
            wanted = cash.wish("bills", subject, 1500, payer_key="", key="once")
            assert cash.take(session, wanted, by=ZHOU).again is again
    assert (paying.ledger("cash"), expected()) == (1500, 1500)


def test_what_somebody_is_paying_by_phone_is_not_taken_in_cash(cashiers: Cashiers) -> None:
    phone = paying.payment(paying.prepared(1500, purpose="bills"))
    with begin() as session, pytest.raises(Conflict):
        cash.take(session, cash.wish("bills", phone.subject_id, 1500, payer_key="", key="c"), by=ZHOU)
    assert paying.ledger("cash") == 0


def test_a_phone_payment_refunded_in_cash_lowers_the_drawer_and_not_what_the_channel_owes(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers, 1500)
    with begin() as session:
        refunds.ask_refund(session, payment_id, 500, key="win", reason="窗口退费", by=ZHOU, route="cash")
    assert (paying.ledger("wechat"), paying.ledger("cash"), expected()) == (1500, -500, -500)
    with begin() as session:
        found = statements.lines(session, first=clock.today() - timedelta(days=1), last=clock.today())
        sums = statements.by_channel(found)
    assert (sums["wechat"].net_fen, sums["cash"].net_fen, sums["cash"].refunds) == (1500, -500, 1)


def test_cash_outside_a_drawer_is_refused_by_the_database_itself(cashiers: Cashiers) -> None:
    payment_id = taken()
    with begin() as session:
        shift_id = drawers.current(session, ZHOU)
    for channel, drawer in (("cash", None), ("wechat", shift_id)):
        wrong = LedgerEntry(at=clock.now(), channel=channel, payment_id=payment_id, shift_id=drawer, fen=100)
        with begin() as session:
            session.add(wrong)
            with pytest.raises(DBAPIError, match="ck_payment_ledger_drawer"):
                session.flush()
            session.rollback()


def test_a_drawer_is_counted_and_a_difference_needs_its_explanation(cashiers: Cashiers) -> None:
    taken(12340)
    with begin() as session, pytest.raises(Invalid):
        drawers.hand_over(session, by=ZHOU, pieces={10000: 1, 2000: 1})
    with begin() as session, pytest.raises(Invalid):
        drawers.hand_over(session, by=ZHOU, pieces={3000: 1})
    with begin() as session:
        closed = drawers.hand_over(session, by=ZHOU, pieces={10000: 1, 2000: 1}, why="找零多给 3.40 元")
        assert (closed.expected_fen, closed.counted_fen) == (12340, 12000)
    with begin() as session, pytest.raises(Conflict):
        drawers.hand_over(session, by=ZHOU, pieces={})
    assert expected() == 0
    taken(700)
    assert expected() == 700


def test_the_accounts_office_receives_a_closed_shift_once_and_never_its_own(cashiers: Cashiers) -> None:
    taken(10000)
    with begin() as session:
        shift = drawers.open_of(session, ZHOU)
        assert shift is not None
    with begin() as session, pytest.raises(Conflict):
        drawers.receive(session, shift.id, by=QIAN)
    with begin() as session:
        drawers.hand_over(session, by=ZHOU, pieces={10000: 1})
    with begin() as session, pytest.raises(Invalid):
        drawers.receive(session, shift.id, by=ZHOU)
    with begin() as session:
        drawers.receive(session, shift.id, by=QIAN)
    with begin() as session, pytest.raises(Conflict):
        drawers.receive(session, shift.id, by=QIAN)


def test_no_cash_slips_between_counting_and_closing(cashiers: Cashiers) -> None:
    """Cash is taken by one browser of the cashier while the other hands over, twenty times."""
    for _ in range(20):
        taken(100)
        both_ready = threading.Barrier(2)

        def hands_over(ready: threading.Barrier = both_ready) -> None:
            ready.wait()
            with begin() as session:
                drawers.hand_over(session, by=ZHOU, pieces={}, why="演练")

        def takes(ready: threading.Barrier = both_ready) -> None:
            ready.wait()
            taken(100)

        threads = [threading.Thread(target=each) for each in (hands_over, takes)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    with begin() as session:
        for shift in session.scalars(select(CashShift).where(CashShift.closed_at.is_not(None))):
            assert shift.expected_fen == drawers.standing(session, shift.id).expected_fen
    assert paying.ledger("cash") == 4000


def receipt_of(payment_id: uuid.UUID, fen: int, by: str = ZHOU) -> Receipt:
    with begin() as session:
        return receipts.issue(session, payment_id, holder="王秀英", lines=[{"name": "血常规", "fen": fen}], by=by)


def test_a_receipt_is_printed_once_and_again_only_as_a_counted_copy(cashiers: Cashiers) -> None:
    payment_id = taken(1500)
    with pytest.raises(Invalid):
        receipt_of(payment_id, 1400)
    first = receipt_of(payment_id, 1500)
    with pytest.raises(Conflict):
        receipt_of(payment_id, 1500)
    with begin() as session, pytest.raises(Invalid):
        receipts.print_again(session, first.id, by=ZHOU, why=" ")
    for copy in (1, 2):
        with begin() as session:
            assert receipts.print_again(session, first.id, by=ZHOU, why="患者遗失").copies == copy


def test_two_windows_print_one_receipt(cashiers: Cashiers) -> None:
    payment_id = taken(1500)
    outcomes: list[str] = []

    def prints(by: str) -> None:
        try:
            outcomes.append(receipt_of(payment_id, 1500, by).number)
        except XinglinError as refusal:
            outcomes.append(refusal.code)

    threads = [threading.Thread(target=prints, args=(each,)) for each in (ZHOU, QIAN)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert outcomes.count("receipt.printed") == 1


def test_after_a_part_refund_the_receipt_is_voided_and_one_for_the_rest_replaces_it(cashiers: Cashiers) -> None:
    payment_id = taken(1500)
    first = receipt_of(payment_id, 1500)
    with begin() as session:
        refunds.ask_refund(session, payment_id, 500, key="p", reason="退一项", by=ZHOU, route="cash")
        receipts.void(session, first.id, by=ZHOU, why="部分退费")
    with begin() as session, pytest.raises(Conflict):
        receipts.print_again(session, first.id, by=ZHOU, why="再要一张")
    second = receipt_of(payment_id, 1000)
    assert second.replaces_id == first.id
    with begin() as session:
        refunds.ask_refund(session, payment_id, 1000, key="q", reason="退其余", by=ZHOU, route="cash")
        receipts.void(session, second.id, by=ZHOU, why="全部退费")
    with pytest.raises(Conflict):
        receipt_of(payment_id, 0)


def test_a_receipt_needs_money_that_has_come(cashiers: Cashiers) -> None:
    with pytest.raises(Conflict):
        receipt_of(paying.prepared(1500), 1500)


@pytest.mark.req("PAY-6")
def test_a_bill_day_is_closed_only_when_nothing_of_it_is_open(cashiers: Cashiers) -> None:
    today = clock.today()
    payment_id = paying.paid(cashiers, 1500)
    with begin() as session, pytest.raises(Conflict):
        days.close(session, "wechat", today, by=QIAN)
    cashiers.wechat.book.orders[paying.payment(payment_id).number].fen = 1400
    days.read(begin, "wechat", today)
    with begin() as session, pytest.raises(Conflict):
        days.close(session, "wechat", today, by=QIAN)
    with begin() as session:
        reconciling.close(session, reconciling.open_differences(session)[0].id, by=QIAN, why="渠道优惠")
        days.close(session, "wechat", today, by=QIAN)
    with pytest.raises(Conflict):
        days.read(begin, "wechat", today)
    with begin() as session:
        assert [each.state for each in days.listed(session, ["wechat"], first=today, last=today)] == ["closed"]
        days.reopen(session, "wechat", today, by=QIAN, why="渠道补发账单")
    assert days.read(begin, "wechat", today) is not None


def test_a_stuck_refund_is_tried_again_with_its_number_and_its_case_ends_with_it(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers, 1500)
    cashiers.wechat.book.set_chaos({"refund_failed": 1.0})
    refund_id = paying.refund(payment_id, 700)
    paying.sweep(2)
    assert (paying.state_of(refund_id), paying.cases()) == ("stuck", ["refund_stuck"])
    cashiers.wechat.book.set_chaos({})
    cashiers.wechat.book.refunds.clear()  # the channel has forgotten it, as after a refusal
    with begin() as session, pytest.raises(Invalid):
        refunds.try_again(session, refund_id, by=QIAN, reason="")
    with begin() as session:
        refunds.try_again(session, refund_id, by=QIAN, reason="患者已更换银行卡")
    with begin() as session, pytest.raises(Conflict):
        refunds.try_again(session, refund_id, by=QIAN, reason="再点一次")
    paying.sweep(2)
    assert (paying.state_of(refund_id), paying.ledger("wechat")) == ("done", 800)
    with begin() as session:
        assert session.scalars(select(PaymentCase.closed_at)).one() is not None
