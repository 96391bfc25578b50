"""What instruments send becomes results: once, matched, judged; nothing refused, nothing dropped."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from cloud.kit import db
from cloud.lis.instruments.model import InstrumentChannel
from cloud.lis.orders.model import ItemState
from cloud.lis.qc.model import QcResult
from cloud.lis.reports import service as reports
from cloud.lis.results import review, sheets
from cloud.lis.results.model import (
    InstrumentNotice,
    Result,
    ResultAttachment,
    ResultResend,
    ResultState,
    UnmatchedReason,
    UnmatchedResult,
)
from cloud.lis.results.service import IngestOutcome, ingest
from cloud.lis.specimens.model import Specimen, SpecimenBarcode, SpecimenState
from protocols.model import Attachment, HostQuery, InstrumentEvent, Item, Observation, QcMark, Undecoded, changed
from tests.support.bench import Bench, observed, pathologist, set_up, technician


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with db.begin() as session:
        yield session


@pytest.fixture
def bench(session: Session) -> Bench:
    return set_up(session)


def results_of(bench: Bench, specimen: Specimen) -> list[Result]:
    rows = bench.session.scalars(
        select(Result)
        .where(Result.specimen_id == specimen.id)
        .order_by(Result.run)
        .execution_options(populate_existing=True)
    )
    return list(rows)


@pytest.mark.req("LIS-3", "GW-10")
def test_a_message_is_taken_in_once(bench: Bench) -> None:
    specimen = bench.specimen("WBC", "HGB")
    source = bench.source()
    items = [observed(specimen, "WBC", "6.2"), observed(specimen, "HGB", "130")]
    first = ingest(bench.session, source, items)
    assert first == IngestOutcome(matched=2)
    assert ingest(bench.session, source, items) == first
    assert len(results_of(bench, specimen)) == 2
    assert {item.state for item in bench.items_of(specimen)} == {ItemState.RESULTED}


@pytest.mark.req("LIS-3", "LIS-5")
def test_a_value_is_judged_by_the_range_of_the_orders_person(bench: Bench) -> None:
    specimen = bench.specimen("HGB")
    ingest(bench.session, bench.source(), [observed(specimen, "HGB", "114", unit="g/L")])
    [result] = results_of(bench, specimen)
    assert (result.flag, result.range_text) == ("L", "115-150")
    assert result.draft
    assert result.decision["versions"]["range"]["version"] == 1
    assert result.unit == "g/L"


def test_the_value_stays_as_the_instrument_wrote_it(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "6.2000")])
    [result] = results_of(bench, specimen)
    assert (result.value_text, result.number) == ("6.2000", Decimal("6.2000"))


def test_a_channels_factor_converts_to_the_catalogues_unit(bench: Bench) -> None:
    channel = bench.session.scalars(select(InstrumentChannel).where(InstrumentChannel.code == "HGB")).one()
    channel.factor, channel.unit = Decimal(10), "g/dL"
    specimen = bench.specimen("HGB")
    ingest(bench.session, bench.source(), [observed(specimen, "HGB", "13.46", unit="g/dL")])
    [result] = results_of(bench, specimen)
    assert (result.value_text, result.unit, result.raw_value, result.raw_unit) == ("135", "g/L", "13.46", "g/dL")


def test_a_unit_other_than_the_channels_is_held_and_not_compared(bench: Bench) -> None:
    specimen = bench.specimen("HGB")
    ingest(bench.session, bench.source(), [observed(specimen, "HGB", "8.1", unit="mmol/L")])
    [result] = results_of(bench, specimen)
    assert result.held
    assert (result.flag, result.unit) == ("", "mmol/L")
    [reason] = [each for each in result.decision["reasons"] if each["code"] == "unit_unexpected"]
    assert reason["fields"] == {"unit": "mmol/L", "expected": "g/L"}


def channel_of(bench: Bench, code: str) -> InstrumentChannel:
    return bench.session.scalars(select(InstrumentChannel).where(InstrumentChannel.code == code)).one()


@pytest.mark.req("LIS-3")
def test_another_unit_that_is_approved_for_the_channel_is_converted_by_the_unit_table(bench: Bench) -> None:
    channel_of(bench, "GLU").also_units = "mg/dL，μmol/L"
    bench.session.flush()
    specimen = bench.specimen("GLU")
    ingest(bench.session, bench.source(), [observed(specimen, "GLU", "100", unit="mg/dL")])
    [result] = results_of(bench, specimen)
    assert (result.value_text, result.unit, result.raw_value, result.raw_unit) == ("5.55", "mmol/L", "100", "mg/dL")
    [said] = [each for each in result.decision["reasons"] if each["code"] == "unit_converted"]
    assert said["fields"] == {"by": "1 mg/dL = 0.0555074 mmol/L"}
    assert not said["holds"]
    assert result.flag == "N"


@pytest.mark.req("LIS-3")
@pytest.mark.parametrize(
    ("code", "own", "also", "sent"),
    [
        ("GLU", "mmol/L", "", "mg/dL"),
        ("GLU", "", "", "mg/dL"),
        ("GLU", "mmol/L", "mg/dL", "mg/L"),
        ("GLU", "mmol/L", "IU/L", "IU/L"),
        ("ALT", "U/L", "mg/dL", "mg/dL"),
        ("INR", "", "", "%"),
    ],
)
def test_a_unit_that_nobody_approved_or_nobody_can_convert_is_never_taken(
    bench: Bench, code: str, own: str, also: str, sent: str
) -> None:
    channel = channel_of(bench, code)
    channel.unit, channel.also_units = own, also
    bench.session.flush()
    specimen = bench.specimen(code)
    ingest(bench.session, bench.source(), [observed(specimen, code, "100", unit=sent)])
    [result] = results_of(bench, specimen)
    assert result.held
    assert (result.value_text, result.unit, result.flag) == ("100", sent, "")
    assert "unit_unexpected" in {each["code"] for each in result.decision["reasons"]}


@pytest.mark.req("LIS-3")
def test_one_unit_written_in_another_way_and_a_label_beside_a_word_are_no_other_unit(bench: Bench) -> None:
    wbc, antigen = channel_of(bench, "WBC"), channel_of(bench, "HBSAG")
    wbc.unit, antigen.unit = "10^9/L", ""
    bench.session.flush()
    specimen, serum = bench.specimen("WBC"), bench.specimen("HBSAG")
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "6.2", unit="10*3/uL")])
    ingest(bench.session, bench.source(), [observed(serum, "HBSAG", "阴性", unit="COI")])
    for each in (specimen, serum):
        [result] = results_of(bench, each)
        assert "unit_unexpected" not in {one["code"] for one in result.decision["reasons"]}


@pytest.mark.parametrize(
    ("code", "value", "flag", "number"),
    [
        ("WBC", "<0.10", "LL", Decimal("0.10")),
        ("WBC", "----", "", None),
        ("WBC", "9.5", "N", Decimal("9.5")),
        ("WBC", "9.51", "H", Decimal("9.51")),
        ("TRUST", "1:8", "", None),
    ],
)
def test_comparators_bounds_and_titres_are_read(
    bench: Bench, code: str, value: str, flag: str, number: Decimal | None
) -> None:
    specimen = bench.specimen(code)
    ingest(bench.session, bench.source(), [observed(specimen, code, value)])
    [result] = results_of(bench, specimen)
    assert (result.flag, result.number, result.value_text) == (flag, number, value)


@pytest.mark.req("LIS-11")
def test_a_critical_value_is_marked_at_once(bench: Bench) -> None:
    specimen = bench.specimen("K")
    ingest(bench.session, bench.source(), [observed(specimen, "K", "6.8")])
    [result] = results_of(bench, specimen)
    assert result.critical
    assert (result.flag, result.held) == ("HH", True)


@pytest.mark.req("LIS-1")
def test_a_pre_printed_barcode_finds_the_specimen_too(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    bench.session.add(SpecimenBarcode(barcode="PRE-0001", specimen_id=specimen.id, preprinted=True))
    bench.session.flush()
    assert ingest(bench.session, bench.source(), [observed(" PRE-0001 ", "WBC", "6.2")]).matched == 1


def test_the_instruments_own_resend_is_linked_and_shown_once(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    sent = observed(specimen, "WBC", "6.2")
    ingest(bench.session, bench.source(), [sent])
    assert ingest(bench.session, bench.source(), [sent]) == IngestOutcome(resent=1)
    [result] = results_of(bench, specimen)
    assert bench.session.scalar(select(ResultResend.result_id)) == result.id


def test_a_rerun_is_a_new_row_and_the_newest_is_chosen(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "6.2")])
    again = observed(specimen, "WBC", "6.2", observed_at="2026-11-23T09:20:00")
    assert ingest(bench.session, bench.source(), [again]).matched == 1
    first, second = results_of(bench, specimen)
    assert (first.chosen, first.state, second.chosen, second.run) == (False, ResultState.SUPERSEDED, True, 2)


def test_two_values_of_one_test_in_one_message_leave_one_chosen(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    twice = [observed(specimen, "WBC", "6.2", run=1), observed(specimen, "WBC", "6.4", run=2)]
    assert ingest(bench.session, bench.source(), twice).matched == 2
    assert [(each.value_text, each.chosen) for each in results_of(bench, specimen)] == [("6.2", False), ("6.4", True)]


def test_an_equal_value_without_a_time_is_the_rerun_that_was_asked_for(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    sent = observed(specimen, "WBC", "6.2", observed_at=None)
    ingest(bench.session, bench.source(), [sent])
    assert ingest(bench.session, bench.source(), [sent]).resent == 1
    [result] = results_of(bench, specimen)
    version = sheets.version_of(bench.session, specimen.id)
    review.request_rerun(bench.session, specimen.id, by=technician(), version=version, result_id=result.id)
    assert ingest(bench.session, bench.source(), [sent]).matched == 1
    assert [each.chosen for each in results_of(bench, specimen)] == [False, True]


@pytest.mark.req("LIS-7")
def test_a_value_after_release_is_kept_and_changes_nothing(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "6.2")])
    who = pathologist()
    review.mark_reviewed(bench.session, specimen.id, by=who, version=sheets.version_of(bench.session, specimen.id))
    report = reports.release(bench.session, specimen.id, by=who, version=sheets.version_of(bench.session, specimen.id))
    late = observed(specimen, "WBC", "16.2", observed_at="2026-11-23T11:00:00")
    assert ingest(bench.session, bench.source(), [late]) == IngestOutcome(matched=1, after_release=1)
    first, second = results_of(bench, specimen)
    assert (first.chosen, first.state) == (True, ResultState.RELEASED)
    assert (second.chosen, second.after_release, second.value_text) == (False, True, "16.2")
    [item] = reports.released(bench.session, report.id).items
    assert item.value == "6.2"


@pytest.mark.req("LIS-4")
@pytest.mark.parametrize(
    ("barcode", "code", "link", "reason"),
    [
        ("999999999999", "WBC", "xn", UnmatchedReason.UNKNOWN_SPECIMEN),
        ("", "WBC", "xn", UnmatchedReason.NO_BARCODE),
        (None, "WBC", "xn", UnmatchedReason.NO_BARCODE),
        ("own", "NOSUCH", "xn", UnmatchedReason.UNKNOWN_CODE),
        ("own", "PLT", "xn", UnmatchedReason.NOT_ORDERED),
        ("own", "WBC", "elsewhere", UnmatchedReason.UNKNOWN_INSTRUMENT),
    ],
)
def test_what_matches_nothing_is_kept_with_the_reason(
    bench: Bench, barcode: str | None, code: str, link: str, reason: UnmatchedReason
) -> None:
    specimen = bench.specimen("WBC")
    sent = observed(specimen.accession if barcode == "own" else barcode, code, "6.2")
    assert ingest(bench.session, bench.source(link=link), [sent]) == IngestOutcome(unmatched=1)
    row = bench.session.scalars(select(UnmatchedResult)).one()
    assert (row.reason, row.state, row.value, row.item["code"]) == (reason, "waiting", "6.2", code)
    assert results_of(bench, specimen) == []


def test_a_rejected_specimen_takes_no_results(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    specimen.state = SpecimenState.REJECTED
    bench.session.flush()
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "6.2")])
    assert bench.session.scalars(select(UnmatchedResult.reason)).one() == UnmatchedReason.CLOSED_SPECIMEN


def test_an_unmatched_value_sent_again_waits_once(bench: Bench) -> None:
    sent = observed("999999999999", "WBC", "6.2")
    ingest(bench.session, bench.source(), [sent])
    assert ingest(bench.session, bench.source(), [sent]) == IngestOutcome(resent=1)
    assert bench.session.scalars(select(UnmatchedResult.state).order_by(UnmatchedResult.id)).all() == [
        "waiting",
        "resend",
    ]


@pytest.mark.req("LIS-9")
def test_control_results_never_become_a_patients(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    control = observed(specimen, "WBC", "6.2", qc=QcMark("XN CHECK", "2", "L4021"))
    assert ingest(bench.session, bench.source(), [control]) == IngestOutcome(qc=1)
    row = bench.session.scalars(select(QcResult)).one()
    assert (row.material, row.level, row.lot, row.number) == ("XN CHECK", "2", "L4021", Decimal("6.2"))
    assert row.test_id == bench.tests["WBC"].id
    assert results_of(bench, specimen) == []


@pytest.mark.req("LIS-3")
def test_a_resend_keeps_its_pictures_once(bench: Bench) -> None:
    specimen, other = bench.specimen("WBC"), bench.specimen("WBC")

    def sent(of: Specimen, *pictures: Attachment) -> list[Observation]:
        values = observed(of, "WBC", "6.2", attachments=(Attachment("WBC", "image/png", b"\x89W"),))
        return [values, observed(of, "DIST_RBC", None, attachments=pictures)]

    named = Attachment("DIST_RBC", "image/png", reference="2026_11_23_RBC.PNG")
    drawn = Attachment("DIST_RBC", "image/png", b"\x89PNG")
    assert ingest(bench.session, bench.source(), sent(specimen, named, drawn)).attachments == 3
    outcome = ingest(bench.session, bench.source(), sent(specimen, named, drawn))
    assert (outcome.resent, outcome.attachments) == (1, 0)
    again = changed(named, reference="2026_11_23_RBC_2.PNG")
    assert ingest(bench.session, bench.source(), sent(specimen, again, drawn)).attachments == 1
    assert ingest(bench.session, bench.source(), sent(other, named, drawn)).attachments == 3
    kept = select(ResultAttachment.reference, ResultAttachment.data).where(ResultAttachment.specimen_id == specimen.id)
    assert len(bench.session.execute(kept).all()) == 4


@pytest.mark.req("GW-11")
def test_pictures_queries_alarms_and_the_unreadable_are_kept_or_counted(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    picture = Attachment("DIST_RBC", "image/png", b"\x89PNG")
    items: list[Item] = [
        observed(specimen, "WBC", "6.2"),
        observed(specimen, "DIST_RBC", None, attachments=(picture,)),
        HostQuery(specimens=(specimen.accession,)),
        InstrumentEvent("reagent_low", detail="Cellpack"),
        Undecoded("no such record", "Z|1"),
    ]
    assert ingest(bench.session, bench.source(), items) == IngestOutcome(
        matched=1, queries=1, events=1, undecoded=1, attachments=1
    )
    assert bench.session.scalars(select(ResultAttachment.data)).one() == b"\x89PNG"
    assert bench.session.scalars(select(InstrumentNotice.name)).one() == "reagent_low"
    assert bench.session.scalars(select(UnmatchedResult.reason)).one() == UnmatchedReason.UNDECODED


@pytest.mark.req("LIS-5")
def test_a_sudden_change_against_the_last_released_value_is_held(bench: Bench) -> None:
    before = bench.specimen("MCV")
    ingest(bench.session, bench.source(), [observed(before, "MCV", "90.0")])
    who = pathologist()
    review.mark_reviewed(bench.session, before.id, by=who, version=sheets.version_of(bench.session, before.id))
    reports.release(bench.session, before.id, by=who, version=sheets.version_of(bench.session, before.id))
    after = bench.specimen("MCV")
    later = changed(observed(after, "MCV", "94.5"), observed_at="2026-11-24T09:00:00")
    ingest(bench.session, bench.source(), [later])
    [result] = results_of(bench, after)
    assert (result.previous_value, result.delta_percent) == ("90.0", Decimal("5.0"))
    assert "delta" in {each["code"] for each in result.decision["reasons"]}


def test_a_message_of_twenty_observations_needs_few_queries(bench: Bench) -> None:
    codes = [code for code, test in bench.tests.items() if test.section == "hematology" and test.orderable][:20]
    specimen = bench.specimen(*codes)
    items = [observed(specimen, code, "5.0") for code in codes]
    statements: list[str] = []

    def count(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(db.engine(), "before_cursor_execute", count)
    try:
        outcome = ingest(bench.session, bench.source(), items)
    finally:
        event.remove(db.engine(), "before_cursor_execute", count)
    assert outcome.matched == 20
    assert bench.session.scalar(select(func.count()).select_from(Result)) == 20
    # Channels, the instrument's code, ranges, limits, formulas and rules are read once a transaction of many messages.
    assert len(statements) <= 22, "\n".join(statements)
