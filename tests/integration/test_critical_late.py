"""A critical value that comes after its report was released: told at once, whatever becomes of the report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.app import load_slices
from cloud.kit import db
from cloud.kit.audit import AuditEntry
from cloud.kit.events import StoredEvent
from cloud.kit.jobs import execute
from cloud.lis.critical import service as critical
from cloud.lis.critical.model import CriticalCase, CriticalState
from cloud.lis.reports import service as reports
from cloud.lis.reports.amending import Correction, amend
from cloud.lis.reports.model import Report
from cloud.lis.results import review, sheets
from cloud.lis.results.model import Result
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from tests.support.bench import Bench, observed, pathologist, set_up, technician
from tests.support.critical_cases import open_cases

pytestmark = pytest.mark.req("LIS-7", "LIS-11")
NOON = "2026-11-23T12:00:00"


@pytest.fixture
def bench(database: str) -> Iterator[Bench]:
    load_slices()
    with db.begin() as session:
        yield set_up(session)


def released(bench: Bench, **values: str) -> tuple[Specimen, Report]:
    specimen = bench.specimen(*values)
    ingest(bench.session, bench.source(), [observed(specimen, code, value) for code, value in values.items()])
    review.mark_reviewed(
        bench.session, specimen.id, by=technician(), version=sheets.version_of(bench.session, specimen.id)
    )
    version = sheets.version_of(bench.session, specimen.id)
    report = reports.release(bench.session, specimen.id, by=pathologist(), version=version, confirm_critical=True)
    return specimen, report


def late(bench: Bench, specimen: Specimen, **values: str) -> None:
    sent = [observed(specimen, code, value, observed_at=NOON) for code, value in values.items()]
    ingest(bench.session, bench.source(), sent)
    react(bench)


def react(bench: Bench) -> None:
    """Every reaction to every arrival so far, again for those that had theirs."""

    @contextmanager
    def same_session() -> Iterator[Session]:
        yield bench.session

    arrivals = select(StoredEvent.id).where(StoredEvent.type == "results.results_received").order_by(StoredEvent.id)
    for event_id in bench.session.scalars(arrivals):
        execute("critical.late_values", {"event_id": str(event_id)}, same_session)
    bench.session.flush()


def test_a_critical_value_after_release_waits_for_its_read_back(bench: Bench) -> None:
    specimen, _ = released(bench, K="4.1", GLU="5.0")
    late(bench, specimen, K="6.9", GLU="5.1")
    [case] = open_cases(bench.session)
    assert (case.specimen_id, case.state, case.report_version) == (specimen.id, CriticalState.DETECTED, None)
    assert [(each["code"], each["value"]) for each in case.values] == [("K", "6.9")]
    opened = bench.session.scalars(select(StoredEvent).where(StoredEvent.type == "critical.opened")).one()
    assert opened.aggregate_id == case.id
    actions = bench.session.scalars(select(AuditEntry.action).where(AuditEntry.aggregate_id == str(case.id)))
    assert actions.all() == ["critical.detect_late"]
    react(bench)
    assert bench.session.scalar(select(func.count()).select_from(CriticalCase)) == 1
    critical.record_contact(bench.session, case.id, by=technician(), told="孙护士", outcome="read_back")
    react(bench)
    assert open_cases(bench.session) == []


def test_each_late_critical_value_is_told(bench: Bench) -> None:
    specimen, _ = released(bench, K="6.8")
    late(bench, specimen, K="7.0")
    ingest(bench.session, bench.source(), [observed(specimen, "K", "7.4", observed_at="2026-11-23T13:00:00")])
    react(bench)
    assert [case.values[0]["value"] for case in open_cases(bench.session)] == ["6.8", "7.0", "7.4"]


def test_no_case_is_opened_for_what_waits_for_review_or_is_not_critical(bench: Bench) -> None:
    specimen, _ = released(bench, K="4.1")
    late(bench, specimen, K="4.3")
    waiting = bench.specimen("K")
    late(bench, waiting, K="6.9")
    assert open_cases(bench.session) == []


def test_the_read_back_of_a_report_does_not_wait_for_a_value_that_is_not_in_it(bench: Bench) -> None:
    specimen, report = released(bench, K="6.8")
    [case] = open_cases(bench.session)
    critical.record_contact(bench.session, case.id, by=technician(), told="孙护士", outcome="read_back")
    late(bench, specimen, K="7.4")
    assert critical.read_back_at(bench.session, specimen.id) is not None
    reports.recall(bench.session, report.id, by=pathologist(), reason="标本错误")
    assert [each.state for each in open_cases(bench.session)] == [CriticalState.DETECTED]


def test_a_late_value_taken_into_the_report_is_told_once_with_it(bench: Bench) -> None:
    specimen, report = released(bench, K="4.1", GLU="5.0")
    late(bench, specimen, K="6.9")
    taken = bench.session.scalars(select(Result).where(Result.after_release)).one()
    correction = Correction(bench.tests["K"].id, result_id=taken.id)
    amend(bench.session, report.id, by=pathologist(), reason="复检", corrections=[correction], confirm_critical=True)
    [case] = open_cases(bench.session)
    assert (case.report_version, case.state) == (2, CriticalState.CONFIRMED)
    react(bench)
    assert len(open_cases(bench.session)) == 1
