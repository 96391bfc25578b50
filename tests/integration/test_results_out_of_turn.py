"""Values that are hard to place: late ones, equal ones without a time, strange numbers, units and clocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cloud.kit import db
from cloud.kit.errors import Conflict
from cloud.lis.instruments.model import InstrumentChannel
from cloud.lis.orders import service as orders
from cloud.lis.orders.model import ItemState, Order, OrderState
from cloud.lis.reports import service as reports
from cloud.lis.results import queue, review, sheets, unmatched
from cloud.lis.results.model import Result, ResultState, UnmatchedResult
from cloud.lis.results.service import ingest
from cloud.lis.specimens import refusal
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.people.access import Subject
from tests.support.bench import Bench, observed, pathologist, set_up, technician

EARLIER = datetime(2026, 11, 23, 1, tzinfo=UTC)


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with db.begin() as session:
        yield session


@pytest.fixture
def bench(session: Session) -> Bench:
    return set_up(session)


def values_of(bench: Bench, specimen: Specimen) -> list[tuple[str, ResultState, bool]]:
    rows = bench.session.scalars(
        select(Result)
        .where(Result.specimen_id == specimen.id)
        .order_by(Result.run)
        .execution_options(populate_existing=True)
    )
    return [(each.value_text, ResultState(each.state), each.chosen) for each in rows]


def chosen_of(bench: Bench, specimen: Specimen) -> Result:
    return bench.session.scalars(
        select(Result).where(Result.specimen_id == specimen.id, Result.chosen).execution_options(populate_existing=True)
    ).one()


def reviewed(bench: Bench, specimen: Specimen) -> None:
    version = sheets.version_of(bench.session, specimen.id)
    review.mark_reviewed(bench.session, specimen.id, by=technician(), version=version)


@pytest.mark.req("LIS-3")
def test_a_message_put_back_by_a_person_does_not_displace_what_was_measured_since(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "6.4", observed_at="2026-11-23T09:30:00")])
    reviewed(bench, specimen)
    late = replace(bench.source(), received_at=EARLIER, late=True)
    assert ingest(bench.session, late, [observed(specimen, "WBC", "3.1")]).matched == 1
    assert values_of(bench, specimen) == [
        ("6.4", ResultState.REVIEWED, True),
        ("3.1", ResultState.SUPERSEDED, False),
    ]


def test_a_message_put_back_by_a_person_is_chosen_where_it_is_the_newest_after_all(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    ingest(bench.session, replace(bench.source(), received_at=EARLIER), [observed(specimen, "WBC", "6.4")])
    late = replace(bench.source(), received_at=EARLIER + timedelta(minutes=20), late=True)
    ingest(bench.session, late, [observed(specimen, "WBC", "3.1", observed_at="2026-11-23T09:20:00")])
    assert chosen_of(bench, specimen).value_text == "3.1"


@pytest.mark.req("LIS-4")
def test_a_stray_matched_by_hand_does_not_displace_what_was_measured_since(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    unread = replace(bench.source(), received_at=EARLIER)
    ingest(bench.session, unread, [observed("", "WBC", "3.1", observed_at="2026-11-23T08:30:00")])
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "6.4")])
    reviewed(bench, specimen)
    [stray] = bench.session.scalars(select(UnmatchedResult)).all()
    unmatched.match(bench.session, [stray.id], barcode=specimen.accession, by=technician(), reason="条码未读出")
    assert values_of(bench, specimen) == [
        ("6.4", ResultState.REVIEWED, True),
        ("3.1", ResultState.SUPERSEDED, False),
    ]


@pytest.mark.req("LIS-3")
def test_a_third_measurement_without_a_time_is_no_resend_of_the_first(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    for value in ("5.0", "5.5", "5.0"):
        assert ingest(bench.session, bench.source(), [observed(specimen, "WBC", value, observed_at=None)]).matched == 1
    assert [(text, chosen) for text, _, chosen in values_of(bench, specimen)] == [
        ("5.0", False),
        ("5.5", False),
        ("5.0", True),
    ]


@pytest.mark.parametrize("value", ["9" * 40, "1e999999999", "1E+50"])
def test_a_number_that_cannot_be_measured_costs_no_other_value_of_its_message(bench: Bench, value: str) -> None:
    specimen = bench.specimen("WBC", "HGB")
    bench.session.execute(
        update(InstrumentChannel).where(InstrumentChannel.code == "WBC").values(factor=Decimal("0.001"))
    )
    bench.session.expire_all()
    sent = [observed(specimen, "WBC", value), observed(specimen, "HGB", "130")]
    assert ingest(bench.session, bench.source(), sent).matched == 2
    rows = bench.session.scalars(select(Result).where(Result.specimen_id == specimen.id)).all()
    strange = next(each for each in rows if each.raw_value == value)
    assert (strange.number, strange.value_text, strange.held) == (None, value, True)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00", "9999-12-31T23:59:59", "1970-01-01T00:00:00"])
def test_a_time_that_cannot_be_true_costs_no_value(bench: Bench, at: str) -> None:
    specimen = bench.specimen("WBC")
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "6.2", observed_at=at)])
    assert chosen_of(bench, specimen).observed_at_raw == at


@pytest.mark.req("LIS-5")
def test_a_value_in_another_unit_is_printed_without_the_catalogues_range_and_never_compared(bench: Bench) -> None:
    first = bench.specimen("HGB")
    ingest(bench.session, bench.source(), [observed(first, "HGB", "13.0", unit="g/dL")])
    odd = chosen_of(bench, first)
    assert (odd.unit, odd.range_text, odd.flag, odd.held) == ("g/dL", "", "", True)
    reviewed(bench, first)
    version = sheets.version_of(bench.session, first.id)
    reports.release(bench.session, first.id, by=pathologist(), version=version)

    second = bench.specimen("HGB")
    ingest(
        bench.session,
        bench.source(),
        [observed(second, "HGB", "131", unit="g/L", observed_at="2026-11-23T10:00:00")],
    )
    plain = chosen_of(bench, second)
    assert (plain.range_text, plain.previous_value, plain.delta_percent) == ("115-150", None, None)


def test_judging_again_gives_a_value_in_another_unit_no_range(bench: Bench) -> None:
    specimen = bench.specimen("HGB")
    ingest(bench.session, bench.source(), [observed(specimen, "HGB", "13.0", unit="g/dL")])
    version = sheets.version_of(bench.session, specimen.id)
    review.judge_again(bench.session, specimen.id, by=technician(), version=version)
    odd = chosen_of(bench, specimen)
    assert (odd.range_text, odd.range_low, odd.held) == ("", None, True)


@pytest.mark.req("LIS-7", "LIS-16")
def test_no_value_of_a_rejected_tube_is_released_with_its_replacement(bench: Bench) -> None:
    haemolysed = bench.specimen("WBC", "HGB", state=SpecimenState.COLLECTED)
    ingest(bench.session, bench.source(), [observed(haemolysed, "WBC", "6.2"), observed(haemolysed, "HGB", "90")])
    reviewed(bench, haemolysed)
    again = refusal.reject(bench.session, haemolysed.accession, by="staff:bench", reason_code="haemolysed").replacement
    assert again is not None
    specimens.receive(bench.session, again.accession, by="staff:bench")
    ingest(bench.session, bench.source(), [observed(again, "WBC", "6.4", observed_at="2026-11-23T11:00:00")])
    reviewed(bench, again)
    version = sheets.version_of(bench.session, again.id)
    report = reports.release(bench.session, again.id, by=pathologist(), version=version, partial=True)
    content = reports.released(bench.session, report.id).content
    assert [(each.code, each.value) for each in content.items] == [("WBC", "6.4")]
    assert len(content.missing) == 1


@pytest.mark.req("LIS-3")
def test_an_equal_value_of_the_replacement_tube_is_no_resend_of_the_rejected_one(bench: Bench) -> None:
    haemolysed = bench.specimen("WBC", state=SpecimenState.COLLECTED)
    ingest(bench.session, bench.source(), [observed(haemolysed, "WBC", "6.2", observed_at=None)])
    again = refusal.reject(bench.session, haemolysed.accession, by="staff:bench", reason_code="haemolysed").replacement
    assert again is not None
    specimens.receive(bench.session, again.accession, by="staff:bench")
    assert ingest(bench.session, bench.source(), [observed(again, "WBC", "6.2", observed_at=None)]).matched == 1
    assert values_of(bench, again) == [("6.2", ResultState.RECEIVED, True)]


@pytest.mark.req("LIS-2", "LIS-16")
def test_a_tube_found_haemolysed_after_its_values_came_is_measured_again_on_another(bench: Bench) -> None:
    haemolysed = bench.specimen("WBC", "HGB")
    ingest(bench.session, bench.source(), [observed(haemolysed, "WBC", "6.2"), observed(haemolysed, "HGB", "90")])
    again = refusal.reject(bench.session, haemolysed.accession, by="staff:bench", reason_code="haemolysed").replacement
    assert again is not None
    assert {each.state for each in bench.items_of(again)} == {ItemState.ORDERED}
    specimens.receive(bench.session, again.accession, by="staff:bench")
    sent = [
        observed(again, code, value, observed_at="2026-11-23T11:00:00")
        for code, value in (("WBC", "6"), ("HGB", "132"))
    ]
    assert ingest(bench.session, bench.source(), sent).matched == 2
    reviewed(bench, again)
    version = sheets.version_of(bench.session, again.id)
    report = reports.release(bench.session, again.id, by=pathologist(), version=version)
    content = reports.released(bench.session, report.id).content
    assert sorted(each.value for each in content.items) == ["132", "6"]


@pytest.mark.req("LIS-2")
def test_a_rejected_tube_that_is_not_drawn_again_leaves_no_test_open_though_values_had_come(bench: Bench) -> None:
    haemolysed = bench.specimen("WBC", "HGB")
    ingest(bench.session, bench.source(), [observed(haemolysed, "WBC", "6.2")])
    assert {each.state for each in bench.items_of(haemolysed)} == {ItemState.RESULTED, ItemState.RECEIVED}
    refusal.reject(
        bench.session,
        haemolysed.accession,
        by="staff:bench",
        reason_code="haemolysed",
        note="不再采集",
        recollect=False,
    )
    assert {each.state for each in bench.items_of(haemolysed)} == {ItemState.CANCELLED}
    order = bench.session.get_one(Order, haemolysed.order_id, populate_existing=True)
    assert order.state == OrderState.CANCELLED


@pytest.mark.req("LIS-2")
def test_only_a_rejection_cancels_a_test_that_has_a_value(bench: Bench) -> None:
    measured = bench.specimen("WBC")
    ingest(bench.session, bench.source(), [observed(measured, "WBC", "6.2")])
    with pytest.raises(Conflict, match="received_already"):
        orders.cancel_order(bench.session, measured.order_id, reason="重复", by="staff:bench", after_receipt=True)


def test_values_that_can_never_be_released_do_not_fill_the_queue(bench: Bench) -> None:
    rejected = bench.specimen("WBC", state=SpecimenState.COLLECTED)
    partly = bench.specimen("WBC", "HGB", state=SpecimenState.COLLECTED)
    ingest(bench.session, bench.source(), [observed(rejected, "WBC", "6.2")])
    ingest(bench.session, bench.source(), [observed(partly, "WBC", "6.2"), observed(partly, "HGB", "132")])
    refusal.reject(bench.session, rejected.accession, by="staff:bench", reason_code="haemolysed")
    cancelled = next(each for each in bench.items_of(partly) if each.test_id == bench.tests["WBC"].id)
    orders.cancel_order(bench.session, partly.order_id, reason="重复", by="his", item_ids=[cancelled.id])
    [waiting] = queue.waiting(bench.session, Subject("system", sees_all=True))
    assert (waiting.specimen_id, waiting.open) == (partly.id, 1)
    assert queue.waiting_count(bench.session) == 1


@pytest.mark.req("LIS-11")
def test_a_critical_value_stands_above_every_stat_tube_in_the_queue(bench: Bench) -> None:
    stat, critical = bench.specimen("WBC"), bench.specimen("HGB")
    stat.priority = "S"
    ingest(bench.session, bench.source(), [observed(stat, "WBC", "6.2")])
    ingest(bench.session, bench.source(), [observed(critical, "HGB", "41")])
    found = queue.waiting(bench.session, Subject("system", sees_all=True))
    assert [each.specimen_id for each in found] == [critical.id, stat.id]
