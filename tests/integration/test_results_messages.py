"""What an instrument says besides values: kept with the specimen, shown for review, never unmatched, never reported."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import db
from cloud.kit.audit import AuditEntry
from cloud.kit.bulk import insert_rows
from cloud.kit.db import begin
from cloud.kit.errors import Forbidden, Invalid
from cloud.lis.catalog.model import CriticalLimit
from cloud.lis.instruments import service as instruments
from cloud.lis.instruments.model import Instrument, InstrumentChannel
from cloud.lis.instruments.service import Channel
from cloud.lis.reports import service as reports
from cloud.lis.results import notices, review, sheets, unmatched
from cloud.lis.results.model import InstrumentNotice, Result, ResultAttachment, UnmatchedResult
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from protocols.model import Attachment
from tests.support.bench import Bench, observed, pathologist, set_up, technician
from tests.support.site import hire_cast, running_site

SUSPICION = "Left_Shift?"


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with db.begin() as session:
        yield session


@pytest.fixture
def bench(session: Session) -> Bench:
    """The analyzer's own messages are mapped as such."""
    made = set_up(session)
    instrument = session.scalars(select(Instrument)).one()
    for each in instruments.preset_channels("sysmex_xn"):
        if each.kind == "message":
            instruments.map_channel(session, instrument.id, each, by="system")
    return made


def waiting(bench: Bench) -> list[tuple[str, str]]:
    rows = bench.session.scalars(select(UnmatchedResult).where(UnmatchedResult.state == "waiting"))
    return [(each.code, each.value or "") for each in rows]


def shown(bench: Bench, specimen: Specimen) -> list[tuple[str, str | None, bool]]:
    return [(each.name, each.value, each.raised) for each in notices.of_specimen(bench.session, specimen.id)]


