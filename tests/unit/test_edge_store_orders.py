"""The box's memory of orders: bounded, expiring, and there again after a damaged file or a step back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.clock import Moment
from edge.store import orders as book
from edge.store.ledger import Ledger
from edge.store.orders import SentOrder, SentState
from edge.store.store import Store
from protocols.model import Order
from protocols.uplink.envelope import WorklistEntry

pytestmark = pytest.mark.req("GW-7")
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
SURE = Moment(NOW, True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "box.db", max_bytes=64 * 2**20) as made:
        yield made


def on_the_worklist(store: Store, tubes: int, *, hours: float = 72) -> None:
    expires_at = NOW + timedelta(hours=hours)
    entries = [
        WorklistEntry(each, f"26{each:06}", {"xn": Order(f"26{each:06}", ("WBC",))}, expires_at)
        for each in range(1, tubes + 1)
    ]
    store.write(lambda ledger: ledger.put_worklist(entries, 0))


def held(specimen: str = "26000001", *, hours: float = 72) -> SentOrder:
    expires_at = Moment(NOW + timedelta(hours=hours), True).microseconds
    return SentOrder(specimen, 1, SentState.SENT, {"WBC": "n1"}, (), 0, "", expires_at)


def asked_about(store: Store, barcode: str, at: Moment) -> None:
    store.write(lambda ledger: book.put_unanswered(ledger.connection, "xn", barcode, None, None, "unknown", at))


def pruned(store: Store, at: Moment) -> None:
    store.write(lambda ledger: book.prune(ledger.connection, at))


def test_the_worklist_is_bounded_and_the_tubes_told_longest_ago_make_room(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "MOST_TUBES", 100)
    on_the_worklist(store, 120)
    pruned(store, SURE)
    reader = store.reader()
    found = reader.orders("xn", [f"26{each:06}" for each in range(1, 121)], SURE)
    assert [specimen for specimen, known in found.items() if known] == [f"26{each:06}" for each in range(21, 121)]
    reader.close()


def test_an_order_runs_out_by_a_clock_that_is_trusted_and_by_no_other(store: Store) -> None:
    on_the_worklist(store, 1, hours=1)
    reader = store.reader()
    later = NOW + timedelta(hours=2)
    assert reader.orders("xn", ["26000001"], Moment(later, True)) == {"26000001": []}
    assert reader.orders("xn", ["26000001"], Moment(later, False))["26000001"]
    assert reader.ask(book.wanted, "xn", 0, Moment(later, True)) == []
    reader.close()


def cancelled(store: Store, specimen: str = "26000001") -> None:
    """The worklist's word that nothing is to be done on a tube any more."""

    def work(ledger: Ledger) -> None:
        after = ledger.worklist_revision
        ledger.put_worklist([WorklistEntry(after + 1, specimen, {}, NOW + timedelta(hours=72))], after)

    store.write(work)


def test_work_that_ran_out_is_forgotten_and_not_taken_back(store: Store) -> None:
    store.write(lambda ledger: book.put_sent(ledger.connection, "xn", held(hours=1), SURE))
    cancelled(store)
    reader = store.reader()
    assert [each.specimen for each in reader.ask(book.taken_back, "xn", SURE)] == ["26000001"]
    later = Moment(NOW + timedelta(hours=2), True)
    assert reader.ask(book.taken_back, "xn", later) == []
    pruned(store, later)
    assert reader.ask(book.sent_orders, "xn") == []
    reader.close()


def test_work_on_the_worklist_is_not_taken_back(store: Store) -> None:
    on_the_worklist(store, 1)
    store.write(lambda ledger: book.put_sent(ledger.connection, "xn", held(), SURE))
    reader = store.reader()
    assert reader.ask(book.taken_back, "xn", SURE) == []
    [wanted] = reader.ask(book.wanted, "xn", 0, SURE)
    assert wanted.sent == held()
    reader.close()


def test_a_tube_that_is_missing_without_a_word_is_not_taken_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pruned for want of room, or the worklist begins anew after damage: the analyzer keeps its work."""
    monkeypatch.setattr(book, "MOST_TUBES", 1)
    on_the_worklist(store, 2)
    store.write(lambda ledger: book.put_sent(ledger.connection, "xn", held(), SURE))
    pruned(store, SURE)
    reader = store.reader()
    assert reader.orders("xn", ["26000001"], SURE) == {"26000001": []}
    assert reader.ask(book.taken_back, "xn", SURE) == []
    cancelled(store)
    assert [each.specimen for each in reader.ask(book.taken_back, "xn", SURE)] == ["26000001"]
    reader.close()


def test_a_cancellation_while_the_order_is_under_way_is_not_forgotten_when_it_arrived(store: Store) -> None:
    on_the_worklist(store, 1)
    store.write(lambda ledger: book.put_sent(ledger.connection, "xn", held(), SURE))
    cancelled(store)
    store.write(lambda ledger: book.put_sent(ledger.connection, "xn", held(), SURE))
    reader = store.reader()
    assert [each.specimen for each in reader.ask(book.taken_back, "xn", SURE)] == ["26000001"]
    reader.close()


def test_tubes_without_an_order_are_bounded_and_forgotten_after_days(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "MOST_UNANSWERED", 10)
    for each in range(15):
        at = Moment(NOW + timedelta(seconds=each), True)
        asked_about(store, f"P{each}", at)
    pruned(store, SURE)
    reader = store.reader()
    assert [each.specimen for each in reader.ask(book.unanswered)] == [f"P{each}" for each in range(14, 4, -1)]
    pruned(store, Moment(NOW + timedelta(days=4), False))
    assert len(reader.ask(book.unanswered)) == 10
    pruned(store, Moment(NOW + timedelta(days=4), True))
    assert reader.ask(book.unanswered) == []
    reader.close()


def test_what_instruments_were_told_is_there_again_when_the_box_starts(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db", max_bytes=64 * 2**20) as store:
        store.write(lambda ledger: book.put_sent(ledger.connection, "xn", held(), SURE))
    with Store(tmp_path / "box.db", max_bytes=64 * 2**20) as store:
        reader = store.reader()
        assert reader.ask(book.sent_of, "xn", "26000001") == held()
        reader.close()
