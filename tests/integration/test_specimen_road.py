"""A specimen's whole life on a real database: collection, batches, rejection, aliquots, storage, add-on tests."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, update

from cloud.kit import clock
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Invalid, XinglinError
from cloud.kit.events import StoredEvent
from cloud.lis.catalog import service as catalog
from cloud.lis.orders import oral
from cloud.lis.orders.model import ItemState, Order, OrderItem
from cloud.lis.specimens import (
    adding,
    aliquots,
    collecting,
    concession,
    indicators,
    lookup,
    policy,
    refusal,
    regrouping,
    rules,
    tubing,
    undoing,
    whereabouts,
)
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import (
    Specimen,
    SpecimenState,
    TestCollection,
    TubeFill,
    Whereabouts,
)
from cloud.lis.storage import discarding
from cloud.lis.storage import service as storage
from cloud.lis.storage.model import StoredTube
from cloud.lis.transport import listing
from cloud.lis.transport import service as transport
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.lab import Lab, labelled, open_lab, order

NURSE, LAB, OTHER = "staff:nurse", "staff:lab", "staff:other"


@pytest.fixture(scope="module")
def lab(database_server: DatabaseServer) -> Iterator[Lab]:
    """One laboratory for the file: each test has orders of its own."""
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url, cloud_on(url, patch):
        yield open_lab()


def at_once(*acts: Callable[[], object]) -> list[object]:
    """What each act gave or was refused with, all begun at the same moment."""
    gate = threading.Barrier(len(acts))
    results: list[object] = [None] * len(acts)

    def run(place: int, act: Callable[[], object]) -> None:
        gate.wait()
        try:
            results[place] = act()
        except XinglinError as error:
            results[place] = error.code

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return results


def received(lab: Lab, items: tuple[str, ...] = ("ALT",)) -> str:
    """The accession of a tube that is in the laboratory."""
    accession = labelled(lab, items)
    with begin() as session:
        specimens.receive(session, accession, by=LAB)
    return accession


def explained(accession: str) -> tuple[str, str]:
    """State and whereabouts of a tube, which its history must amount to."""
    with begin() as session:
        tube = specimens.by_barcode(session, accession)
        steps = [(each.type, each.detail) for each in lookup.history(session, tube.id)]
        assert rules.replay(steps) == (tube.state, tube.whereabouts)
        return tube.state, tube.whereabouts


def states(accession: str) -> set[str]:
    with begin() as session:
        return {each.state for each in specimens.live_items(session, specimens.by_barcode(session, accession).id)}


def test_id(code: str) -> uuid.UUID:
    with begin() as session:
        test = catalog.test_by_code(session, code)
        assert test is not None
        return test.id


test_id.__test__ = False  # type: ignore[attr-defined]  # a helper with the field's word in its name


def asks(code: str, **what: object) -> None:
    """Say what a test asks of its specimen."""
    with begin() as session:
        session.merge(TestCollection(test_id=test_id(code), source="试剂说明书（测试）", **what))


@pytest.fixture
def tube_of_5_ml(lab: Lab) -> Iterator[None]:
    """Serum tubes of 5 ml give 2 ml of serum less 200 µl; ALT, AST and CREA take 800 µl each."""
    wanted = [test_id(each) for each in ("ALT", "AST", "CREA")]
    for code in ("ALT", "AST", "CREA"):
        asks(code, volume_ul=800)
    with begin() as session:
        test = catalog.test_by_code(session, "ALT")
        assert test is not None
        tube = test.tube_id
        session.add(
            TubeFill(tube_id=tube, max_fill_ul=5000, dead_volume_ul=200, yield_percent=40, source="厂家说明书（测试）")
        )
    yield
    with begin() as session:
        session.delete(session.get_one(TubeFill, tube))
        for each in wanted:
            session.delete(session.get_one(TestCollection, each))


# --- tubes -----------------------------------------------------------------------------------------------------------


@pytest.mark.req("LIS-1")
def test_an_order_that_asks_for_more_serum_than_a_tube_gives_gets_two(lab: Lab, tube_of_5_ml: None) -> None:
    with begin() as session:
        placed = order(session, lab, ("ALT", "AST", "CREA"))
        tubes = tubing.print_labels(session, placed.id, by=NURSE)
        assert [len(specimens.live_items(session, each.id)) for each in tubes] == [2, 1]


@pytest.mark.req("LIS-1")
def test_tests_of_two_lines_never_share_a_tube_and_one_without_a_line_goes_with_either(lab: Lab) -> None:
    asks("UREA", line="生化流水线")
    asks("TBIL", line="急诊生化")
    with begin() as session:
        placed = order(session, lab, ("UREA", "UA", "TBIL"))
        tubes = tubing.print_labels(session, placed.id, by=NURSE)
        assert sorted(len(specimens.live_items(session, each.id)) for each in tubes) == [1, 2]


@pytest.mark.req("LIS-1")
def test_a_tube_is_split_and_merged_by_hand_before_it_is_drawn_with_a_reason(lab: Lab) -> None:
    accession = labelled(lab, ("ALT", "AST"))
    with begin() as session:
        tube = specimens.by_barcode(session, accession)
        first = specimens.live_items(session, tube.id)[0].id
        with pytest.raises(Invalid, match="reason_missing"):
            regrouping.split(session, accession, [first], by=NURSE, reason=" ")
        with pytest.raises(Invalid, match="split_what"):
            regrouping.split(session, accession, [], by=NURSE, reason="急查")
        new = regrouping.split(session, accession, [first], by=NURSE, reason="急查单独送检").accession
    assert explained(new) == ("printed", "at_hand")
    with begin() as session:
        regrouping.merge(session, new, accession, by=NURSE, reason="采血困难")
    assert explained(new) == ("cancelled", "at_hand")
    with begin() as session:
        assert len(specimens.live_items(session, specimens.by_barcode(session, accession).id)) == 2
        other = labelled(lab, ("ALT",))
        with pytest.raises(Conflict, match="not_mergeable"):
            regrouping.merge(session, other, accession, by=NURSE, reason="采血困难")
        specimens.collect(session, accession, by=NURSE)
        with pytest.raises(Conflict, match="specimen_collected"):
            regrouping.split(session, accession, [first], by=NURSE, reason="急查")


@pytest.mark.req("LIS-1")
def test_a_label_printed_again_counts_and_says_why(lab: Lab) -> None:
    accession = labelled(lab)
    with begin() as session:
        tube = specimens.by_barcode(session, accession)
        with pytest.raises(Invalid, match="reason_missing"):
            tubing.reprint(session, tube, by=NURSE, reason="")
        assert tubing.reprint(session, tube, by=NURSE, reason="标签破损", device="PC-3") == 2
        last = specimens.timeline(session, tube.id)[-1]
        assert (last.type, last.reason, last.device, last.detail["count"]) == ("reprinted", "标签破损", "PC-3", 2)


# --- the bedside -----------------------------------------------------------------------------------------------------


def at_bedside(accession: str, person: uuid.UUID, **more: object) -> tuple[Specimen, list[collecting.Question]]:
    with begin() as session:
        return collecting.collect_at_bedside(session, accession, by=NURSE, person_id=person, **more)  # type: ignore[arg-type]


@pytest.mark.req("LIS-2")
def test_the_tube_of_another_patient_is_refused_at_the_bedside_and_nothing_is_written(lab: Lab) -> None:
    accession = labelled(lab)
    with pytest.raises(Conflict, match="wrong_patient"):
        at_bedside(accession, lab.li)
    assert explained(accession) == ("printed", "at_hand")
    at_bedside(accession, lab.wang, place="3 床")
    assert explained(accession) == ("collected", "at_hand")
    with pytest.raises(Conflict, match="specimen_collected"):
        at_bedside(accession, lab.wang)


@pytest.mark.req("LIS-2")
def test_a_collection_sent_twice_by_a_bad_network_is_one_collection(lab: Lab) -> None:
    accession, number = labelled(lab), uuid.uuid4()
    drawn_at = clock.now() - timedelta(minutes=20)

    def send() -> str:
        return at_bedside(accession, lab.wang, submission=number, at=drawn_at)[0].accession

    assert at_once(*[send] * 4) == [accession] * 4
    assert send() == accession
    with begin() as session:
        steps = specimens.timeline(session, specimens.by_barcode(session, accession).id)
        (one,) = [each for each in steps if each.type == "collected"]
        assert (one.clock_source, one.at) == ("device", drawn_at)
        assert one.recorded_at is not None
        assert one.recorded_at > drawn_at


@pytest.mark.req("LIS-2")
def test_fasting_and_a_time_that_was_ordered_are_asked_before_the_tube_counts_as_drawn(lab: Lab) -> None:
    asks("GLU", fasting=True)
    with begin() as session:
        placed = order(session, lab, ("GLU",))
        placed.collect_at = clock.now() + timedelta(hours=2)
        (tube,) = tubing.print_labels(session, placed.id, by=NURSE)
    asked = at_bedside(tube.accession, lab.wang)[1]
    assert [each.code for each in asked] == ["fasting", "timed"]
    assert explained(tube.accession)[0] == "printed"
    assert at_bedside(tube.accession, lab.wang, confirmed=("fasting", "timed"))[1] == []
    assert explained(tube.accession)[0] == "collected"


@pytest.mark.req("LIS-2")
def test_an_order_older_than_the_director_allows_is_not_drawn(lab: Lab) -> None:
    accession = labelled(lab)
    with begin() as session:
        tube = specimens.by_barcode(session, accession)
        session.execute(
            update(Order).where(Order.id == tube.order_id).values(ordered_at=clock.now() - timedelta(days=31))
        )
        policy.set_value(session, "order_days", 30, by="staff:director", reason="门诊规定")
    with pytest.raises(Conflict, match="order_expired"):
        at_bedside(accession, lab.wang)
    with begin() as session:
        policy.set_value(session, "order_days", None, by="staff:director", reason="取消限制")
    at_bedside(accession, lab.wang)


@pytest.mark.req("LIS-1")
def test_a_preprinted_tube_of_the_wrong_kind_is_refused(lab: Lab) -> None:
    accession = labelled(lab, ("PT",))
    with begin() as session:
        tube = specimens.by_barcode(session, accession).tube_id
        session.merge(TubeFill(tube_id=tube, preprinted_prefix="BL"))
    with pytest.raises(Conflict, match="wrong_tube"):
        at_bedside(accession, lab.wang, preprinted="YE000017")
    at_bedside(accession, lab.wang, preprinted="BL000017")
    assert explained("BL000017")[0] == "collected"


# --- hand-over batches -----------------------------------------------------------------------------------------------


@pytest.mark.req("LIS-2")
def test_a_batch_is_packed_sent_and_received_and_what_is_missing_or_unexpected_is_seen(lab: Lab) -> None:
    ours, stray = [labelled(lab) for _ in range(3)], labelled(lab)
    with begin() as session:
        policy.set_value(session, "batch_late_minutes", 30, by="staff:director", reason="规定")
        for each in (*ours, stray):
            specimens.collect(session, each, by=NURSE)
        batch = transport.open_batch(session, department_id=lab.department, by=NURSE).number
        with pytest.raises(Conflict, match="batch_empty"):
            transport.send(session, batch, by=NURSE, courier="张师傅")
        for each in (*ours, ours[0]):
            transport.pack(session, batch, each, by=NURSE)
        with pytest.raises(Invalid, match="courier_missing"):
            transport.send(session, batch, by=NURSE, courier=" ")
        transport.send(session, batch, by=NURSE, courier="张师傅")
        with pytest.raises(Conflict, match="batch_sent"):
            transport.pack(session, batch, stray, by=NURSE)
        with pytest.raises(Conflict, match="batch_not_here"):
            transport.receive_tube(session, batch, ours[0], by=LAB)
    assert [explained(each)[0] for each in ours] == ["in_transit"] * 3
    with begin() as session:
        sent = transport.by_number(session, batch)
        assert sent.sent_at is not None
        sent.sent_at -= timedelta(minutes=45)
    with begin() as session:
        arrived = transport.arrive(session, batch, by=LAB, temperature_c=Decimal("6.5"))
        assert (arrived.late, arrived.temperature_c) == (True, Decimal("6.5"))
        assert transport.receive_tube(session, batch, ours[0], by=LAB)[1]
        assert transport.receive_tube(session, batch, ours[1], by=LAB)[1]
        assert not transport.receive_tube(session, batch, stray, by=LAB)[1]
    with begin() as session:
        ((missing, of, minutes),) = [each for each in listing.missing(session) if each[1].number == batch]
        assert (missing.accession, of.number, minutes >= 45) == (ours[2], batch, True)
        assert listing.missing_count(session) >= 1
        assert [each.accession for each in listing.unexpected(session, arrived.id)] == [stray]
    with begin() as session:
        transport.receive_tube(session, batch, ours[2], by=LAB)
        assert transport.by_number(session, batch).state == "closed", "all are accounted for"
        found = listing.period(session, clock.now() - timedelta(days=1), clock.now())
        assert (found.batches, found.tubes, found.late, found.never_arrived, found.unexpected) == (1, 3, 1, 0, 1)
        assert found.median_minutes is not None
        assert found.median_minutes >= 45


@pytest.mark.req("LIS-2")
def test_two_wards_that_pack_one_tube_at_once_have_it_in_one_batch(lab: Lab) -> None:
    accession = labelled(lab)
    with begin() as session:
        specimens.collect(session, accession, by=NURSE)
        numbers = [
            transport.open_batch(session, department_id=lab.department, by=who).number for who in ("staff:a", "staff:b")
        ]
    assert len(set(numbers)) == 2

    def pack(number: str) -> Callable[[], str]:
        def act() -> str:
            with begin() as session:
                transport.pack(session, number, accession, by=NURSE)
            return "packed"

        return act

    assert sorted(map(str, at_once(*map(pack, numbers)))) == ["in_other_batch", "packed"]
    with begin() as session:
        held = next(n for n in numbers if transport.tubes_of(session, transport.by_number(session, n).id))
        transport.send(session, held, by=NURSE, courier="张师傅")
        with pytest.raises(Invalid, match="reason_missing"):
            transport.take_out(session, held, accession, by=NURSE, reason="")
        transport.take_out(session, held, accession, by=NURSE, reason="送错")
    assert explained(accession) == ("collected", "at_hand")


# --- rejection, concession, steps back -------------------------------------------------------------------------------


@pytest.mark.req("LIS-2")
def test_of_one_who_receives_and_one_who_rejects_a_tube_at_once_both_are_told_and_history_explains_it(lab: Lab) -> None:
    for _ in range(4):
        accession = labelled(lab)

        def receive(accession: str = accession) -> str:
            with begin() as session:
                specimens.receive(session, accession, by=LAB)
            return "received"

        def reject(accession: str = accession) -> str:
            with begin() as session:
                refusal.reject(session, accession, by=OTHER, reason_code="clotted")
            return "rejected"

        results = at_once(receive, reject, reject)
        assert results.count("rejected") == 1, results
        assert explained(accession)[0] == "rejected"
        assert states(accession) == set()
        with begin() as session:
            tube = specimens.by_barcode(session, accession)
            replacements = session.scalars(select(Specimen).where(Specimen.replaces_id == tube.id)).all()
            assert len(replacements) == 1
            assert {each.state for each in specimens.live_items(session, replacements[0].id)} == {ItemState.ORDERED}


@pytest.mark.req("LIS-2")
def test_the_ward_is_told_of_a_rejection_once_and_by_name(lab: Lab) -> None:
    accession = received(lab)
    with begin() as session:
        refusal.reject(session, accession, by=LAB, reason_code="volume_wrong")
        (defect,) = refusal.defects_of(session, specimens.by_barcode(session, accession).id)
        assert defect.id in [each.id for each in refusal.untold(session)]
        with pytest.raises(Invalid, match="told_whom_missing"):
            refusal.told_ward(session, defect.id, by=LAB, whom="")

    def tell(whom: str) -> Callable[[], str]:
        def act() -> str:
            with begin() as session:
                return refusal.told_ward(session, defect.id, by=LAB, whom=whom).told_whom

        return act

    results = at_once(tell("王护士"), tell("李护士"))
    assert results.count("told_already") == 1
    with begin() as session:
        assert defect.id not in [each.id for each in refusal.untold(session)]
        told = [each for each in lookup.history(session, defect.specimen_id) if each.type == "ward_told"]
        assert [each.detail["whom"] for each in told] == [next(each for each in results if each != "told_already")]


@pytest.mark.req("LIS-2")
def test_a_rejection_is_undone_while_its_replacement_is_only_a_label(lab: Lab) -> None:
    accession = received(lab, ("ALT", "AST"))
    with begin() as session:
        tube = specimens.by_barcode(session, accession)
        specimens.live_items(session, tube.id)[0].state = ItemState.RESULTED
    with begin() as session:
        new = refusal.reject(session, accession, by=LAB, reason_code="haemolysed").replacement
        assert new is not None
    with begin() as session:
        with pytest.raises(Invalid, match="reason_missing"):
            undoing.undo_rejection(session, accession, by=LAB, reason="")
        undoing.undo_rejection(session, accession, by=LAB, reason="看错标本")
    assert explained(accession) == ("received", "at_hand")
    assert explained(new.accession) == ("cancelled", "at_hand")
    assert states(accession) == {ItemState.RESULTED, ItemState.RECEIVED}
    with begin() as session:
        again = refusal.reject(session, accession, by=LAB, reason_code="haemolysed").replacement
        assert again is not None
        specimens.collect(session, again.accession, by=NURSE)
    with begin() as session, pytest.raises(Conflict, match="recollected_already"):
        undoing.undo_rejection(session, accession, by=LAB, reason="看错标本")
    assert explained(accession)[0] == "rejected"
    with begin() as session:
        acts = select(AuditEntry.action).where(AuditEntry.kind == "specimen", AuditEntry.aggregate_id == str(tube.id))
        assert session.scalars(acts.order_by(AuditEntry.number)).all() == [
            "specimen.reject",
            "specimen.rejection_undone",
            "specimen.reject",
        ]


@pytest.mark.req("LIS-2")
def test_a_collection_and_a_reception_are_undone_as_new_events_unless_work_began(lab: Lab) -> None:
    accession = labelled(lab, ("ALT",))
    with begin() as session:
        specimens.collect(session, accession, by=NURSE)
    with begin() as session:
        undoing.undo_collection(session, accession, by=NURSE, reason="患者拒绝")
    assert explained(accession) == ("printed", "at_hand")
    assert states(accession) == {ItemState.ORDERED}
    with begin() as session:
        specimens.collect(session, accession, by=NURSE)
        specimens.receive(session, accession, by=LAB)
    with begin() as session:
        undoing.undo_reception(session, accession, by=LAB, reason="误扫")
    assert explained(accession) == ("collected", "at_hand")
    assert states(accession) == {ItemState.COLLECTED}
    with begin() as session:
        tube = specimens.receive(session, accession, by=LAB)
        specimens.live_items(session, tube.id)[0].state = ItemState.RESULTED
    with begin() as session, pytest.raises(Conflict, match="work_begun"):
        undoing.undo_reception(session, accession, by=LAB, reason="误扫")
    with begin() as session:
        assert [each.type for each in lookup.history(session, tube.id)] == [
            "printed",
            "collected",
            "collection_undone",
            "collected",
            "received",
            "reception_undone",
            "received",
        ]


@pytest.mark.req("LIS-2")
def test_a_concession_names_who_agreed_and_the_report_says_so_also_for_an_aliquot(lab: Lab) -> None:
    accession = received(lab, ("ALT", "AST"))
    with begin() as session, pytest.raises(Invalid, match="agreed_with_missing"):
        concession.concede(session, accession, by=LAB, reason_code="haemolysed", agreed_with="")
    with begin() as session:
        defect = concession.concede(
            session, accession, by=LAB, reason_code="haemolysed", agreed_with="儿科 张医生", note="轻度"
        )
        child = aliquots.aliquot(session, accession, by=LAB)
        said = "让步检验：标本溶血，轻度；已与临床沟通（儿科 张医生），结果仅供参考。"
        assert concession.remarks(session, child) == [said]
        with pytest.raises(Conflict, match="conceded_already"):
            concession.concede(session, accession, by=LAB, reason_code="haemolysed", agreed_with="张医生")
    with begin() as session:
        concession.withdraw(session, defect.id, by=LAB, reason="登记错标本")
        assert concession.remarks(session, child) == []
    with begin() as session, pytest.raises(Conflict, match="not_conceded"):
        concession.withdraw(session, defect.id, by=LAB, reason="再次")
    with begin() as session, pytest.raises(Conflict, match="specimen_printed"):
        concession.concede(session, labelled(lab), by=LAB, reason_code="clotted", agreed_with="张医生")


@pytest.mark.req("LIS-2", "LIS-14")
def test_the_national_indicators_count_numerator_and_denominator_over_one_cohort(lab: Lab) -> None:
    start = clock.now()
    blood, serum = [received(lab, ("CBC",)) for _ in range(4)], [received(lab, ("ALT",)) for _ in range(3)]
    with begin() as session:
        refusal.reject(session, blood[0], by=LAB, reason_code="clotted")
        refusal.reject(session, blood[1], by=LAB, reason_code="clotted")
        undoing.undo_rejection(session, blood[1], by=LAB, reason="看错")
        concession.concede(session, serum[0], by=LAB, reason_code="volume_wrong", agreed_with="张医生")
        refusal.reject(session, labelled(lab), by=LAB, reason_code="type_wrong")  # refused at the door
        aliquots.aliquot(session, blood[2], by=LAB)
        labelled(lab)  # never came
    cohort = indicators.Cohort(start, clock.now() + timedelta(minutes=1))
    with begin() as session:
        found = {each.indicator: each for each in indicators.rates(session, cohort) if each.indicator}
        assert [(found[n].numerator, found[n].denominator) for n in (1, 2, 3, 5)] == [(1, 8), (0, 8), (1, 8), (1, 5)]
        assert (found[4].denominator, found[4].percent) == (0, None)
        assert found[5].percent == 20.0
        counted = indicators.rows(session, indicators.numerator(session, cohort, rules.RejectionReason.CLOTTED))
        assert [each.accession for each in counted] == [blood[0]]
        whole = indicators.rows(session, indicators.denominator(session, cohort, 5))
        assert set(blood) < {each.accession for each in whole}


# --- lost, aliquots, storage, discard --------------------------------------------------------------------------------


@pytest.mark.req("LIS-2")
def test_a_tube_lost_on_its_way_is_found_by_receiving_it(lab: Lab) -> None:
    accession = labelled(lab)
    with begin() as session, pytest.raises(Conflict, match="specimen_printed"):
        whereabouts.lose(session, accession, by=LAB, reason="找不到")
    with begin() as session:
        specimens.collect(session, accession, by=NURSE)
        whereabouts.lose(session, accession, by=LAB, reason="未到达")
    assert explained(accession) == ("collected", "lost")
    with begin() as session, pytest.raises(Conflict, match="specimen_lost"):
        specimens.send(session, specimens.by_barcode(session, accession), by=NURSE)
    with begin() as session:
        specimens.receive(session, accession, by=LAB)
    assert explained(accession) == ("received", "retrieved")
    with begin() as session, pytest.raises(Conflict, match="not_lost"):
        whereabouts.found_again(session, accession, by=LAB, reason="找到")


@pytest.mark.req("LIS-2")
def test_an_aliquot_takes_tests_with_it_and_is_rejected_with_its_tube(lab: Lab) -> None:
    accession = received(lab, ("ALT", "AST", "CREA"))
    with begin() as session:
        tube = specimens.by_barcode(session, accession)
        items = [each.id for each in specimens.live_items(session, tube.id)]
        child = aliquots.aliquot(session, accession, item_ids=items[:1], by=LAB, volume_ml=Decimal("0.5"))
        assert (child.parent_id, child.state, child.received_at) == (tube.id, "received", tube.received_at)
        with pytest.raises(Conflict, match="tests_not_on_tube"):
            aliquots.aliquot(session, accession, item_ids=items[:1], by=LAB)
    assert explained(child.accession) == ("received", "at_hand")
    with begin() as session:
        new = refusal.reject(session, accession, by=LAB, reason_code="label_wrong").replacement
        assert new is not None
        assert len(specimens.live_items(session, new.id)) == 3
    assert explained(child.accession)[0] == explained(accession)[0] == "rejected"


def shelf(lab: Lab, rows: int = 2, columns: int = 3, keep_days: int | None = 7) -> str:
    """A rack of its own, by its code."""
    code = f"R{uuid.uuid4().hex[:8]}"
    with begin() as session:
        unit = storage.add_unit(session, code=f"U{code}", name="2 号冰箱", kind="fridge", by=LAB)
        storage.add_rack(
            session, code=code, name="血清架", unit_id=unit.id, rows=rows, columns=columns, keep_days=keep_days, by=LAB
        )
    return code


def put(rack: str, accession: str, position: str | None = None) -> str:
    with begin() as session:
        return storage.store(session, rack, accession, by=LAB, position=position).position


@pytest.mark.req("LIS-2")
def test_tubes_fill_a_rack_place_after_place_and_a_moved_one_leaves_its_old_place(lab: Lab) -> None:
    rack, other = shelf(lab, 1, 2), shelf(lab)
    first, second, third = (received(lab) for _ in range(3))
    assert [put(rack, first), put(rack, second)] == ["A1", "A2"]
    with pytest.raises(Conflict, match="rack_full"):
        put(rack, third)
    assert put(other, first, "b3") == "B3"
    assert put(rack, third) == "A1"
    with pytest.raises(Conflict, match="place_taken"):
        put(other, second, "B3")
    with pytest.raises(Invalid, match="place_unknown"):
        put(other, second, "C1")
    with pytest.raises(Conflict, match="not_in_laboratory"):
        put(other, labelled(lab))
    with begin() as session:
        found = storage.place_of(session, specimens.by_barcode(session, first).id)
        assert found is not None
        stored, at, unit = found
        assert (at.code, stored.position, unit.name) == (other, "B3", "2 号冰箱")
    with begin() as session:
        storage.retrieve(session, first, by=LAB, reason="复查")
    assert explained(first) == ("received", "retrieved")
    with begin() as session, pytest.raises(Conflict, match="not_stored"):
        storage.retrieve(session, first, by=LAB, reason="复查")


@pytest.mark.req("LIS-2")
def test_two_scans_into_one_place_leave_one_tube_there(lab: Lab) -> None:
    rack = shelf(lab)
    tubes = [received(lab) for _ in range(3)]
    results = at_once(*[lambda each=each: put(rack, each, "A1") for each in tubes])
    assert sorted(map(str, results)) == ["A1", "place_taken", "place_taken"]
    placed = sorted(map(str, at_once(*[lambda each=each: put(rack, each) for each in tubes])))
    assert len(set(placed)) == 3
    with begin() as session:
        here = storage.tubes_in(session, storage.rack_by_code(session, rack).id)
        assert sorted(here) == placed


@pytest.mark.req("LIS-2")
def test_an_aliquot_and_a_discard_at_once_exclude_each_other(lab: Lab) -> None:
    outcomes = set()
    for _ in range(4):
        accession = received(lab, ("ALT",))
        with begin() as session:
            tube = specimens.by_barcode(session, accession)
            session.execute(update(OrderItem).where(OrderItem.specimen_id == tube.id).values(state=ItemState.RELEASED))
            specimens.mark_done(session, tube.id, by=LAB)

        def pour(accession: str = accession) -> str:
            with begin() as session:
                aliquots.aliquot(session, accession, by=LAB)
            return "poured"

        def throw(tube_id: uuid.UUID = tube.id) -> str:
            with begin() as session:
                return discarding.propose(session, [tube_id], by=OTHER).state

        results = at_once(pour, throw)
        assert explained(accession) == ("done", "discarded")
        assert results[1] == "done"
        assert results[0] in ("poured", "specimen_discarded")
        with begin() as session:
            types = [each.type for each in lookup.history(session, tube.id)]
        assert ("aliquoted" in types) == (results[0] == "poured")
        if results[0] == "poured":
            assert types.index("aliquoted") < types.index("discarded")
        outcomes.add(results[0])


@pytest.mark.req("LIS-2")
def test_tubes_are_discarded_by_date_by_two_persons_and_open_work_is_kept(lab: Lab) -> None:
    rack = shelf(lab, keep_days=0)
    finished, working = received(lab, ("ALT",)), received(lab, ("ALT",))
    for each in (finished, working):
        put(rack, each)
    with begin() as session:
        policy.set_value(session, "discard_two_persons", 1, by="staff:director", reason="规定")
        tube, open_one = (specimens.by_barcode(session, each) for each in (finished, working))
        session.execute(update(OrderItem).where(OrderItem.specimen_id == tube.id).values(state=ItemState.RELEASED))
        specimens.mark_done(session, tube.id, by=LAB)
        rack_id = storage.rack_by_code(session, rack).id
        assert [each[2].accession for each in discarding.due(session, clock.today(), rack_id)] == [finished]
        proposed = discarding.propose(session, [tube.id, open_one.id], by=LAB, how="高压灭菌")
        assert proposed.state == "proposed"
    assert explained(finished) == ("done", "stored")
    with begin() as session, pytest.raises(Conflict, match="same_person"):
        discarding.confirm(session, proposed.number, by=LAB)
    with begin() as session:
        done = discarding.confirm(session, proposed.number, by=OTHER)
        assert (done.state, done.count) == ("done", 1)
    assert explained(finished) == ("done", "discarded")
    assert explained(working) == ("received", "stored")
    with begin() as session:
        assert session.scalars(select(StoredTube.left_how).where(StoredTube.specimen_id == tube.id)).all() == [
            "discarded"
        ]
        policy.set_value(session, "discard_two_persons", None, by="staff:director", reason="测试完成")
    with begin() as session, pytest.raises(Conflict, match="discard_closed"):
        discarding.confirm(session, proposed.number, by=OTHER)


# --- add-on tests ----------------------------------------------------------------------------------------------------


@pytest.mark.req("LIS-1", "LIS-2")
def test_a_test_is_added_on_a_done_tube_when_every_doubt_is_answered(lab: Lab, tube_of_5_ml: None) -> None:
    asks("ALT", volume_ul=800, stable_room_h=8, stable_cold_h=48)
    accession = labelled(lab, ("AST",))
    with begin() as session:
        specimens.collect(session, accession, by=NURSE, at=clock.now() - timedelta(hours=9))
        tube = specimens.receive(session, accession, by=LAB)
        session.execute(update(OrderItem).where(OrderItem.specimen_id == tube.id).values(state=ItemState.RELEASED))
        specimens.mark_done(session, tube.id, by=LAB)
    with begin() as session:
        (check,) = adding.check(session, tube, ["ALT"])
        assert [(each.code, each.hours, each.limit) for each in check.doubts] == [("kept_how", 9, 8)]
        (unknown,) = adding.check(session, tube, ["CREA"])
        assert [each.code for each in unknown.doubts] == ["limit_unknown"]
        both = adding.check(session, tube, ["ALT", "CREA"])
        assert "no_room" in {each.code for each in both[1].doubts}
        (wrong,) = adding.check(session, tube, ["WBC"])
        assert wrong.refused
    with begin() as session, pytest.raises(Invalid, match="add_on_unconfirmed"):
        adding.add_on(session, accession, ["ALT"], by=LAB)
    with begin() as session, pytest.raises(Conflict, match="add_on_refused"):
        adding.add_on(session, accession, ["WBC"], by=LAB, confirmed=("wrong_type",))
    with begin() as session:
        (item,) = adding.add_on(session, accession, ["ALT"], by=LAB, confirmed=("kept_how",), reason="临床要求")
        assert (item.specimen_id, item.state) == (tube.id, ItemState.RECEIVED)
        request = oral.take(session, tube.order_id, ["ALT"], by=LAB, asked_by="张医生", read_back=True)
        changed = select(StoredEvent.id).where(
            StoredEvent.aggregate_id == tube.id, StoredEvent.type == "lis.specimens.specimen_tests_changed"
        )
        assert session.scalars(changed).first() is not None
    assert explained(accession) == ("received", "at_hand")
    with begin() as session:
        assert oral.close(session, request.id, by=LAB, confirmed=True, evidence="医嘱 88123").state == "confirmed"
    with begin() as session, pytest.raises(Conflict, match="oral_closed"):
        oral.close(session, request.id, by=LAB, confirmed=False, evidence="医嘱 88123")


@pytest.mark.req("LIS-1")
def test_a_test_beyond_its_longest_limit_and_one_on_a_discarded_tube_are_refused(lab: Lab) -> None:
    asks("TP", stable_room_h=4)
    accession = labelled(lab, ("ALB",))
    with begin() as session:
        specimens.collect(session, accession, by=NURSE, at=clock.now() - timedelta(hours=5))
        tube = specimens.receive(session, accession, by=LAB)
        (check,) = adding.check(session, tube, ["TP"])
        assert check.refused
        session.execute(update(OrderItem).where(OrderItem.specimen_id == tube.id).values(state=ItemState.RELEASED))
        specimens.mark_done(session, tube.id, by=LAB)
        discarding.propose(session, [tube.id], by=LAB)
    assert explained(accession) == ("done", Whereabouts.DISCARDED)
    with begin() as session, pytest.raises(Conflict, match="specimen_discarded"):
        adding.add_on(session, accession, ["UA"], by=LAB, confirmed=("volume_unknown", "limit_unknown"))


@pytest.mark.req("LIS-1")
def test_an_oral_request_needs_a_name_and_a_read_back(lab: Lab) -> None:
    with begin() as session:
        placed = order(session, lab)
        with pytest.raises(Invalid, match="asked_by_missing"):
            oral.take(session, placed.id, ["CBC"], by=LAB, asked_by="", read_back=True)
        with pytest.raises(Invalid, match="not_read_back"):
            oral.take(session, placed.id, ["CBC"], by=LAB, asked_by="张医生", read_back=False)
        before = oral.waiting_count(session)
        taken = oral.take(session, placed.id, ["CBC"], by=LAB, asked_by="张医生", read_back=True)
        assert oral.waiting_count(session) == before + 1
        with pytest.raises(Invalid, match="evidence_missing"):
            oral.close(session, taken.id, by=LAB, confirmed=True, evidence="")


@pytest.mark.req("LIS-2")
def test_a_state_is_never_left_against_the_road(lab: Lab) -> None:
    accession = received(lab)
    with begin() as session, pytest.raises(Conflict, match="specimen_received"):
        specimens.send(session, specimens.by_barcode(session, accession), by=NURSE)
    assert explained(accession) == (SpecimenState.RECEIVED, Whereabouts.AT_HAND)
