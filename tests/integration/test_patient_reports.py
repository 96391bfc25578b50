"""Reports on the phone: told once, shown to who may read them, and to nobody else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import select, text

from cloud.kit import jobs
from cloud.kit.db import begin
from cloud.kit.events import StoredEvent
from cloud.lis.critical import service as critical
from cloud.lis.critical.model import CriticalCase
from cloud.lis.reports import service as lab_reports
from cloud.notify.model import Delivery
from cloud.patient.identity.model import AccessRecord, Binding
from cloud.people import service as people
from tests.support.bench import pathologist
from tests.support.phones import MOTHER_ID, WANG_ID, Phone, Town, register, release_report, town
from tests.support.work import due_now, work

PHONE, MOTHERS_PHONE = "00013800001", "00013800002"


@pytest.fixture
def hospital(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    with town(monkeypatch) as made:
        yield made


@pytest.fixture
def wang(hospital: Town) -> uuid.UUID:
    return register("王芳", WANG_ID, PHONE, mrn="P1")


@pytest.fixture
def phone(hospital: Town, wang: uuid.UUID) -> Phone:
    """Wang's own phone, bound."""
    return bound(hospital, "wang", "王芳", WANG_ID, PHONE)


def bound(hospital: Town, openid: str, name: str, number: str, phone_on_file: str) -> Phone:
    phone = hospital.phone(openid)
    phone.sign_in()
    phone.bind(name, number, phone_on_file)
    return phone


def read_back(report_id: uuid.UUID) -> None:
    """The ward reads the critical values of this report back."""
    with begin() as session:
        report = lab_reports.released(session, report_id)
        case = session.scalars(select(CriticalCase).where(CriticalCase.specimen_id == report.specimen_id)).one()
        critical.record_contact(
            session, case.id, by=pathologist(), told="护士 陈", outcome="read_back", telephone=None, note=None
        )


def run_everything() -> None:
    work("patient", "notify", "lis", "reports")


@pytest.mark.req("REP-1", "LIS-7")
def test_a_released_report_is_pushed_and_read_through_the_pushed_link(
    hospital: Town, phone: Phone, wang: uuid.UUID
) -> None:
    report = release_report(wang, WBC="12.3", HGB="130")
    run_everything()
    [push] = hospital.pushes("wang")
    assert push["url"] == f"{hospital.url}/p/reports/{report}"
    page = phone.reads(report)
    assert page.status_code == 200
    for words in (
        'data-code="WBC"',
        'data-value="12.3"',
        'data-flag="H"',
        "高于参考范围",
        "请由医生结合您的情况判断",
        "3.5-9.5",
    ):
        assert words in page.text, words
    assert "王*" in page.text
    pdf = phone.get(f"/p/reports/{report}/pdf")
    assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")


@pytest.mark.req("SEC-1")
def test_a_push_tells_no_finding_no_test_and_no_full_name(hospital: Town, phone: Phone, wang: uuid.UUID) -> None:
    release_report(wang, WBC="12.3")
    run_everything()
    [push] = hospital.pushes("wang")
    said = json.dumps(push, ensure_ascii=False)
    for secret in ("12.3", "白细胞", "WBC", "王芳", WANG_ID, "血"):
        assert secret not in said


@pytest.mark.req("REP-1", "SEC-1")
def test_another_patients_report_looks_like_one_that_does_not_exist(hospital: Town, phone: Phone) -> None:
    mother = register("李秀英", MOTHER_ID, MOTHERS_PHONE)
    report = release_report(mother, WBC="6.1")
    token = phone.token("/p/my")
    answers = {
        (answer.status_code, answer.text.replace(token, ""))
        for answer in (phone.reads(report), phone.reads(uuid.uuid4()), phone.get("/p/reports/not-an-id"))
    }
    assert [status for status, _ in answers] == [404]
    assert phone.get(f"/p/reports/{report}/pdf").status_code == 404
    assert str(report) not in phone.get("/p/reports").text
    with begin() as session:
        refused = session.scalars(select(AccessRecord).where(AccessRecord.allowed.is_(False))).all()
    assert {(each.act, each.target) for each in refused} >= {("report.open", str(report)), ("report.pdf", str(report))}
    assert all(each.person_id is None for each in refused)


