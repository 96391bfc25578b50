"""Two at once on one specimen or report, on PostgreSQL: every race ends in one of its consistent outcomes."""

from __future__ import annotations

import io
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from pypdf import PdfReader
from sqlalchemy import func, select

from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.lis.reports import service as reports
from cloud.lis.reports.amending import Correction, amend
from cloud.lis.reports.model import Report, ReportState, ReportVersion
from cloud.lis.results import holding, review, sheets
from cloud.lis.results.model import Result, ResultState
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from tests.support.bench import Bench, observed, pathologist, set_up, technician
from tests.support.databases import DatabaseServer, cloud_on
from tests.support.racing import race

pytestmark = pytest.mark.req("LIS-5", "LIS-7")


@dataclass
class Site:
    """The bench whose specimens the races take one after the other."""

    person_id: uuid.UUID
    wbc: uuid.UUID
    rounds: int = 0

    def specimens(self, *, reviewed: bool = False, released: bool = False) -> list[uuid.UUID]:
        """One for each round, with a white count of 6.2."""
        made = []
        with begin() as session:
            bench = Bench(session, self.person_id, {})
            for _ in range(self.rounds):
                specimen = bench.specimen("WBC")
                ingest(session, bench.source(), [observed(specimen, "WBC", "6.2")])
                made.append(specimen.id)
                if reviewed or released:
                    review.mark_reviewed(session, specimen.id, by=technician(), version=1)
                if released:
                    reports.release(session, specimen.id, by=pathologist(), version=2)
        return made


@pytest.fixture(scope="module")
def bench_site(database_server: DatabaseServer) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url, cloud_on(url, patch):
        with begin() as session:
            bench = set_up(session)
            made = Site(bench.person_id, bench.tests["WBC"].id)
        yield made


@pytest.fixture(params=[4, pytest.param(50, marks=pytest.mark.slow)])
def site(bench_site: Site, request: pytest.FixtureRequest) -> Site:
    """A few rounds each time; fifty where there is time for it."""
    bench_site.rounds = request.param
    return bench_site


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as both:
        yield both


def report_of(specimen_id: uuid.UUID) -> Report | None:
    with begin() as session:
        return session.scalar(select(Report).where(Report.specimen_id == specimen_id))


def versions(report_id: uuid.UUID) -> list[ReportVersion]:
    with begin() as session:
        return reports.versions(session, report_id)


def test_of_two_reviewers_on_one_specimen_one_reviews_and_the_other_is_told(
    site: Site, pool: ThreadPoolExecutor
) -> None:
    for specimen_id in site.specimens():

        def act(specimen_id: uuid.UUID = specimen_id) -> None:
            with begin() as session:
                review.mark_reviewed(session, specimen_id, by=technician(), version=1)

        assert sorted(race(pool, act, act)) == ["done", "sheet.stale"]
        with begin() as session:
            entries = select(func.count()).where(
                AuditEntry.aggregate_id == str(specimen_id), AuditEntry.action == "result.review"
            )
            assert session.scalar(entries) == 1


def test_of_two_who_release_one_specimen_one_report_comes(site: Site, pool: ThreadPoolExecutor) -> None:
    for specimen_id in site.specimens(reviewed=True):

        def act(specimen_id: uuid.UUID = specimen_id) -> None:
            with begin() as session:
                reports.release(session, specimen_id, by=pathologist(), version=2)

        assert sorted(race(pool, act, act)) == ["done", "sheet.stale"]
        report = report_of(specimen_id)
        assert report is not None
        assert len(versions(report.id)) == 1


def test_a_rerun_that_arrives_at_the_moment_of_release_comes_wholly_before_or_wholly_after(
    site: Site, pool: ThreadPoolExecutor
) -> None:
    seen: Counter[str] = Counter()
    for specimen_id in site.specimens(reviewed=True):

        def release(specimen_id: uuid.UUID = specimen_id) -> None:
            with begin() as session:
                reports.release(session, specimen_id, by=pathologist(), version=2)

        def arrive(specimen_id: uuid.UUID = specimen_id) -> None:
            with begin() as session:
                specimen = session.get_one(Specimen, specimen_id)
                again = observed(specimen, "WBC", "7.7", observed_at="2026-11-23T11:00:00")
                ingest(session, Bench(session, site.person_id, {}).source(), [again])

        outcome, arrived = race(pool, release, arrive)
        assert arrived == "done"
        with begin() as session:
            rows = {
                each.value_text: each for each in session.scalars(select(Result).filter_by(specimen_id=specimen_id))
            }
        report = report_of(specimen_id)
        if outcome == "done":
            assert report is not None
            assert [each.content["items"][0]["value"] for each in versions(report.id)] == ["6.2"]
            assert (rows["6.2"].state, rows["6.2"].chosen) == (ResultState.RELEASED, True)
            assert (rows["7.7"].after_release, rows["7.7"].chosen) == (True, False)
        else:
            assert outcome == "sheet.stale"
            assert report is None
            assert (rows["6.2"].state, rows["6.2"].chosen) == (ResultState.SUPERSEDED, False)
            assert (rows["7.7"].state, rows["7.7"].chosen) == (ResultState.RECEIVED, True)
        seen[outcome] += 1
    assert sum(seen.values()) == site.rounds


