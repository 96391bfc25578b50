"""Orders, tubes, receptions and worklists on a real database."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid, NotFound, XinglinError
from cloud.kit.events import StoredEvent
from cloud.lis.catalog import service as catalog
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, Order, OrderItem
from cloud.lis.orders.numbers import check_digit_holds
from cloud.lis.specimens import refusal
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.worklists.model import WorklistRow
from tests.support.lab import Lab, labelled, open_lab, order, react, received


@pytest.fixture
def lab(database: str) -> Lab:
    return open_lab()


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Run acts at the same moment, each in its own thread; what each gave or raised."""
    gate = threading.Barrier(len(acts))
    results: list[object] = [None] * len(acts)

    def run(place: int, act: Callable[[], object]) -> None:
        gate.wait()
        try:
            results[place] = act()
        except XinglinError as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.req("LIS-1")
def test_an_order_placed_twice_by_the_his_is_one_order_with_its_tests_once(lab: Lab) -> None:
    with begin() as session:
        first = order(session, lab, ("CBC", "CRP"), placer="A1").id
    with begin() as session:
        assert order(session, lab, ("CBC", "CRP"), placer="A1").id == first
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 1
        assert session.scalar(select(func.count()).select_from(OrderItem)) == 25
        placed = select(func.count()).where(StoredEvent.type == "lis.orders.order_placed")
        assert session.scalar(placed) == 1


@pytest.mark.req("LIS-1")
def test_the_same_order_sent_over_two_connections_at_once_is_one_order(lab: Lab) -> None:
    def place() -> uuid.UUID:
        with begin() as session:
            return order(session, lab, placer="A2").id

    ids = at_once(*[place] * 6)
    assert len(set(ids)) == 1
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(OrderItem)) == 24


@pytest.mark.req("LIS-1")
def test_a_placer_number_of_another_patient_is_refused(lab: Lab) -> None:
    with begin() as session:
        order(session, lab, placer="A3")
    with begin() as session, pytest.raises(Conflict, match="placer_number_of_another"):
        order(session, lab, placer="A3", person=lab.li)


@pytest.mark.req("LIS-1")
def test_unknown_tests_are_named_and_nothing_is_stored(lab: Lab) -> None:
    with pytest.raises(Invalid) as refused, begin() as session:
        order(session, lab, ("CBC", "NOPE", "XYZ"))
    assert refused.value.fields["codes"] == "NOPE、XYZ"
    with pytest.raises(Invalid, match="nothing_ordered"), begin() as session:
        order(session, lab, ())
    with begin() as session:
        assert session.scalar(select(func.count()).select_from(Order)) == 0


@pytest.mark.req("LIS-1")
def test_labels_group_tests_into_tubes_and_a_reprint_makes_no_new_tube(lab: Lab) -> None:
    with begin() as session:
        placed = order(session, lab, ("CBC", "ALT", "CREA", "PT", "ESR"))
        tubes = specimens.print_labels(session, placed.id, by="system")
        colours = [catalog.tubes_by_id(session)[each.tube_id].cap_colour for each in tubes]
    assert colours == ["蓝", "黑", "黄", "紫"]
    with begin() as session:
        again = specimens.print_labels(session, placed.id, by="system")
        assert [each.accession for each in again] == [each.accession for each in tubes]
        assert [each.type for each in specimens.timeline(session, again[0].id)] == ["printed", "reprinted"]


@pytest.mark.req("LIS-1", "LIS-18")
def test_accession_numbers_are_digits_at_most_12_with_a_check_digit_and_never_the_same(lab: Lab) -> None:
    found: list[str] = []
    lock = threading.Lock()

    def print_many() -> None:
        for _ in range(5):
            accession = labelled(lab, ("ALT", "PT"))
            with lock:
                found.append(accession)

    at_once(*[print_many] * 4)
    assert len(found) == len(set(found)) == 20
    assert all(each.isdigit() and len(each) <= 12 and each[0] != "0" and check_digit_holds(each) for each in found)


@pytest.mark.req("LIS-2")
def test_of_two_people_who_receive_one_tube_at_once_exactly_one_succeeds(lab: Lab) -> None:
    accession = labelled(lab)

    def receive(who: str) -> Callable[[], str]:
        def act() -> str:
            with begin() as session:
                return specimens.receive(session, accession, by=who).accession

        return act

    results = at_once(*[receive(f"staff:{n}") for n in range(6)])
    assert results.count(accession) == 1
    refused = [each for each in results if isinstance(each, Conflict)]
    assert len(refused) == 5
    assert {each.code for each in refused} == {"specimen_received"}
    with begin() as session:
        tube = specimens.by_barcode(session, accession)
        assert [each.type for each in specimens.timeline(session, tube.id)] == ["printed", "received"]
        assert {each.state for each in specimens.live_items(session, tube.id)} == {ItemState.RECEIVED}
        received = select(func.count()).where(StoredEvent.type == "lis.specimens.specimen_received")
        assert session.scalar(received) == 1


