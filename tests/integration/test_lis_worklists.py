"""What a box is told: its instruments' own codes, gap-free revisions, nothing that is over."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.events import StoredEvent
from cloud.lis.instruments import service as instruments
from cloud.lis.orders import service as orders
from cloud.lis.specimens import refusal
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from cloud.lis.worklists import service as worklists
from cloud.lis.worklists.model import WorklistRow
from protocols.uplink.envelope import Worklist
from tests.support.lab import GATEWAY, Lab, labelled, open_lab, react, received
from tests.support.waiting import eventually


@pytest.fixture
def lab(database: str) -> Lab:
    return open_lab()


@pytest.mark.req("GW-7")
def test_a_received_tube_reaches_its_box_in_each_instruments_own_codes_without_a_name(lab: Lab) -> None:
    blood, serum = received(lab, ("HGB", "NEUT_PCT")), received(lab, ("ALT", "CREA"))
    with begin() as session:
        entries = {each.specimen: each for each in worklists.entries_after(session, GATEWAY, 0)}
    assert set(entries[blood].orders) == {"xn"}
    assert set(entries[blood].orders["xn"].codes) == {"HGB", "NEUT%"}
    assert set(entries[serum].orders["bs"].codes) == {"1", "12"}
    order = entries[blood].orders["xn"]
    assert (order.specimen, order.priority, order.patient_name, order.birth_date) == (blood, "R", None, None)
    sent = Worklist(GATEWAY, tuple(entries.values()))
    assert Worklist.from_bytes(sent.to_bytes()) == sent


@pytest.mark.req("GW-7")
def test_a_tube_that_is_only_printed_is_on_no_worklist(lab: Lab) -> None:
    labelled(lab)
    react()
    with begin() as session:
        assert worklists.entries_after(session, GATEWAY, 0) == []


@pytest.mark.req("GW-7")
def test_reacting_twice_to_one_reception_makes_one_revision(lab: Lab) -> None:
    received(lab)
    react()
    with begin() as session:
        assert worklists.newest_revision(session, GATEWAY) == 1
        told = select(StoredEvent.payload).where(StoredEvent.type == "lis.worklists.worklist_changed")
        assert session.scalars(told).all() == [{"gateway": GATEWAY, "revision": 1}]


@pytest.mark.req("GW-7")
def test_revisions_have_no_gap_when_many_tubes_are_received_at_once_and_some_fail(lab: Lab) -> None:
    with begin() as session:
        ids = []
        for _ in range(12):
            accession = labelled(lab, ("HGB",))
            ids.append(specimens.receive(session, accession, by="system").id)

    def refresh(place: int) -> None:
        try:
            with begin() as session:
                worklists.refresh(session, ids[place])
                if place % 3 == 0:
                    raise RuntimeError("the worker died before its commit")
        except RuntimeError:
            return

    threads = [threading.Thread(target=refresh, args=(place,)) for place in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with begin() as session:
        revisions = [each.revision for each in worklists.entries_after(session, GATEWAY, 0)]
    assert revisions == list(range(1, 9))


@pytest.mark.req("GW-7")
def test_a_rejected_or_cancelled_tube_is_taken_back_from_the_box(lab: Lab) -> None:
    rejected, cancelled = received(lab), received(lab)
    with begin() as session:
        refusal.reject(session, rejected, by="staff:lab", reason_code="haemolysed")
        order_id = specimens.by_barcode(session, cancelled).order_id
        orders.cancel_order(session, order_id, reason="医生要求", by="staff:lab", after_receipt=True)
    react()
    with begin() as session:
        entries = {each.specimen: each for each in worklists.entries_after(session, GATEWAY, 2)}
        assert {rejected, cancelled} == {each for each, entry in entries.items() if entry.orders == {}}
        everything = worklists.entries_after(session, GATEWAY, 0)
        assert [each.orders for each in everything] == [{}, {}], "a new box is not told what was taken back"


@pytest.mark.req("GW-7")
def test_one_cancelled_test_leaves_the_others_on_the_worklist(lab: Lab) -> None:
    accession = received(lab, ("ALT", "AST"))
    with begin() as session:
        tube = specimens.by_barcode(session, accession)
        item = specimens.live_items(session, tube.id)[0]
        orders.cancel_order(
            session, tube.order_id, reason="重复", by="staff:lab", item_ids=[item.id], after_receipt=True
        )
    react()
    with begin() as session:
        (entry,) = worklists.entries_after(session, GATEWAY, 1)
        assert entry.orders["bs"].codes == ("2",)


@pytest.mark.req("GW-7")
def test_a_box_reads_on_from_where_it_stands_and_pages_of_it_end_level(lab: Lab) -> None:
    tubes = [received(lab, ("HGB",)) for _ in range(5)]
    with begin() as session:
        first = worklists.entries_after(session, GATEWAY, 0, limit=2)
        second = worklists.entries_after(session, GATEWAY, first[-1].revision, limit=2)
        rest = worklists.entries_after(session, GATEWAY, second[-1].revision, limit=2)
        assert [each.specimen for each in first + second + rest] == tubes
        assert worklists.entries_after(session, GATEWAY, rest[-1].revision) == []
        assert worklists.entries_after(session, "gw-of-somebody-else", 0) == []


@pytest.mark.req("GW-7")
def test_what_has_expired_is_not_sent_and_long_after_is_deleted_but_the_newest_revision_stays(lab: Lab) -> None:
    old, newest = received(lab, ("HGB",)), received(lab, ("HGB",))
    with begin() as session:
        session.execute(update(WorklistRow).values(expires_at=clock.now() - timedelta(days=31)))
    with begin() as session:
        assert [each.specimen for each in worklists.entries_after(session, GATEWAY, 0)] == [newest]
        assert worklists.prune(session) == 1
    with begin() as session:
        assert session.scalars(select(WorklistRow.specimen)).all() == [newest]
    assert old != newest


@pytest.mark.req("LIS-16", "GW-7")
def test_an_instrument_out_of_service_is_told_nothing(lab: Lab) -> None:
    with begin() as session:
        xn = instruments.instrument_of(session, GATEWAY, "xn")
        assert xn is not None
        instruments.set_state(session, xn.id, "inactive", by="staff:lab")
    received(lab, ("HGB",))
    with begin() as session:
        assert worklists.entries_after(session, GATEWAY, 0) == []


@pytest.mark.req("GW-7")
def test_a_cancellation_that_overtakes_a_slower_reaction_is_not_undone_by_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two job workers at one tube: who read it before the cancellation must not write after it."""
    accession = labelled(lab, ("HGB",))
    with begin() as session:
        tube = specimens.receive(session, accession, by="system")
    read, may_write, cancelled_told = threading.Event(), threading.Event(), threading.Event()
    plain = worklists.wanted_by_gateway

    def slow(session: Session, specimen: Specimen) -> dict[str, dict[str, Any]]:
        found = plain(session, specimen)
        if threading.current_thread().name == "slow":
            read.set()
            may_write.wait(10)
        return found

    monkeypatch.setattr(worklists, "wanted_by_gateway", slow)

    def refresh() -> None:
        with begin() as session:
            worklists.refresh(session, tube.id)

    def quick() -> None:
        refresh()
        cancelled_told.set()

    first = threading.Thread(target=refresh, name="slow")
    first.start()
    assert read.wait(10)
    with begin() as session:
        orders.cancel_order(session, tube.order_id, reason="医生要求", by="staff:lab", after_receipt=True)
    second = threading.Thread(target=quick)
    second.start()
    eventually(lambda: cancelled_told.is_set() or _somebody_waits_for_a_lock())
    may_write.set()
    first.join()
    second.join()
    with begin() as session:
        newest = worklists.entries_after(session, GATEWAY, 0)
    assert [each.orders for each in newest] in ([], [{}])


def _somebody_waits_for_a_lock() -> bool:
    with begin() as session:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(session.scalar(text(waiting)))


@pytest.mark.req("GW-7")
def test_a_laboratory_restored_from_a_backup_overtakes_what_the_box_already_has(lab: Lab) -> None:
    first, second = received(lab, ("HGB",)), received(lab, ("ALT",))
    with begin() as session:
        assert worklists.overtake(session, GATEWAY, 40)
        assert not worklists.overtake(session, GATEWAY, 40), "it is ahead by now"
    third = received(lab, ("HGB",))
    with begin() as session:
        entries = worklists.entries_after(session, GATEWAY, 40)
    assert [(each.revision, each.specimen) for each in entries] == [(41, first), (42, second), (43, third)]


def test_a_revision_that_no_laboratory_gave_is_not_believed(lab: Lab) -> None:
    received(lab, ("HGB",))
    with begin() as session:
        assert not worklists.overtake(session, GATEWAY, 2**63)
        assert worklists.overtake(session, "gw-new", 7)
        assert worklists.newest_revision(session, "gw-new") == 7