@pytest.mark.req("ACC-1", "REP-1")
def test_a_family_account_reads_only_with_the_persons_consent(hospital: Town, phone: Phone) -> None:
    mother = register("李秀英", MOTHER_ID, MOTHERS_PHONE)
    mothers = bound(hospital, "mother", "李秀英", MOTHER_ID, MOTHERS_PHONE)
    phone.bind("李秀英", MOTHER_ID, MOTHERS_PHONE, relation="family")
    report = release_report(mother, WBC="6.1")
    run_everything()
    assert phone.reads(report).status_code == 404
    assert hospital.pushes("wang") == []
    assert len(hospital.pushes("mother")) == 1
    with begin() as session:
        binding = session.scalars(select(Binding).where(Binding.relation == "family")).one().id
    assert phone.post(f"/p/relatives/{binding}", {"scope": "report", "term": "365"}).status_code == 404
    assert mothers.post(f"/p/relatives/{binding}", {"scope": "report", "term": "365"}).status_code == 303
    assert phone.reads(report).status_code == 200
    assert "王*" in mothers.get("/p/my").text
    assert mothers.post(f"/p/relatives/{binding}/revoke").status_code == 303
    assert phone.reads(report).status_code == 404


@pytest.mark.req("ACC-1")
def test_a_consent_ends_with_its_time(hospital: Town, phone: Phone) -> None:
    mother = register("李秀英", MOTHER_ID, MOTHERS_PHONE)
    mothers = bound(hospital, "mother", "李秀英", MOTHER_ID, MOTHERS_PHONE)
    phone.bind("李秀英", MOTHER_ID, MOTHERS_PHONE, relation="family")
    report = release_report(mother, WBC="6.1")
    with begin() as session:
        binding = session.scalars(select(Binding).where(Binding.relation == "family")).one().id
    mothers.post(f"/p/relatives/{binding}", {"scope": "report", "term": "365"})
    with begin() as session:
        session.execute(text("UPDATE person_grant SET expires_at = now() WHERE origin = 'consent'"))
    assert phone.reads(report).status_code == 404


@pytest.mark.req("REP-1")
def test_a_merged_files_reports_are_read_and_a_merge_suspends_them(
    hospital: Town, phone: Phone, wang: uuid.UUID
) -> None:
    other = register("王芳", None, PHONE, mrn="P2")
    report = release_report(other, WBC="6.1")
    assert phone.reads(report).status_code == 404
    with begin() as session:
        people.merge(session, into=wang, retired=other, by="his", reason="ADT^A40")
    assert phone.reads(report).status_code == 404
    phone.bind("王芳", WANG_ID, PHONE)
    assert phone.reads(report).status_code == 200


@pytest.mark.req("REP-1", "LIS-11")
def test_a_critical_report_waits_for_the_read_back_and_is_pushed_then(
    hospital: Town, phone: Phone, wang: uuid.UUID
) -> None:
    report = release_report(wang, WBC="0.3")
    run_everything()
    assert hospital.pushes("wang") == []
    assert phone.reads(report).status_code == 404
    assert phone.get(f"/p/reports/{report}/pdf").status_code == 404
    waiting = phone.get("/p/reports").text
    assert str(report) not in waiting
    assert "检验中" in waiting
    read_back(report)
    run_everything()
    assert len(hospital.pushes("wang")) == 1
    page = phone.reads(report)
    assert "达到危急值（低）" in page.text
    assert "马上联系您的医生" in page.text


@pytest.mark.req("REP-1")
def test_the_directors_limit_discloses_a_critical_report_by_time(hospital: Town, phone: Phone, wang: uuid.UUID) -> None:
    with begin() as session:
        lab_reports.set_limits(session, critical_after_minutes=30, by="staff:1", reason="会议决定")
    report = release_report(wang, WBC="0.3")
    run_everything()
    assert hospital.pushes("wang") == []
    with begin() as session:
        scheduled = (
            session.execute(
                text(
                    "SELECT scheduled_at > now() + interval '25 minutes' FROM procrastinate_jobs"
                    " WHERE status = 'todo' AND args ->> 'name' = 'patient.reports.push'"
                )
            )
            .scalars()
            .all()
        )
        session.execute(text("UPDATE lab_report SET released_at = now() - interval '31 minutes'"))
    assert scheduled == [True]
    due_now()
    run_everything()
    assert len(hospital.pushes("wang")) == 1
    assert phone.reads(report).status_code == 200


