"""The laboratory's pages over HTTP: review, release, unmatched, critical values, reports; rights and refusals."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterator

import pytest
from pypdf import PdfReader
from sqlalchemy import select

from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.lis.catalog.model import Test
from cloud.lis.critical.model import CriticalCase, CriticalState
from cloud.lis.reports.model import Report
from cloud.lis.results.model import Result, ResultState, UnmatchedResult
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from protocols.model import Attachment, QcMark
from tests.support.bench import Bench, observed, set_up
from tests.support.site import Site, Visitor, hire_cast, running_site

REVIEW = "/staff/lis/review"


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


def measured(values: dict[str, str]) -> Specimen:
    """A specimen whose values have arrived."""
    with begin() as session:
        bench = set_up(session)
        specimen = bench.specimen(*values)
        ingest(session, bench.source(), [observed(specimen, code, value) for code, value in values.items()])
        return specimen


def again(specimen: Specimen, code: str, value: str) -> None:
    """Another run of a test arrives."""
    with begin() as session:
        bench = Bench(session, specimen.person_id, {})
        ingest(session, bench.source(), [observed(specimen, code, value, observed_at="2026-11-23T10:30:00")])


def version_on(page: str) -> str:
    found = re.search(r'data-version="(\d+)"', page)
    assert found, "the page shows no sheet"
    return found[1]


def act(visitor: Visitor, specimen: Specimen, verb: str, **data: object) -> tuple[int, str]:
    """What a button of the page sends, with the version the page shows."""
    page = visitor.get(f"{REVIEW}/{specimen.id}").text
    answer = visitor.post(f"{REVIEW}/{specimen.id}/{verb}", {"version": version_on(page), **data})
    return answer.status_code, answer.text


@pytest.mark.req("LIS-5", "LIS-7", "LIS-18")
def test_a_scanned_specimen_is_reviewed_and_released(site: Site) -> None:
    specimen = measured({"WBC": "6.2", "HGB": "114"})
    reviewer = site.staff("reviewer")
    page = reviewer.get(f"{REVIEW}?code={specimen.accession}")
    assert str(page.url).endswith(f"{REVIEW}/{specimen.id}?section=&stage=")
    for shown in ("王小明", "白细胞计数", "6.2", "115-150", "↓", "按草案区间判断"):
        assert shown in page.text
    assert act(reviewer, specimen, "review")[0] == 200
    status, page_after = act(reviewer, specimen, "release")
    assert status == 200
    found = re.search(r'data-released="([0-9a-f-]{36})"', page_after)
    assert found
    pdf = reviewer.get(f"/staff/lis/reports/{found[1]}/pdf")
    assert pdf.headers["content-type"] == "application/pdf"
    assert "王小明" in PdfReader(io.BytesIO(pdf.content)).pages[0].extract_text()


def test_an_unknown_barcode_is_named_and_changes_nothing(site: Site) -> None:
    answer = site.staff("reviewer").get(f"{REVIEW}?code=999999999999")
    assert answer.status_code == 404
    assert "999999999999" in answer.text


@pytest.mark.req("LIS-5")
def test_a_stale_page_is_told_to_look_again(site: Site) -> None:
    specimen = measured({"WBC": "6.2"})
    reviewer = site.staff("reviewer")
    seen = version_on(reviewer.get(f"{REVIEW}/{specimen.id}").text)
    again(specimen, "WBC", "7.7")
    answer = reviewer.post(f"{REVIEW}/{specimen.id}/review", {"version": seen})
    assert answer.status_code == 409
    assert 'data-code="sheet.stale"' in answer.text
    assert "7.7" in answer.text
    with begin() as session:
        states = session.scalars(select(Result.state).where(Result.chosen)).all()
    assert states == [ResultState.RECEIVED]


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("cashier", REVIEW, 403),
        ("field_engineer", REVIEW, 403),
        ("cashier", "/staff/lis/unmatched", 403),
        ("admin", "/staff/lis/reports", 403),
        ("technician", REVIEW, 200),
        ("technician", "/staff/lis/qc", 200),
        ("technician", "/staff/lis/critical", 200),
        ("technician", "/staff/lis/unmatched", 200),
        ("technician", "/staff/lis/reports", 200),
    ],
)
def test_each_role_sees_its_own_pages(site: Site, role: str, path: str, status: int) -> None:
    assert site.staff(role).get(path).status_code == status


@pytest.mark.req("SEC-1")
def test_a_technician_reviews_but_cannot_release(site: Site) -> None:
    specimen = measured({"WBC": "6.2"})
    technician = site.staff("technician")
    status, page = act(technician, specimen, "review")
    assert status == 200
    assert "data-release-form" not in page
    status, _ = act(technician, specimen, "release")
    assert status == 403
    with begin() as session:
        assert session.scalars(select(Report)).all() == []


@pytest.mark.req("LIS-11")
def test_a_critical_value_is_released_only_confirmed_and_its_call_is_recorded(site: Site) -> None:
    specimen = measured({"K": "6.9"})
    reviewer = site.staff("reviewer")
    act(reviewer, specimen, "review")
    status, page = act(reviewer, specimen, "release")
    assert status == 409
    assert 'data-code="release.critical"' in page
    assert act(reviewer, specimen, "release", confirm_critical="true")[0] == 200
    waiting = reviewer.get("/staff/lis/critical").text
    found = re.search(r'data-case="([0-9a-f-]{36})"', waiting)
    assert found
    assert "6.9" in waiting
    contact = f"/staff/lis/critical/{found[1]}/contact"
    assert reviewer.post(contact, {"outcome": "read_back", "told": ""}).status_code == 422
    assert reviewer.post(contact, {"outcome": "read_back", "told": "孙护士"}).status_code == 200
    afterwards = reviewer.get("/staff/lis/critical").text
    assert f'data-case="{found[1]}"' not in afterwards
    assert f'data-closed="{found[1]}"' in afterwards, "who answered stays in sight for a day"
    assert "孙护士" in afterwards
    with begin() as session:
        assert session.get_one(CriticalCase, uuid.UUID(found[1])).state == CriticalState.READ_BACK


def test_a_rerun_is_asked_for_and_taken_back(site: Site) -> None:
    specimen = measured({"WBC": "6.2"})
    technician = site.staff("technician")
    with begin() as session:
        result_id = session.scalars(select(Result.id)).one()
    assert "等待复检" in act(technician, specimen, "rerun", result_id=result_id)[1]
    assert act(technician, specimen, "review")[0] == 409
    assert "等待复检" not in act(technician, specimen, "rerun", result_id=result_id, withdraw="true")[1]
    assert act(technician, specimen, "review")[0] == 200


@pytest.mark.req("LIS-3", "SEC-2")
def test_a_value_is_typed_with_a_reason_and_an_audit_entry(site: Site) -> None:
    specimen = measured({"WBC": "6.2"})
    technician = site.staff("technician")
    with begin() as session:
        test_id = str(session.scalars(select(Test.id).where(Test.code == "WBC")).one())
    status, _ = act(technician, specimen, "enter", test_id=test_id, value="6.4")
    assert status == 422
    status, page = act(technician, specimen, "enter", test_id=test_id, value="6.4", reason="显微镜复核")
    assert status == 200
    assert "手工录入" in page
    with begin() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "result.enter")).one()
    assert entry.reason == "显微镜复核"


def test_clean_specimens_are_released_in_a_batch_and_critical_ones_are_not(site: Site) -> None:
    clean = measured({"WBC": "6.2"})
    with begin() as session:
        bench = Bench(session, clean.person_id, {})
        critical = bench.specimen("K")
        ingest(session, bench.source(), [observed(critical, "K", "7.1")])
    reviewer = site.staff("reviewer")
    page = reviewer.get(f"{REVIEW}/batch?act=review").text
    assert f'data-left="{critical.id}"' in page
    assert "含危急值，须单独核对" in page
    ticked = re.findall(r'name="specimen" value="([0-9a-f-]{36}:\d+)"', page)
    assert [each[:36] for each in ticked] == [str(clean.id)]
    forced = [*ticked, f"{critical.id}:1"]  # whoever ticks past the page is told too
    answer = reviewer.post(f"{REVIEW}/batch", {"act": "review", "specimen": forced}).text
    assert 'data-batch-done="1"' in answer
    assert re.findall(r'data-batch-row="([0-9a-f-]+)" data-outcome="(\w+)"', answer) == [
        (str(clean.id), "done"),
        (str(critical.id), "refused"),
    ]
    page = reviewer.get(f"{REVIEW}/batch?act=release").text
    ticked = re.findall(r'name="specimen" value="([0-9a-f-]{36}:\d+)"', page)
    answer = reviewer.post(f"{REVIEW}/batch", {"act": "release", "specimen": ticked})
    assert "批量发布 1 份" in answer.text
    again = reviewer.post(f"{REVIEW}/batch", {"act": "release", "specimen": ticked})
    assert 'data-outcome="refused"' in again.text  # the page was from before
    with begin() as session:
        assert session.scalars(select(Report.specimen_id)).all() == [clean.id]


@pytest.mark.req("LIS-4")
def test_an_unmatched_value_is_given_to_its_specimen_with_who_and_why(site: Site) -> None:
    with begin() as session:
        bench = set_up(session)
        specimen = bench.specimen("WBC")
        ingest(session, bench.source(), [observed("888888888888", "WBC", "6.6")])
        row = session.scalars(select(UnmatchedResult.id)).one()
    technician = site.staff("technician")
    assert "888888888888" in technician.get("/staff/lis/unmatched").text
    send = {"row": str(row), "barcode": "777777777777", "why": "核对试管"}
    assert technician.post("/staff/lis/unmatched/match", send).status_code == 409
    send = {"row": str(row), "barcode": specimen.accession, "why": ""}
    assert technician.post("/staff/lis/unmatched/match", send).status_code == 422
    send = {"row": str(row), "barcode": specimen.accession, "why": "核对试管"}
    assert "已处理 1 项" in technician.post("/staff/lis/unmatched/match", send).text
    with begin() as session:
        stored = session.get_one(UnmatchedResult, row)
        result = session.scalars(select(Result)).one()
    assert (stored.state, stored.handled_by_name, stored.handled_reason) == ("matched", "赵检验", "核对试管")
    assert (stored.result_id, result.specimen_id, result.value_text) == (result.id, specimen.id, "6.6")
    assert technician.post("/staff/lis/unmatched/match", send).status_code == 409


def test_an_unmatched_value_is_set_aside_with_a_reason(site: Site) -> None:
    with begin() as session:
        bench = set_up(session)
        ingest(session, bench.source(), [observed("888888888888", "WBC", "6.6")])
        row = session.scalars(select(UnmatchedResult.id)).one()
    technician = site.staff("technician")
    technician.get("/staff/lis/unmatched")
    answer = technician.post("/staff/lis/unmatched/dismiss", {"row": str(row), "why": "冲洗"})
    assert "已处理 1 项" in answer.text
    assert "888888888888" not in answer.text
    with begin() as session:
        assert session.get_one(UnmatchedResult, row).state == "dismissed"


@pytest.mark.req("LIS-9")
def test_control_results_are_listed(site: Site) -> None:
    with begin() as session:
        bench = set_up(session)
        ingest(session, bench.source(), [observed("QC", "WBC", "6.6", qc=QcMark("XN CHECK", "2", "L4021"))])
    page = site.staff("technician").get("/staff/lis/qc").text
    assert "XN CHECK" in page
    assert "L4021" in page


@pytest.mark.req("GW-11")
def test_only_pictures_of_a_result_are_served(site: Site) -> None:
    with begin() as session:
        bench = set_up(session)
        specimen = bench.specimen("WBC")
        pictures = (
            Attachment("DIST_RBC", "image/png", b"\x89PNG\r\n"),
            Attachment("trap", "text/html", b"<script>alert(1)</script>"),
        )
        ingest(session, bench.source(), [observed(specimen, "WBC", "6.2", attachments=pictures)])
    technician = site.staff("technician")
    page = technician.get(f"{REVIEW}/{specimen.id}").text
    addresses = re.findall(r'src="(/staff/lis/review/attachments/[0-9a-f-]+)"', page)
    answers = [technician.get(each) for each in addresses]
    assert [(each.status_code, each.headers["content-type"].split(";")[0]) for each in answers] == [
        (200, "image/png"),
        (404, "text/html"),
    ]


@pytest.mark.req("LIS-7")
def test_a_recalled_report_is_not_printed(site: Site) -> None:
    specimen = measured({"WBC": "6.2"})
    reviewer = site.staff("reviewer")
    act(reviewer, specimen, "review")
    act(reviewer, specimen, "release")
    with begin() as session:
        report = session.scalars(select(Report)).one()
    page = f"/staff/lis/reports/{report.id}"
    assert specimen.accession in reviewer.get(f"/staff/lis/reports?q={specimen.accession}").text
    reviewer.get(page)
    assert reviewer.post(f"{page}/recall", {"reason": " "}).status_code == 422
    assert "已召回" in reviewer.post(f"{page}/recall", {"reason": "标本错误"}).text
    assert reviewer.get(f"{page}/pdf").status_code == 409
    assert reviewer.get(f"{page}/pdf?version=1").status_code == 200
    assert site.staff("technician").get(f"{page}/pdf?version=1").status_code == 409


@pytest.mark.req("UX-1")
def test_the_review_page_speaks_english_too(site: Site) -> None:
    specimen = measured({"WBC": "12.2"})
    page = site.staff("technician").get(f"{REVIEW}/{specimen.id}?lang=en").text
    for shown in ("White blood cell count", "Judged by draft ranges", "To review"):
        assert shown in page
