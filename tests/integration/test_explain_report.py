"""`./xinglin cloud explain`: every step of a report comes out again, and what was changed behind its back does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cloud.app import load_slices
from cloud.explain import finding, telling
from cloud.explain.telling import Told
from cloud.history import load
from cloud.kit.db import begin
from cloud.lis.reports import service as reports
from cloud.lis.reports.amending import amend
from cloud.lis.reports.model import Report
from cloud.lis.results.model import Result
from cloud.lis.results.review import mark_reviewed
from cloud.lis.results.service import ingest
from cloud.lis.results.sheets import version_of
from cloud.lis.specimens.model import Specimen
from cloud.staff.service import account_by_login, create_account
from tests.support.bench import Technologist, observed, set_up
from tests.support.databases import DatabaseServer, cloud_on

UNTIL = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
pytestmark = pytest.mark.req("LIS-5")


@pytest.fixture(scope="module")
def history(database_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url:
        patch.setenv("XINGLIN_AUDIT_DIR", str(tmp_path_factory.mktemp("audit")))
        with cloud_on(url, patch):
            load_slices()
            load.run(60, seed=3, days=20, until=UNTIL, seal_after=False)
            yield


def explained(name: object, change: Callable[[Session], object] | None = None) -> tuple[Told, list[str]]:
    """The explanation after a change that is taken back again."""
    said: list[str] = []
    with begin() as session:
        if change is not None:
            session.execute(text("SET LOCAL session_replication_role = replica"))
            change(session)
        told = telling.explain(session, str(name), said.append)
        session.rollback()
    return told, said


def one_measured() -> tuple[Report, Result]:
    with begin() as session:
        found = session.execute(
            select(Report, Result)
            .join(Result, Result.specimen_id == Report.specimen_id)
            .where(Result.inbox_id.is_not(None), Result.range_high.is_not(None), Result.number.is_not(None))
            .order_by(Result.id)
            .limit(1)
        ).one()
    return found[0], found[1]


def test_every_report_of_a_history_comes_out_the_same(history: None) -> None:
    with begin() as session:
        names = session.scalars(
            select(Specimen.accession).join(Report, Report.specimen_id == Specimen.id).limit(12)
        ).all()
    for name in names:
        told, said = explained(name)
        assert told.reproducible, told.different
        assert told.same > 50
        assert any("sequence" in line for line in said) or any("typed" in line for line in said)


@pytest.mark.parametrize(
    ("change", "step"),
    [
        ("UPDATE lab_result SET flag = 'H' WHERE id = :result", "verdict"),
        ("UPDATE lab_result SET value_text = '999', number = 999 WHERE id = :result", "value"),
        ("UPDATE lab_result SET range_high = range_high + 1 WHERE id = :result", ""),
        ("UPDATE lab_result SET raw_value = '1.234' WHERE id = :result", "as sent"),
        ("UPDATE gateway_inbox SET raw = raw || '\\x20' WHERE id = :inbox", "message"),
        ("UPDATE lab_report_version SET content = content || '{\"sex\": \"U\"}' WHERE report_id = :report", "content"),
        ("UPDATE audit_entry SET actor = 'staff:x' WHERE aggregate_id = :report_text", "audit"),
        ("DELETE FROM audit_entry WHERE kind = 'staff' AND aggregate_id = :releaser", "result.release"),
    ],
)  # fmt: skip
def test_what_was_changed_behind_the_programs_back_is_named(history: None, change: str, step: str) -> None:
    report, result = one_measured()
    values = {
        "result": result.id,
        "inbox": result.inbox_id,
        "report": report.id,
        "report_text": str(report.id),
        "releaser": str(result.released_by),
    }
    wanted = {name: value for name, value in values.items() if f":{name} " in f"{change} ".replace(")", " ")}
    told, _ = explained(report.id, lambda session: session.execute(text(change), wanted))
    if step:
        assert any(step in each for each in told.different), told.different
    else:
        untouched, _ = explained(report.id)
        assert told.unknown > untouched.unknown or told.different, "a range other than the catalogue's is not the same"


def test_a_report_is_found_by_id_number_and_barcode_and_an_unknown_one_is_refused(history: None) -> None:
    report, _ = one_measured()
    with begin() as session:
        accession = session.get_one(Specimen, report.specimen_id).accession
        for name in (str(report.id), accession, f"{accession}-1"):
            assert finding.find(session, name).report.id == report.id
        with pytest.raises(finding.NoReport):
            finding.find(session, "000")


def test_a_report_released_and_amended_by_hand_explains_both_versions(database: str) -> None:
    load_slices()
    with begin() as session:
        account = create_account(
            session, login="reviewer", name="钱审核", password="a-long-test-password", roles=["reviewer"]
        )
        by = Technologist("钱审核", frozenset({"result.review", "result.release", "report.amend"}), account.id)
    with begin() as session:
        bench = set_up(session)
        specimen = bench.specimen("K", "NA")
        ingest(session, bench.source(), [observed(specimen, "K", "4.2"), observed(specimen, "NA", "141")])
        mark_reviewed(session, specimen.id, by=by, version=version_of(session, specimen.id))
        report = reports.release(session, specimen.id, by=by, version=version_of(session, specimen.id))
        number, name = report.id, specimen.accession
    with begin() as session:
        amend(session, number, by=by, reason="补充说明", comment="标本轻度溶血")
        assert account_by_login(session, "reviewer") is not None
    told, said = explained(name)
    assert [line for line in said if line.strip().startswith("version")] == [
        line for line in said if "version 1, final" in line or "version 2, amended" in line
    ]
    assert sum("version 2, amended" in line for line in said) == 1
    different = [each for each in told.different if " message" not in each]
    assert not different, "only the messages are missing: this test hands the values over itself"