@pytest.mark.req("LIS-2")
def test_an_unknown_barcode_is_refused_with_the_barcode_named(lab: Lab) -> None:
    with begin() as session, pytest.raises(NotFound) as refused:
        specimens.receive(session, " 9999999999\r", by="system")
    assert refused.value.code == "barcode_unknown"
    assert refused.value.fields["barcode"] == "9999999999"


@pytest.mark.req("LIS-2")
def test_a_tube_is_collected_then_received_with_each_moment_kept(lab: Lab) -> None:
    accession = labelled(lab)
    with begin() as session:
        specimens.collect(session, accession, by="staff:nurse", place="3 病区")
    with begin() as session, pytest.raises(Conflict, match="specimen_collected"):
        specimens.collect(session, accession, by="staff:nurse")
    with begin() as session:
        tube = specimens.receive(session, f"  {accession} ", by="staff:lab")
        assert tube.collected_by == "staff:nurse"
        assert tube.received_at is not None
        assert tube.collected_at is not None
        assert tube.collected_at <= tube.received_at
        steps = [(each.type, each.by, each.place) for each in specimens.timeline(session, tube.id)]
    assert steps == [("printed", "system", ""), ("collected", "staff:nurse", "3 病区"), ("received", "staff:lab", "")]


@pytest.mark.req("LIS-2")
def test_what_happened_to_a_specimen_cannot_be_changed_or_deleted_in_the_database(lab: Lab) -> None:
    labelled(lab)
    for statement in ("UPDATE lab_specimen_event SET type = 'x'", "DELETE FROM lab_specimen_event"):
        with pytest.raises(DBAPIError, match="never changed or deleted"), begin() as session:
            session.execute(text(statement))


@pytest.mark.req("LIS-1")
def test_a_preprinted_tube_is_bound_at_collection_and_found_by_both_barcodes(lab: Lab) -> None:
    accession, other = labelled(lab), labelled(lab)
    with begin() as session:
        tube = specimens.collect(session, accession, by="staff:nurse", preprinted="PP-000123")
        assert (tube.barcode, tube.state) == ("PP-000123", SpecimenState.COLLECTED)
    with begin() as session:
        assert specimens.by_barcode(session, "PP-000123").id == specimens.by_barcode(session, accession).id
    with pytest.raises(Conflict, match="barcode_in_use"), begin() as session:
        specimens.collect(session, other, by="staff:nurse", preprinted="PP-000123")
    with pytest.raises(Conflict, match="barcode_in_use"), begin() as session:
        specimens.collect(session, other, by="staff:nurse", preprinted=accession)
    with pytest.raises(Invalid, match="barcode_not_usable"), begin() as session:
        specimens.collect(session, other, by="staff:nurse", preprinted="a b")
    with begin() as session:
        assert specimens.by_barcode(session, other).state == SpecimenState.PRINTED


@pytest.mark.req("LIS-2")
def test_a_rejected_tube_is_collected_again_under_a_new_number_linked_to_it(lab: Lab) -> None:
    accession = labelled(lab)
    with begin() as session:
        specimens.receive(session, accession, by="staff:lab")
    with begin() as session:
        done = refusal.reject(session, accession, by="staff:lab", reason_code="clotted")
        assert done.replacement is not None
        new = done.replacement.accession
    with begin() as session:
        tube = specimens.by_barcode(session, new)
        assert tube.replaces_id == done.specimen.id
        assert len(specimens.live_items(session, tube.id)) == 24
        assert specimens.live_items(session, done.specimen.id) == []
        last = specimens.timeline(session, done.specimen.id)[-1]
        assert (last.type, last.reason_code, last.detail["replacement"]) == ("rejected", "clotted", new)
    with begin() as session, pytest.raises(Conflict, match="specimen_rejected"):
        specimens.receive(session, accession, by="staff:lab")
    with begin() as session, pytest.raises(Invalid, match="reason_unknown"):
        refusal.reject(session, new, by="staff:lab", reason_code="because")


@pytest.mark.req("LIS-1")
def test_a_cancelled_order_takes_its_tubes_with_it_and_a_received_one_is_not_cancelled_by_the_his(lab: Lab) -> None:
    first, second = labelled(lab), labelled(lab)
    with begin() as session:
        order_id = specimens.by_barcode(session, first).order_id
        assert len(orders.cancel_order(session, order_id, reason="开错", by="his")) == 24
        assert orders.cancel_order(session, order_id, reason="开错", by="his") == []
    react()
    with begin() as session:
        assert specimens.by_barcode(session, first).state == SpecimenState.CANCELLED
    with begin() as session, pytest.raises(Conflict, match="specimen_cancelled"):
        specimens.receive(session, first, by="staff:lab")
    with begin() as session:
        order_id = specimens.receive(session, second, by="staff:lab").order_id
    with pytest.raises(Conflict, match="received_already"), begin() as session:
        orders.cancel_order(session, order_id, reason="开错", by="his")
    with begin() as session:
        assert {each.state for each in orders.items_of(session, order_id)} == {ItemState.RECEIVED}