def test_a_copy_printed_at_the_moment_of_an_amendment_is_the_valid_one_or_is_on_record_as_the_old_one(
    site: Site, pool: ThreadPoolExecutor
) -> None:
    for specimen_id in site.specimens(released=True):
        report = report_of(specimen_id)
        assert report is not None
        copies: list[tuple[int, str, bytes]] = []

        def change(report_id: uuid.UUID = report.id) -> None:
            with begin() as session:
                correction = Correction(site.wbc, value="6.9")
                amend(session, report_id, by=pathologist(), reason="复核", corrections=[correction], version=1)

        def take(report_id: uuid.UUID = report.id, copies: list[tuple[int, str, bytes]] = copies) -> None:
            with begin() as session:
                made = reports.copy(session, report_id, by=technician())
                copies.append((made.version, made.notice, made.data))

        assert race(pool, change, take) == ("done", "done")
        [(version, notice, printed)] = copies
        assert notice == ""  # what was asked for is the version in force at that moment
        said = "".join(page.extract_text() for page in PdfReader(io.BytesIO(printed)).pages)
        assert ("6.9" in said, "修订报告" in said, "6.2 10^9/L → 6.9 10^9/L" in said) == (
            version == 2,
        ) * 3  # never of both
        with begin() as session:
            trail = session.execute(
                select(AuditEntry.action, AuditEntry.after)
                .where(AuditEntry.aggregate_id == str(report.id))
                .order_by(AuditEntry.number)
            ).all()
        order = [action for action, _ in trail]
        assert (order.index("report.print") < order.index("report.amend")) == (version == 1)
        assert [each.version for each in versions(report.id)] == [1, 2]


def test_recall_against_amendment_ends_in_one_of_them_and_the_other_person_looks_again(
    site: Site, pool: ThreadPoolExecutor
) -> None:
    for specimen_id in site.specimens(released=True):
        report = report_of(specimen_id)
        assert report is not None

        def change(report_id: uuid.UUID = report.id) -> None:
            with begin() as session:
                correction = Correction(site.wbc, value="6.9")
                amend(
                    session,
                    report_id,
                    by=pathologist(),
                    reason="复核",
                    corrections=[correction],
                    version=1,
                    recalled=False,
                )

        def take_back(report_id: uuid.UUID = report.id) -> None:
            with begin() as session:
                reports.recall(session, report_id, by=pathologist(), reason="标本错误", version=1)

        amended, recalled = race(pool, change, take_back)
        after = report_of(specimen_id)
        assert after is not None
        found = len(versions(report.id))
        with begin() as session:
            values = session.scalars(select(Result.value_text).filter_by(specimen_id=specimen_id, chosen=True)).all()
        if amended == "done":
            assert (recalled, after.state, found, values) == ("recall.stale", ReportState.AMENDED, 2, ["6.9"])
        else:
            assert (amended, recalled) == ("amend.recalled", "done")
            assert (after.state, found, values) == (ReportState.RECALLED, 1, ["6.2"])


def test_a_hold_against_a_release_leaves_either_a_report_or_a_held_specimen(
    site: Site, pool: ThreadPoolExecutor
) -> None:
    for specimen_id in site.specimens(reviewed=True):

        def release(specimen_id: uuid.UUID = specimen_id) -> None:
            with begin() as session:
                reports.release(session, specimen_id, by=pathologist(), version=2)

        def hold(specimen_id: uuid.UUID = specimen_id) -> None:
            with begin() as session:
                holding.hold(session, specimen_id, by=technician(), version=2, reason="等临床回话")

        outcome = race(pool, release, hold)
        assert sorted(outcome) == ["done", "sheet.stale"]
        assert (report_of(specimen_id) is not None) == (outcome[0] == "done")
        with begin() as session:
            assert sheets.version_of(session, specimen_id) == 3