@pytest.mark.req("LIS-3", "GW-11")
def test_messages_of_the_analyzer_stay_with_the_specimen_and_never_wait_for_a_person(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    picture = Attachment("SCAT_WDF", "image/png", reference="2026/WDF.PNG")
    sent = [
        observed(specimen, "WBC", "6.2"),
        observed(specimen, "RBC_Agglutination?", "70"),
        observed(specimen, SUSPICION, "120", flags=("A",)),
        observed(specimen, "Positive_Diff", None, flags=("A",)),
        observed(specimen, "SCAT_WDF", "PNG\\2026\\WDF.PNG", attachments=(picture,)),
    ]
    outcome = ingest(bench.session, bench.source(), sent)
    assert (outcome.matched, outcome.messages, outcome.attachments, outcome.unmatched) == (1, 4, 1, 0)
    assert waiting(bench) == []
    assert shown(bench, specimen) == [
        (SUSPICION, "120", True),
        ("Positive_Diff", None, True),
        ("RBC_Agglutination?", "70", False),
    ]


def test_of_a_message_said_again_the_newest_is_shown(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    for score, flags in (("40", ()), ("130", ("A",))):
        ingest(bench.session, bench.source(), [observed(specimen, SUSPICION, score, flags=flags)])
    assert shown(bench, specimen) == [(SUSPICION, "130", True)]


def test_no_message_is_ever_reported(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    sent = [observed(specimen, "WBC", "6.2"), observed(specimen, SUSPICION, "120", flags=("A",))]
    ingest(bench.session, bench.source(), sent)
    doctor = pathologist()
    version = sheets.version_of(bench.session, specimen.id)
    review.mark_reviewed(bench.session, specimen.id, by=doctor, version=version)
    report = reports.release(bench.session, specimen.id, by=doctor, version=version + 1)
    content = reports.released(bench.session, report.id).content
    assert [each.code for each in content.items] == ["WBC"]
    assert SUSPICION not in str(content.to_json())


@pytest.mark.req("LIS-3")
def test_messages_of_an_unread_barcode_follow_its_values_to_the_specimen(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    picture = Attachment("DIST_RBC", "image/png", data=b"\x89PNG")
    sent = [
        observed("smudged", "WBC", "6.2"),
        observed("smudged", SUSPICION, "120", flags=("A",)),
        observed("smudged", "DIST_RBC", "PNG\\RBC.PNG", attachments=(picture,)),
    ]
    ingest(bench.session, bench.source(), sent)
    assert waiting(bench) == [("WBC", "6.2")]
    assert shown(bench, specimen) == []
    [row] = bench.session.scalars(select(UnmatchedResult)).all()
    unmatched.match(bench.session, [row.id], by=technician(), reason="核对了试管", barcode=specimen.accession)
    assert shown(bench, specimen) == [(SUSPICION, "120", True)]
    [kept] = bench.session.scalars(select(ResultAttachment)).all()
    assert (kept.specimen_id, kept.data) == (specimen.id, b"\x89PNG")


@pytest.mark.req("LIS-3")
def test_a_code_declared_a_message_leaves_the_list_with_all_its_values(bench: Bench) -> None:
    first, second = bench.specimen("WBC"), bench.specimen("WBC")
    for specimen in (first, second):
        ingest(bench.session, bench.source(), [observed(specimen, "Aged_Sample?", "10")])
    ingest(bench.session, bench.source(), [observed(first, "QQQ", "3.3")])
    row = bench.session.scalars(select(UnmatchedResult).where(UnmatchedResult.code == "Aged_Sample?")).first()
    assert row is not None
    with pytest.raises(Forbidden):
        unmatched.declare_message(bench.session, row.id, by=technician())
    director = pathologist()
    director = type(director)(director.name, director.permissions | {"catalog.edit"})
    assert unmatched.declare_message(bench.session, row.id, by=director) == 2
    assert waiting(bench) == [("QQQ", "3.3")]
    assert shown(bench, second) == [("Aged_Sample?", "10", False)]
    ingest(bench.session, bench.source(), [observed(second, "Aged_Sample?", "30")])
    assert shown(bench, second) == [("Aged_Sample?", "30", False)]
    actions = bench.session.scalars(
        select(AuditEntry.action).where(AuditEntry.action.in_(["instrument.map", "unmatched.message"]))
    ).all()
    assert actions.count("unmatched.message") == 1


def test_a_value_that_belongs_to_no_order_cannot_be_declared_a_message(bench: Bench) -> None:
    specimen = bench.specimen("WBC")
    ingest(bench.session, bench.source(), [observed(specimen, "HGB", "130")])
    row = bench.session.scalars(select(UnmatchedResult)).one()
    director = type(technician())("孙主任", frozenset({"unmatched.match", "catalog.edit"}))
    with pytest.raises(Invalid):
        unmatched.declare_message(bench.session, row.id, by=director)


def test_what_the_director_changes_is_seen_by_the_next_message_of_the_same_transaction(bench: Bench) -> None:
    specimens = [bench.specimen("K") for _ in range(3)]
    ingest(bench.session, bench.source(), [observed(specimens[0], "K", "6.0")])
    for limit in bench.session.scalars(select(CriticalLimit).where(CriticalLimit.test_id == bench.tests["K"].id)):
        limit.high = Decimal("5.9")
    ingest(bench.session, bench.source(), [observed(specimens[1], "K", "6.0")])
    instrument = bench.session.scalars(select(Instrument)).one()
    changed = Channel("K", "K", Decimal("0.5"), bench.tests["K"].unit)
    instruments.map_channel(bench.session, instrument.id, changed, by="system")
    ingest(bench.session, bench.source(), [observed(specimens[2], "K", "6.0")])
    found = {each.specimen_id: (each.critical, each.number) for each in bench.session.scalars(select(Result))}
    assert [found[each.id] for each in specimens] == [(False, 6), (True, 6), (False, 3)]


def test_rows_written_together_hold_what_the_rows_of_the_mapper_hold(bench: Bench) -> None:
    specimen = bench.specimen("WBC", "HGB")
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "6.2")])
    [kept] = bench.session.scalars(select(Result)).all()
    item = next(each for each in bench.items_of(specimen) if each.test_id == bench.tests["HGB"].id)
    values = {each.key: getattr(kept, each.key) for each in Result.__mapper__.column_attrs}
    values |= {
        "id": uuid.uuid4(),
        "order_item_id": item.id,
        "ordinal": 7,
        "number": Decimal("0.1000"),
        "value_text": '引号"\\,\n{}',
        "details": {"深": [1, {"a": None}]},
        "comments": ["5'-核苷酸"],
        "observed_at": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "rerun_requested_at": None,
    }
    insert_rows(bench.session, [Result(**values)])
    stored = bench.session.scalars(select(Result).where(Result.id == values["id"])).one()
    assert {each: getattr(stored, each) for each in values} == values
    assert str(stored.number) == "0.1000"


@pytest.mark.req("LIS-3", "SEC-1")
def test_the_director_declares_a_message_on_the_page_and_sees_it_beside_the_values(database: str) -> None:
    hire_cast()
    with begin() as session:
        made = set_up(session)
        specimen = made.specimen("WBC")
        sent = [observed(specimen, "WBC", "6.2"), observed(specimen, "Aged_Sample?", "110", flags=("A",))]
        ingest(session, made.source(), sent)
        row = session.scalars(select(UnmatchedResult.id)).one()
    with running_site() as site:
        technician = site.staff("technician")
        assert "data-message" not in technician.get("/staff/lis/unmatched").text
        assert technician.post("/staff/lis/unmatched/message", {"row": str(row)}).status_code == 403
        director = site.staff("director")
        page = director.get("/staff/lis/unmatched").text
        assert "Aged_Sample?" in page
        assert "data-message" in page
        after = director.post("/staff/lis/unmatched/message", {"row": str(row)}).text
        assert "Aged_Sample?" not in after
        sheet = director.get(f"/staff/lis/review/{specimen.id}").text
        assert "仪器提示" in sheet
        assert "Aged_Sample?" in sheet
        with begin() as session:
            channel = session.scalars(select(InstrumentChannel).where(InstrumentChannel.kind == "message")).one()
            assert session.scalars(select(InstrumentNotice.specimen_id)).all() == [specimen.id]
        shown_on = director.get(f"/staff/lis/instruments/{channel.instrument_id}").text
        assert 'data-channel="Aged_Sample?" data-kind="message"' in shown_on
        answer = director.post(
            f"/staff/lis/instruments/{channel.instrument_id}/channels", {"code": "Fragments?", "kind": "message"}
        )
        assert 'data-channel="Fragments?" data-kind="message"' in answer.text