@pytest.mark.req("LIS-1", "LIS-2")
def test_what_the_laboratory_cancels_after_receipt_leaves_the_worklist_and_says_what_not_to_charge(lab: Lab) -> None:
    accession = received(lab, ("ALT", "AST", "CREA"))

    def asked() -> set[str]:
        with begin() as session:
            tube = specimens.by_barcode(session, accession)
            rows = select(WorklistRow).where(WorklistRow.specimen_id == tube.id).order_by(WorklistRow.revision.desc())
            orders_down = session.scalars(rows.limit(1)).one().orders
            return {code for each in orders_down.values() for code in each["codes"]}

    before = asked()
    with begin() as session:
        tube = specimens.by_barcode(session, accession)
        alt, ast, crea = specimens.live_items(session, tube.id)
        orders.cancel_order(
            session, tube.order_id, reason="医生撤销", by="staff:lab", item_ids=[alt.id], after_receipt=True
        )
        said = session.scalars(select(StoredEvent).where(StoredEvent.type == "lis.orders.order_cancelled")).one()
        assert (said.payload["item_ids"], said.payload["whole"]) == ([str(alt.id)], False)
    react()
    assert asked() < before
    with begin() as session:
        crea.state = session.get_one(OrderItem, crea.id).state = ItemState.RELEASED
        session.get_one(OrderItem, ast.id).state = ItemState.RESULTED
    with begin() as session, pytest.raises(Conflict, match="received_already"):
        orders.cancel_order(session, tube.order_id, reason="撤销", by="x", item_ids=[ast.id], after_receipt=True)
    with begin() as session:
        session.get_one(OrderItem, ast.id).state = ItemState.RECEIVED
        session.flush()
        orders.cancel_order(session, tube.order_id, reason="撤销", by="x", item_ids=[ast.id], after_receipt=True)
    react()
    with begin() as session:
        assert specimens.by_barcode(session, accession).state == SpecimenState.DONE, "nothing is left to wait for"


@pytest.mark.req("LIS-1", "LIS-2")
def test_a_cancellation_and_a_reception_at_once_exclude_each_other(lab: Lab) -> None:
    for _ in range(5):
        accession = labelled(lab)
        with begin() as session:
            order_id = specimens.by_barcode(session, accession).order_id

        def cancel(order_id: uuid.UUID = order_id) -> str:
            with begin() as session:
                orders.cancel_order(session, order_id, reason="开错", by="his")
            return "cancelled"

        def receive(accession: str = accession) -> str:
            with begin() as session:
                specimens.receive(session, accession, by="staff:lab")
            return "received"

        results = at_once(cancel, receive)
        won = [each for each in results if isinstance(each, str)]
        assert len(won) == 1, results
        with begin() as session:
            states = {each.state for each in orders.items_of(session, order_id)}
        assert states == {ItemState.CANCELLED if won == ["cancelled"] else ItemState.RECEIVED}


@pytest.mark.req("LIS-1")
def test_an_added_test_joins_the_received_tube_of_its_kind_or_gets_a_new_label(lab: Lab) -> None:
    accession = labelled(lab, ("ALT",))
    with begin() as session:
        tube = specimens.receive(session, accession, by="staff:lab")
        orders.add_tests(session, tube.order_id, ("CREA", "PT", "ALT"), by="staff:lab")
    react()
    with begin() as session:
        items = {
            catalog.tests_by_id(session, [each.test_id])[each.test_id].code: each
            for each in orders.items_of(session, tube.order_id)
        }
        assert set(items) == {"ALT", "CREA", "PT"}
        assert (items["CREA"].specimen_id, items["CREA"].state) == (tube.id, ItemState.RECEIVED)
        new = session.get(Specimen, items["PT"].specimen_id)
        assert new is not None
        assert new.state == SpecimenState.PRINTED
        assert new.id != tube.id


@pytest.mark.req("LIS-2")
def test_a_specimen_is_done_only_when_every_test_is_released_or_cancelled(lab: Lab) -> None:
    accession = labelled(lab, ("ALT", "AST"))
    with begin() as session:
        tube = specimens.receive(session, accession, by="staff:lab")
        first, second = specimens.live_items(session, tube.id)
        first.state = ItemState.RELEASED
        session.flush()
        assert not specimens.mark_done(session, tube.id, by="system")
        second.state = ItemState.CANCELLED
        session.flush()
        assert specimens.mark_done(session, tube.id, by="system")
        assert not specimens.mark_done(session, tube.id, by="system")
