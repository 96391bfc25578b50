"""The channel's daily bill against our ledger: what differs is a ticket, what was missed is settled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid
from cloud.payments import reconciling
from cloud.payments.contract import Refused
from cloud.payments.model import BillDay
from simulators.money import bills
from tests.support import paying
from tests.support.cashiers import Cashiers, running
from tests.support.databases import DatabaseServer, cloud_on

pytestmark = pytest.mark.req("PAY-6")


@pytest.fixture(scope="module")
def both(database_server: DatabaseServer) -> Iterator[Cashiers]:
    with (
        pytest.MonkeyPatch.context() as patched,
        database_server.clone() as url,
        cloud_on(url, patched),
        running(patched) as found,
    ):
        yield found


@pytest.fixture(params=["wechat", "alipay"])
def channel(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cashiers(both: Cashiers) -> Cashiers:
    paying.clean(both)
    with begin() as session:
        session.execute(text("TRUNCATE payment_bill_day, payment_difference"))
    return both


def tickets() -> list[tuple[str, int | None, int | None]]:
    with begin() as session:
        return [(each.kind, each.channel_fen, each.our_fen) for each in reconciling.open_differences(session)]


def test_a_day_on_which_all_is_alike_has_no_ticket(cashiers: Cashiers, channel: str) -> None:
    first = paying.paid(cashiers, 1500, channel)
    paying.paid(cashiers, 2505, channel)
    paying.refund(first, 700)
    paying.sweep(3)
    found = reconciling.reconcile(begin, channel, clock.today())
    assert found is not None
    assert (found.lines, found.alike, found.differences) == (3, 3, 0)
    assert found.channel_fen == found.ours_fen == 3305
    assert tickets() == []


def test_money_that_no_notice_told_of_is_settled_from_the_bill(cashiers: Cashiers, channel: str) -> None:
    payment_id = paying.prepared(1500, channel)
    paying.taps(cashiers, payment_id)
    found = reconciling.reconcile(begin, channel, clock.today())
    assert found is not None
    assert (found.settled_now, found.differences) == (1, 0)
    assert paying.payment(payment_id).settled_by == "bill"


def test_money_for_a_number_that_is_not_ours_is_a_ticket(cashiers: Cashiers, channel: str) -> None:
    payment_id = paying.paid(cashiers, 1500, channel)
    book = getattr(cashiers, channel).book
    stranger = book.orders.pop(paying.payment(payment_id).number)
    stranger.number = "P209912310000000001"
    book.orders[stranger.number] = stranger
    reconciling.reconcile(begin, channel, clock.today())
    assert sorted(tickets(), key=str) == [("channel_only", 1500, None), ("ours_only", None, 1500)]


def test_an_amount_that_differs_is_a_ticket(cashiers: Cashiers, channel: str) -> None:
    payment_id = paying.paid(cashiers, 1500, channel)
    getattr(cashiers, channel).book.orders[paying.payment(payment_id).number].fen = 1400
    reconciling.reconcile(begin, channel, clock.today())
    assert tickets() == [("amount", 1400, 1500)]


def test_a_refund_made_at_the_channel_is_booked_and_shown_to_a_person(cashiers: Cashiers, channel: str) -> None:
    payment_id = paying.paid(cashiers, 1500, channel)
    getattr(cashiers, channel).book.refund(paying.payment(payment_id).number, "BY-HAND-1", 300)
    reconciling.reconcile(begin, channel, clock.today())
    assert paying.cases() == ["refund_outside"]
    assert (paying.ledger(channel), tickets()) == (1200, [])


def test_a_day_read_again_gives_the_same_tickets(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers, 1500)
    cashiers.wechat.book.orders[paying.payment(payment_id).number].fen = 1400
    for _ in range(3):
        reconciling.reconcile(begin, "wechat", clock.today())
    assert len(tickets()) == 1
    with begin() as session:
        assert len(session.scalars(select(BillDay)).all()) == 1


def test_a_ticket_is_closed_once_with_a_reason_and_stays_closed(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers, 1500)
    cashiers.wechat.book.orders[paying.payment(payment_id).number].fen = 1400
    reconciling.reconcile(begin, "wechat", clock.today())
    with begin() as session:
        ticket = reconciling.open_differences(session)[0].id
        with pytest.raises(Invalid):
            reconciling.close(session, ticket, by="staff:1", why="")
        reconciling.close(session, ticket, by="staff:1", why="渠道优惠 1 元，已补录")
        with pytest.raises(Conflict):
            reconciling.close(session, ticket, by="staff:2", why="再次")
    reconciling.reconcile(begin, "wechat", clock.today())
    assert tickets() == []


def test_a_cut_or_changed_bill_books_nothing(cashiers: Cashiers, monkeypatch: pytest.MonkeyPatch) -> None:
    paying.paid(cashiers, 1500)
    paying.paid(cashiers, 2500)
    genuine = bills.wechat

    def without_its_end(*given: str) -> bytes:
        return (genuine(*given) or b"")[:-60]  # type: ignore[arg-type]

    def without_a_line(*given: str) -> bytes:
        rows = (genuine(*given) or b"").split(b"\r\n")  # type: ignore[arg-type]
        return b"\r\n".join(rows[:1] + rows[2:])

    for broken in (without_its_end, without_a_line):
        monkeypatch.setattr(bills, "wechat", broken)
        with pytest.raises(Refused):
            reconciling.reconcile(begin, "wechat", clock.today())
    with begin() as session:
        assert session.scalars(select(BillDay)).all() == []


def test_a_day_without_a_bill_is_right_only_if_we_booked_nothing(cashiers: Cashiers, channel: str) -> None:
    yesterday = clock.today() - timedelta(days=1)
    found = reconciling.reconcile(begin, channel, yesterday)
    assert found is not None
    assert found.lines == 0
    paying.paid(cashiers, 1500, channel)
    getattr(cashiers, channel).book.orders.clear()
    assert reconciling.reconcile(begin, channel, clock.today()) is None


def test_what_was_paid_at_midnight_waits_for_the_next_bill(cashiers: Cashiers) -> None:
    """Our clock said 23:59:50, the channel's bill lists it for the next day; only then is a missing one a ticket."""
    payment_id = paying.paid(cashiers, 1500)
    number, today = paying.payment(payment_id).number, clock.today()
    last_second = clock.day_begins(today) - timedelta(seconds=10)
    with begin() as session:
        session.execute(text("ALTER TABLE payment_ledger DISABLE TRIGGER USER"))
        session.execute(text("UPDATE payment_ledger SET at = :at"), {"at": last_second})
        session.execute(text("ALTER TABLE payment_ledger ENABLE TRIGGER USER"))
    reconciling.reconcile(begin, "wechat", today)
    assert tickets() == []
    del cashiers.wechat.book.orders[number]
    paying.paid(cashiers, 100)
    reconciling.reconcile(begin, "wechat", today)
    assert tickets() == [("ours_only", None, 1500)]


def test_every_day_behind_us_is_read_once(cashiers: Cashiers) -> None:
    payment_id = paying.paid(cashiers, 1500)
    three_days_ago = clock.now() - timedelta(days=3)
    with begin() as session:
        session.execute(
            text("UPDATE payment SET created_at = :at WHERE id = :id"), {"at": three_days_ago, "id": payment_id}
        )
        days = reconciling.days_to_read(session, "wechat", today=clock.today())
    assert days
    assert days[0] == clock.local(three_days_ago).date()
    assert clock.today() not in days
    reconciling.catch_up(begin)
    with begin() as session:
        assert reconciling.days_to_read(session, "wechat", today=clock.today()) == []