@pytest.mark.req("REP-1")
def test_a_sensitive_report_waits_for_the_clinician(hospital: Town, phone: Phone, wang: uuid.UUID) -> None:
    report = release_report(wang, WBC="6.1")
    with begin() as session:
        session.execute(text("UPDATE lab_report SET sensitive = true"))
    run_everything()
    assert hospital.pushes("wang") == []
    assert phone.reads(report).status_code == 404
    with begin() as session:
        lab_reports.disclose(session, report, by=pathologist(), note="已当面告知")
    run_everything()
    assert len(hospital.pushes("wang")) == 1
    assert phone.reads(report).status_code == 200


@pytest.mark.req("REP-1", "LIS-7")
def test_a_recalled_report_shows_its_recall_and_no_value(hospital: Town, phone: Phone, wang: uuid.UUID) -> None:
    report = release_report(wang, WBC="12.3")
    run_everything()
    with begin() as session:
        lab_reports.recall(session, report, by=pathologist(), reason="标本错误")
    run_everything()
    assert len(hospital.pushes("wang")) == 2
    page = phone.reads(report)
    assert "已被检验科撤回" in page.text
    assert "12.3" not in page.text
    assert phone.get(f"/p/reports/{report}/pdf").status_code == 404


@pytest.mark.req("REP-1")
def test_a_reaction_that_runs_twice_pushes_once(hospital: Town, phone: Phone, wang: uuid.UUID) -> None:
    release_report(wang, WBC="6.1")
    with begin() as session:
        fact = session.scalars(select(StoredEvent).where(StoredEvent.type == "reports.report_released")).one().id
    for _ in range(3):
        jobs.execute("patient.reports.released", {"event_id": str(fact)}, begin)
    run_everything()
    assert len(hospital.pushes("wang")) == 1


@pytest.mark.req("REP-1")
def test_a_push_outlives_an_outage_of_wechat(hospital: Town, phone: Phone, wang: uuid.UUID) -> None:
    from simulators.http_service import Fault

    hospital.wechat.faults["/cgi-bin/message/template/send"] = Fault(fail_next=2, status=503)
    release_report(wang, WBC="6.1")
    run_everything()
    assert hospital.pushes("wang") == []
    for _ in range(2):
        due_now()
        run_everything()
    assert len(hospital.pushes("wang")) == 1
    with begin() as session:
        delivery = session.scalars(select(Delivery).where(Delivery.template == "report_ready")).one()
    assert (delivery.state, delivery.attempts) == ("sent", 3)


@pytest.mark.req("ACC-1", "SEC-1")
def test_the_person_sees_who_looked(hospital: Town, phone: Phone, wang: uuid.UUID) -> None:
    report = release_report(wang, WBC="6.1")
    phone.reads(report)
    phone.get(f"/p/reports/{report}/pdf")
    mine = phone.get("/p/my").text
    assert "查看了报告" in mine
    assert "下载了报告" in mine


@pytest.mark.req("UX-1")
def test_the_report_page_is_read_in_english_too(hospital: Town, phone: Phone, wang: uuid.UUID) -> None:
    report = release_report(wang, WBC="12.3")
    page = phone.get(f"/p/reports/{report}?lang=en")
    assert "Above the reference range" in page.text
    assert 'lang="en"' in page.text


@pytest.mark.req("UX-1")
def test_the_report_page_is_light(hospital: Town, phone: Phone, wang: uuid.UUID) -> None:
    """First view under 60 KB compressed without pictures (architecture, must 11), counted as a browser loads it."""
    import gzip
    import re

    report = release_report(wang, WBC="12.3", HGB="130", PLT="200", RBC="4.5")
    page = phone.reads(report)
    assert page.text.count('class="indicator ') == 4
    links = re.findall(r'<(?:link rel="stylesheet"|script)[^>]*(?:href|src)="(/static/[^"]+)"([^>]*)>', page.text)
    needed = [address for address, more in links if 'media="print"' not in more]
    assert any("patient.css" in address for address in needed)
    total = len(gzip.compress(page.content))
    for address in needed:
        answer = phone.get(address)
        assert answer.status_code == 200, address
        total += len(gzip.compress(answer.content))
    assert total < 60_000
    assert "<script" not in page.text
