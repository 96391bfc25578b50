"""Review, release, amend and recall: every guard, the frozen version, the marks, the printed report."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import zxingcpp
from pypdf import PdfReader
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cloud import config
from cloud.kit import db
from cloud.kit.audit import AuditEntry
from cloud.kit.errors import Conflict, Forbidden, Invalid
from cloud.kit.events import StoredEvent
from cloud.kit.jobs import execute
from cloud.lis.catalog.model import CriticalLimit, ReferenceRange
from cloud.lis.critical import service as critical
from cloud.lis.critical.model import CriticalCase, CriticalState
from cloud.lis.orders.model import ItemState
from cloud.lis.reports import jobs as _reactions  # noqa: F401  registers them
from cloud.lis.reports import service as reports
from cloud.lis.reports.amending import Correction, amend
from cloud.lis.reports.disclosure import Channel, Reader, Reason
from cloud.lis.reports.model import Report, ReportState, ReportVersion
from cloud.lis.results import release as releasing
from cloud.lis.results import review, sheets
from cloud.lis.results.model import Result, ResultState
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.people.rules import PersonDetails
from cloud.people.service import update as update_person
from protocols.model import changed
from tests.support.bench import Bench, Technologist, observed, pathologist, set_up, technician
from tests.support.critical_cases import open_cases
from tests.support.pictures import first_page


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with db.begin() as session:
        yield session


@pytest.fixture
def bench(session: Session) -> Bench:
    return set_up(session)


def version(bench: Bench, specimen: Specimen) -> int:
    return sheets.version_of(bench.session, specimen.id)


def measured(bench: Bench, **values: str) -> Specimen:
    specimen = bench.specimen(*values)
    ingest(bench.session, bench.source(), [observed(specimen, code, value) for code, value in values.items()])
    return specimen


def reviewed(bench: Bench, by: Technologist | None = None, **values: str) -> Specimen:
    specimen = measured(bench, **values)
    review.mark_reviewed(bench.session, specimen.id, by=by or technician(), version=version(bench, specimen))
    return specimen


def released(bench: Bench, *, confirm_critical: bool = False, **values: str) -> Report:
    specimen = reviewed(bench, **values)
    return reports.release(
        bench.session,
        specimen.id,
        by=pathologist(),
        version=version(bench, specimen),
        confirm_critical=confirm_critical,
    )


def chosen(bench: Bench, specimen_id: uuid.UUID) -> list[Result]:
    rows = bench.session.scalars(
        select(Result).where(Result.specimen_id == specimen_id, Result.chosen).execution_options(populate_existing=True)
    )
    return list(rows)


@pytest.mark.req("LIS-5", "LIS-7")
def test_a_reviewed_specimen_is_released_whole_in_one_transaction(bench: Bench) -> None:
    specimen = reviewed(bench, WBC="6.2", HGB="114")
    report = reports.release(bench.session, specimen.id, by=pathologist(), version=version(bench, specimen))
    assert report.state == ReportState.FINAL
    assert {each.state for each in chosen(bench, specimen.id)} == {ResultState.RELEASED}
    assert {each.state for each in bench.items_of(specimen)} == {ItemState.RELEASED}
    bench.session.refresh(specimen)
    assert specimen.state == SpecimenState.DONE
    view = reports.released(bench.session, report.id)
    assert [(each.code, each.value, each.flag, each.range_text) for each in view.items] == [
        ("WBC", "6.2", "N", "3.5-9.5"),
        ("HGB", "114", "L", "115-150"),
    ]
    content = view.content
    assert (content.patient_name, content.sex, content.mrn) == ("王小明", "F", "P000001")
    assert (content.reviewed_by, content.released_by, content.draft) == ("赵检验", "钱审核", True)
    event = bench.session.scalars(select(StoredEvent).where(StoredEvent.type == "reports.report_released")).one()
    assert event.payload["report_version"] == 1
    assert bench.session.scalar(select(AuditEntry.id).where(AuditEntry.action == "report.release"))


def test_what_nobody_reviewed_is_not_released(bench: Bench) -> None:
    specimen = measured(bench, WBC="6.2")
    with pytest.raises(Conflict) as refused:
        reports.release(bench.session, specimen.id, by=pathologist(), version=version(bench, specimen))
    assert refused.value.code == "release.unreviewed"


def test_who_may_only_review_cannot_release(bench: Bench) -> None:
    specimen = reviewed(bench, WBC="6.2")
    with pytest.raises(Forbidden):
        reports.release(bench.session, specimen.id, by=technician(), version=version(bench, specimen))


def test_who_has_no_rights_cannot_review(bench: Bench) -> None:
    specimen = measured(bench, WBC="6.2")
    nobody = Technologist("无权限", frozenset())
    with pytest.raises(Forbidden):
        review.mark_reviewed(bench.session, specimen.id, by=nobody, version=version(bench, specimen))


@pytest.mark.req("LIS-5")
def test_a_page_older_than_the_newest_result_may_not_release(bench: Bench) -> None:
    specimen = reviewed(bench, WBC="6.2")
    seen = version(bench, specimen)
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "7.0", observed_at="2026-11-23T10:00:00")])
    with pytest.raises(Conflict) as refused:
        reports.release(bench.session, specimen.id, by=pathologist(), version=seen)
    assert refused.value.code == "sheet.stale"


def test_where_two_persons_are_wanted_the_reviewer_may_not_release(bench: Bench) -> None:
    who = pathologist()
    specimen = reviewed(bench, by=who, WBC="6.2")
    releasing.set_two_persons(bench.session, section="hematology", value=True, by="staff:director", reason="制度")
    with pytest.raises(Forbidden) as refused:
        reports.release(bench.session, specimen.id, by=who, version=version(bench, specimen))
    assert refused.value.code == "release.second_person"
    other = pathologist()
    assert reports.release(bench.session, specimen.id, by=other, version=version(bench, specimen))


def test_the_section_rules_before_the_house(bench: Bench) -> None:
    releasing.set_two_persons(bench.session, section="", value=True, by="staff:director", reason="制度")
    releasing.set_two_persons(bench.session, section="chemistry", value=False, by="staff:director", reason="夜班")
    assert releasing.two_persons(bench.session, "hematology")
    assert not releasing.two_persons(bench.session, "chemistry")


@pytest.mark.req("LIS-0")
def test_production_refuses_a_draft_range_until_the_director_approved_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    specimen = reviewed(bench, HGB="130")
    production = config.settings().model_copy(update={"environment": "production"})
    monkeypatch.setattr(releasing, "settings", lambda: production)
    with pytest.raises(Conflict) as refused:
        reports.release(bench.session, specimen.id, by=pathologist(), version=version(bench, specimen))
    assert refused.value.code == "release.draft"
    bench.session.execute(update(ReferenceRange).values(state="approved"))
    bench.session.execute(update(CriticalLimit).values(state="approved"))
    bench.session.expire_all()
    seen = review.judge_again(bench.session, specimen.id, by=technician(), version=version(bench, specimen))
    assert not any(each.draft for each in seen)
    review.mark_reviewed(bench.session, specimen.id, by=technician(), version=version(bench, specimen))
    report = reports.release(bench.session, specimen.id, by=pathologist(), version=version(bench, specimen))
    assert not reports.released(bench.session, report.id).content.draft


@pytest.mark.req("LIS-11", "REP-1")
def test_a_critical_value_is_confirmed_then_waits_for_its_read_back(bench: Bench) -> None:
    specimen = reviewed(bench, K="6.8")
    with pytest.raises(Conflict) as refused:
        reports.release(bench.session, specimen.id, by=pathologist(), version=version(bench, specimen))
    assert refused.value.code == "release.critical"
    report = reports.release(
        bench.session, specimen.id, by=pathologist(), version=version(bench, specimen), confirm_critical=True
    )
    assert report.contains_critical
    [case] = open_cases(bench.session)
    assert [(each["code"], each["value"], each["side"]) for each in case.values] == [("K", "6.8", "high")]
    assert reports.disclosable(bench.session, report.id).reason is Reason.CRITICAL
    assert reports.disclosable(bench.session, report.id, Reader.CLINICIAN, Channel.STAFF).allowed
    critical.record_contact(bench.session, case.id, by=technician(), told="", outcome="not_reached")
    assert not reports.disclosable(bench.session, report.id).allowed
    critical.record_contact(bench.session, case.id, by=technician(), told="孙护士", outcome="read_back")
    assert reports.disclosable(bench.session, report.id).allowed
    with pytest.raises(Conflict):
        critical.record_contact(bench.session, case.id, by=technician(), told="孙护士", outcome="read_back")


@pytest.mark.req("REP-1")
def test_a_sensitive_report_waits_for_the_clinician(bench: Bench) -> None:
    report = released(bench, HIV="阴性")
    assert report.sensitive
    assert reports.disclosable(bench.session, report.id).reason is Reason.SENSITIVE
    reports.disclose(bench.session, report.id, by=pathologist(), note="门诊已告知")
    assert reports.disclosable(bench.session, report.id).allowed


@pytest.mark.req("LIS-7")
def test_the_rest_of_a_specimen_follows_a_preliminary_report(bench: Bench) -> None:
    specimen = bench.specimen("WBC", "HGB")
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "6.2")])
    who = pathologist()
    review.mark_reviewed(bench.session, specimen.id, by=who, version=version(bench, specimen))
    with pytest.raises(Conflict) as refused:
        reports.release(bench.session, specimen.id, by=who, version=version(bench, specimen))
    assert refused.value.code == "release.incomplete"
    first = reports.release(bench.session, specimen.id, by=who, version=version(bench, specimen), partial=True)
    assert first.state == ReportState.PRELIMINARY
    assert reports.released(bench.session, first.id).content.missing == ("血红蛋白",)
    ingest(bench.session, bench.source(), [observed(specimen, "HGB", "130")])
    review.mark_reviewed(bench.session, specimen.id, by=who, version=version(bench, specimen))
    last = reports.release(bench.session, specimen.id, by=who, version=version(bench, specimen))
    assert (last.id, last.version, last.state) == (first.id, 2, ReportState.FINAL)
    assert len(reports.released(bench.session, first.id, 1).items) == 1
    assert len(reports.released(bench.session, first.id).items) == 2


def test_a_value_under_rerun_holds_the_release(bench: Bench) -> None:
    specimen = reviewed(bench, WBC="6.2")
    [result] = chosen(bench, specimen.id)
    review.request_rerun(
        bench.session, specimen.id, by=technician(), version=version(bench, specimen), result_id=result.id
    )
    with pytest.raises(Conflict):
        review.mark_reviewed(bench.session, specimen.id, by=technician(), version=version(bench, specimen))
    with pytest.raises(Conflict) as refused:
        reports.release(bench.session, specimen.id, by=pathologist(), version=version(bench, specimen))
    assert refused.value.code == "release.nothing"


def test_a_specimen_that_was_never_received_is_not_released(bench: Bench) -> None:
    specimen = bench.specimen("WBC", state=SpecimenState.COLLECTED)
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "6.2")])
    review.mark_reviewed(bench.session, specimen.id, by=technician(), version=version(bench, specimen))
    with pytest.raises(Conflict) as refused:
        reports.release(bench.session, specimen.id, by=pathologist(), version=version(bench, specimen))
    assert refused.value.code == "release.not_received"


def test_a_typed_value_needs_a_reason_where_one_is_there(bench: Bench) -> None:
    specimen = measured(bench, WBC="6.2")
    who = technician()
    test_id = bench.tests["WBC"].id
    with pytest.raises(Invalid):
        review.enter(bench.session, specimen.id, by=who, version=version(bench, specimen), test_id=test_id, value="6.4")
    # The refusal's transaction would be rolled back whole; here the claim alone has moved the version on.
    review.enter(
        bench.session,
        specimen.id,
        by=who,
        version=version(bench, specimen),
        test_id=test_id,
        value="6.4",
        reason="人工复核",
    )
    [result] = chosen(bench, specimen.id)
    assert (result.value_text, result.entered_by, result.run) == ("6.4", who.id, 2)
    entry = bench.session.scalars(select(AuditEntry).where(AuditEntry.action == "result.enter")).one()
    assert (entry.before["value"], entry.after["value"], entry.reason) == ("6.2", "6.4", "人工复核")


def test_a_value_is_typed_where_no_instrument_measures(bench: Bench) -> None:
    specimen = bench.specimen("TRUST")
    review.enter(bench.session, specimen.id, by=technician(), version=0, test_id=bench.tests["TRUST"].id, value="1:8")
    assert [each.value_text for each in chosen(bench, specimen.id)] == ["1:8"]


def test_an_earlier_run_can_be_chosen_again_with_a_reason(bench: Bench) -> None:
    specimen = measured(bench, WBC="6.2")
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", "7.0", observed_at="2026-11-23T10:00:00")])
    first = bench.session.scalars(select(Result).where(Result.run == 1)).one()
    review.choose(
        bench.session,
        specimen.id,
        by=technician(),
        version=version(bench, specimen),
        result_id=first.id,
        reason="第二次吸样不足",
    )
    assert [(each.run, each.state) for each in chosen(bench, specimen.id)] == [(1, ResultState.RECEIVED)]


@pytest.mark.req("LIS-7")
def test_an_amendment_adds_a_version_and_keeps_the_old_one(bench: Bench) -> None:
    report = released(bench, WBC="6.2", HGB="130")
    first = reports.pdf(bench.session, report.id)
    changed = amend(
        bench.session,
        report.id,
        by=pathologist(),
        reason="复检后更正",
        corrections=[Correction(bench.tests["WBC"].id, value="5.2")],
    )
    assert (changed.version, changed.state) == (2, ReportState.AMENDED)
    items = {each.code: each for each in reports.released(bench.session, report.id).items}
    assert (items["WBC"].value, items["WBC"].corrected_from) == ("5.2", "6.2")
    assert items["HGB"].corrected_from is None
    assert reports.released(bench.session, report.id, 1).items[0].value == "6.2"
    assert reports.pdf(bench.session, report.id, 1) == first
    assert "复检后更正" in words(reports.pdf(bench.session, report.id))
    events = select(StoredEvent).where(StoredEvent.type == "reports.report_released").order_by(StoredEvent.id)
    assert [each.payload["kind"] for each in bench.session.scalars(events)] == ["final", "amended"]


def test_a_value_that_came_after_release_can_be_taken_by_an_amendment(bench: Bench) -> None:
    report = released(bench, WBC="6.2")
    specimen = bench.session.get_one(Specimen, report.specimen_id)
    late = changed(observed(specimen, "WBC", "16.2"), observed_at="2026-11-23T11:00:00")
    ingest(bench.session, bench.source(), [late])
    found = bench.session.scalars(select(Result).where(Result.after_release)).one()
    amend(
        bench.session,
        report.id,
        by=pathologist(),
        reason="复检",
        corrections=[Correction(bench.tests["WBC"].id, result_id=found.id)],
    )
    assert reports.released(bench.session, report.id).items[0].value == "16.2"


def test_correcting_one_of_two_critical_values_leaves_the_other_to_be_told(bench: Bench) -> None:
    report = released(bench, confirm_critical=True, K="6.8", GLU="30.0")
    amend(
        bench.session,
        report.id,
        by=pathologist(),
        reason="溶血",
        corrections=[Correction(bench.tests["K"].id, value="4.1")],
    )
    [case] = open_cases(bench.session)
    assert [each["code"] for each in case.values] == ["GLU"]
    states = bench.session.scalars(select(CriticalCase.state).order_by(CriticalCase.report_version)).all()
    assert states == [CriticalState.CANCELLED, CriticalState.CONFIRMED]


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_amendment_without_a_reason_is_refused(bench: Bench, reason: str) -> None:
    report = released(bench, WBC="6.2")
    with pytest.raises(Invalid):
        amend(bench.session, report.id, by=pathologist(), reason=reason, comment="x")
    with pytest.raises(Invalid):
        amend(bench.session, report.id, by=pathologist(), reason="有原因但无更改")


@pytest.mark.req("LIS-7", "REP-1")
def test_a_recalled_report_is_given_to_nobody_until_it_is_amended(bench: Bench) -> None:
    report = released(bench, confirm_critical=True, K="6.8")
    reports.recall(bench.session, report.id, by=pathologist(), reason="标本错误")
    assert reports.disclosable(bench.session, report.id).reason is Reason.RECALLED
    assert not reports.disclosable(bench.session, report.id, Reader.CLINICIAN, Channel.STAFF).allowed
    with pytest.raises(Conflict):
        reports.recall(bench.session, report.id, by=pathologist(), reason="标本错误")
    amend(bench.session, report.id, by=pathologist(), reason="核对无误")
    assert reports.disclosable(bench.session, report.id).reason is Reason.CRITICAL
    assert len(open_cases(bench.session)) == 1


@pytest.mark.req("SEC-2")
def test_the_database_refuses_to_change_a_frozen_version(bench: Bench) -> None:
    report = released(bench, WBC="6.2")
    reports.pdf(bench.session, report.id)
    for attack in ("UPDATE lab_report_version SET content = '{}'", "DELETE FROM lab_report_version"):
        with pytest.raises(DBAPIError, match="append-only"), bench.session.begin_nested():
            bench.session.execute(text(attack))
    row = bench.session.scalars(select(ReportVersion)).one()
    assert reports.content_hash(row.content) == row.content_sha256


def run_job(bench: Bench, name: str, **args: object) -> None:
    """The worker's step, inside this test's transaction."""

    @contextmanager
    def begin() -> Iterator[Session]:
        yield bench.session

    execute(name, args, begin)


def disclosed(bench: Bench) -> list[str]:
    events = select(StoredEvent).where(StoredEvent.type == "reports.report_disclosed").order_by(StoredEvent.id)
    return [each.payload["cause"] for each in bench.session.scalars(events)]


@pytest.mark.req("REP-1")
def test_the_directors_limit_discloses_a_critical_report_that_nobody_read_back(bench: Bench) -> None:
    reports.set_limits(bench.session, critical_after_minutes=30, by="staff:director", reason="制度")
    report = released(bench, confirm_critical=True, K="6.8")
    event = bench.session.scalars(select(StoredEvent).where(StoredEvent.type == "reports.report_released")).one()
    run_job(bench, "reports.schedule_disclosure", event_id=str(event.id))
    waiting = text("SELECT scheduled_at FROM procrastinate_jobs WHERE args->>'name' = 'reports.limit_passed'")
    assert bench.session.scalars(waiting).all() == [report.released_at + timedelta(minutes=30)]
    run_job(bench, "reports.limit_passed", report_id=str(report.id), report_version=1)
    assert disclosed(bench) == []  # half an hour has not passed
    reports.set_limits(bench.session, critical_after_minutes=0, by="staff:director", reason="制度")
    run_job(bench, "reports.limit_passed", report_id=str(report.id), report_version=2)
    assert disclosed(bench) == []  # another version
    run_job(bench, "reports.limit_passed", report_id=str(report.id), report_version=1)
    assert disclosed(bench) == ["limit"]


@pytest.mark.req("REP-1", "LIS-11")
def test_a_read_back_tells_whoever_pushes_that_the_hold_is_lifted(bench: Bench) -> None:
    released(bench, confirm_critical=True, K="6.8")
    [case] = open_cases(bench.session)
    critical.record_contact(bench.session, case.id, by=technician(), told="孙护士", outcome="read_back")
    event = bench.session.scalars(select(StoredEvent).where(StoredEvent.type == "critical.read_back")).one()
    run_job(bench, "reports.read_back", event_id=str(event.id))
    assert disclosed(bench) == ["read_back"]


def test_the_pdf_is_made_by_a_job_after_the_release(bench: Bench) -> None:
    released(bench, WBC="6.2")
    event = bench.session.scalars(select(StoredEvent).where(StoredEvent.type == "reports.report_released")).one()
    run_job(bench, "reports.print", event_id=str(event.id))
    run_job(bench, "reports.print", event_id=str(event.id))
    assert bench.session.scalars(select(ReportVersion.pdf)).one().startswith(b"%PDF-1.7")


def words(pdf: bytes) -> str:
    return "".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


@pytest.mark.req("LIS-7", "LIS-0")
def test_the_printed_report_says_what_was_released(bench: Bench) -> None:
    report = released(bench, confirm_critical=True, WBC="1.9", HGB="114")
    printed = reports.pdf(bench.session, report.id)
    said = words(printed)
    specimen = bench.session.get_one(Specimen, report.specimen_id)
    for wanted in (
        "检验报告单",
        "王小明",
        "P000001",
        "呼吸内科门诊",
        "李医生",
        "白细胞计数",
        "1.9",
        "↓↓",
        "3.5-9.5",
        "10^9/L",
        "赵检验",
        "钱审核",
        "第 1 页 / 共 1 页",
        "草案",
        specimen.accession,
    ):
        assert wanted in said, f"{wanted} is not on the report"
    row = bench.session.scalars(select(ReportVersion)).one()
    assert hashlib.sha256(printed).hexdigest() == row.pdf_sha256
    assert reports.pdf(bench.session, report.id) == printed


def test_the_barcode_on_the_report_is_the_accession_number(bench: Bench) -> None:
    report = released(bench, WBC="6.2")
    found = zxingcpp.read_barcodes(first_page(reports.pdf(bench.session, report.id), dpi=200))
    specimen = bench.session.get_one(Specimen, report.specimen_id)
    assert [each.text for each in found] == [specimen.accession]


def test_a_patients_name_is_printed_as_it_is_and_never_run_as_markup(bench: Bench) -> None:
    update_person(bench.session, bench.person_id, PersonDetails(name='#eval("1+1") $x$ *王*'), by="system")
    report = released(bench, WBC="6.2")
    assert '#eval("1+1")' in words(reports.pdf(bench.session, report.id)).replace("“", '"').replace("”", '"')
