"""Notifiable diseases on a real database: cases by episode, acts, amended reports, cards of the HIS, pages."""

from __future__ import annotations

import contextlib
import re
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cloud.kit import clock, db
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound, XinglinError
from cloud.lis.infectious import cards, diseases, load, markers, opening, overview, service
from cloud.lis.infectious.model import CaseEvidence, CaseState, CaseStep, Disease, InfectiousCase, Marker, ReportCard
from cloud.lis.reports import service as reports
from cloud.lis.reports.amending import Correction, amend
from cloud.lis.reports.model import Report
from cloud.lis.results import review, sheets
from cloud.lis.results.service import ingest
from cloud.people.access import Subject
from cloud.people.rules import PersonDetails
from cloud.people.service import merge, register
from tests.support.bench import Bench, Technologist, observed, pathologist, set_up, technician
from tests.support.site import hire_cast, running_site
from tests.unit.test_infectious_rules import card

pytestmark = pytest.mark.req("LIS-12")

PAGE = "/staff/lis/infectious"


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with db.begin() as session:
        yield session


@pytest.fixture
def bench(session: Session) -> Bench:
    made = set_up(session)
    load.load(session)
    return made


def decider() -> Technologist:
    return Technologist("钱审核", frozenset({service.TELL, service.DECIDE, markers.APPROVE}))


def released(bench: Bench, code: str, value: str, **more: object) -> Report:
    specimen = bench.specimen(code, **more)  # type: ignore[arg-type]
    ingest(bench.session, bench.source(), [observed(specimen, code, value)])
    review.mark_reviewed(
        bench.session, specimen.id, by=technician(), version=sheets.version_of(bench.session, specimen.id)
    )
    return reports.release(
        bench.session,
        specimen.id,
        by=pathologist(),
        version=sheets.version_of(bench.session, specimen.id),
        confirm_critical=True,
    )


def positive(bench: Bench, code: str = "HBSAG", value: str = "阳性", **more: object) -> InfectiousCase:
    report = released(bench, code, value, **more)
    opening.screen(bench.session, report.id)
    found = bench.session.scalars(
        select(InfectiousCase)
        .join(CaseEvidence, CaseEvidence.case_id == InfectiousCase.id)
        .where(CaseEvidence.report_id == report.id)
    ).one()
    bench.session.refresh(found)
    return found


def test_ten_positive_values_of_one_episode_are_one_case(bench: Bench) -> None:
    session = bench.session
    first = positive(bench)
    assert (first.state, first.screening, first.disease) == (CaseState.OPEN, True, "hepatitis_b")
    assert first.due_at - first.found_at == timedelta(hours=24)
    for _ in range(3):
        assert positive(bench).id == first.id
    assert positive(bench, "HBVDNA", "5600").id == first.id, "another marker of the same disease"
    assert len(session.scalars(select(CaseEvidence)).all()) == 5
    assert not session.get_one(InfectiousCase, first.id).screening
    other = positive(bench, "TPAB", "阳性")
    assert other.id != first.id
    opening.screen(session, session.scalars(select(Report.id)).first() or first.id)
    assert len(session.scalars(select(CaseEvidence)).all()) == 6, "a second look changes nothing"
    assert released(bench, "HBSAG", "阴性")
    assert overview.counts(session)["open"] == 2


def test_a_value_after_the_episode_is_a_new_case_and_a_merged_file_is_the_same_person(bench: Bench) -> None:
    session = bench.session
    first = positive(bench, "FLUA", "阳性")
    session.execute(
        update(InfectiousCase)
        .where(InfectiousCase.id == first.id)
        .values(found_at=clock.now() - timedelta(days=40), last_at=clock.now() - timedelta(days=31))
    )
    second = positive(bench, "FLUA", "阳性")
    assert second.id != first.id
    again = register(session, PersonDetails(name="王小梅", sex="F", identifiers=(("mrn", "P9"),)), by="system")
    merge(session, into=bench.person_id, retired=again.id, by="system", reason="同一人")
    assert positive(bench, "FLUB", "阳性", person_id=again.id).id == second.id


def test_an_amended_report_withdraws_its_evidence(bench: Bench) -> None:
    session = bench.session
    case = positive(bench)
    report = session.scalars(select(Report)).one()
    amend(
        session,
        report.id,
        by=pathologist(),
        version=report.version,
        corrections=[Correction(bench.tests["HBSAG"].id, value="阴性")],
        reason="复查为阴性",
    )
    opening.screen(session, report.id)
    session.refresh(case)
    assert case.withdrawn
    assert [each.what for each in session.scalars(select(CaseStep).order_by(CaseStep.at))][-1] == "withdrawn"


def test_the_acts_of_a_case_and_their_refusals(bench: Bench) -> None:
    session = bench.session
    case = positive(bench)
    by = decider()

    def refused(error: type[XinglinError], code: str, act: object, **given: object) -> None:
        with pytest.raises(error) as found, session.begin_nested():
            act(session, case.id, **{"version": case.version, "by": by, **given})  # type: ignore[operator]
        session.refresh(case)
        assert found.value.code == code

    refused(Invalid, "infectious.told", service.tell, told=" ", how="phone")
    refused(
        Forbidden, "infectious.forbidden", service.tell, told="李医生", how="phone", by=Technologist("x", frozenset())
    )
    refused(Forbidden, "infectious.forbidden", service.dismiss, reason="carrier", by=technician())
    refused(Invalid, "infectious.reason", service.dismiss, reason="weather")
    refused(Invalid, "infectious.reason_note", service.dismiss, reason="other")
    refused(Conflict, "infectious.stale", service.dismiss, reason="carrier", version=case.version + 1)
    refused(Invalid, "infectious.card_missing", service.report, number="1", fields=card(address=""))
    refused(Invalid, "infectious.card_number", service.report, number=" ", fields=card())
    refused(Conflict, "infectious.stale", service.reopen, note="x")
    refused(Invalid, "infectious.reopen_note", service.reopen, note=" ")
    refused(NotFound, "infectious.case", service.duplicate, of_number=99)
    refused(Invalid, "infectious.duplicate_of", service.duplicate, of_number=case.number)

    service.tell(session, case.id, version=case.version, told="李医生", how="phone", by=by)
    assert (case.state, case.told_at is not None) == (CaseState.TOLD, True)
    service.report(session, case.id, version=case.version, number="330100-1", fields=card(), by=by)
    assert session.get_one(InfectiousCase, case.id).state == CaseState.REPORTED
    service.reopen(session, case.id, version=case.version, note="卡片填错病种", by=by)
    refused(Conflict, "infectious.card_used", service.report, number="330100-1", fields=card())
    service.dismiss(session, case.id, version=case.version, reason="reported_before", by=by)
    steps = [each.what for each in session.scalars(select(CaseStep).order_by(CaseStep.at, CaseStep.id))]
    assert steps == ["opened", "told", "reported", "reopened", "dismissed"]
    audited = session.scalars(select(AuditEntry.action).where(AuditEntry.action.like("infectious.%"))).all()
    assert len(audited) == 5
    with pytest.raises(DBAPIError), session.begin_nested():
        session.execute(text("DELETE FROM lab_infectious_step"))


def test_later_values_of_a_duplicate_go_to_the_first_case(bench: Bench) -> None:
    session = bench.session
    first = positive(bench, "FLUA", "阳性")
    session.execute(
        update(InfectiousCase).where(InfectiousCase.id == first.id).values(last_at=clock.now() - timedelta(days=31))
    )
    second = positive(bench, "FLUA", "阳性")
    service.duplicate(session, second.id, version=second.version, of_number=first.number, by=decider())
    third = positive(bench, "FLUA", "阳性")
    assert third.id == first.id
    held = cards.held_against(session, clock.now() - timedelta(days=1), clock.now() + timedelta(days=1))
    assert held.found == 1, "a duplicate is not counted"


def table(*rows: str) -> bytes:
    return "\n".join(["卡片编号,病历号,姓名,病种,报告医生,报告时间", *rows]).encode("gb18030")


def test_cards_of_the_his_close_their_cases_and_the_missed_ones_are_listed(bench: Bench) -> None:
    session = bench.session
    now = clock.now()
    mrn = session.execute(
        text("SELECT value FROM person_identifier WHERE system = 'mrn' AND person_id = :id"), {"id": bench.person_id}
    ).scalar()
    case = positive(bench)
    missed = positive(bench, "TPAB", "阳性")
    session.execute(
        update(InfectiousCase)
        .where(InfectiousCase.id == missed.id)
        .values(found_at=now - timedelta(days=3), due_at=now - timedelta(days=2))
    )
    at = clock.local(now).strftime("%Y-%m-%d %H:%M")
    taken = cards.take(
        session, table(f"K1,{mrn},某,病毒性肝炎（乙型）,李,{at}", f"K2,none,某,麻疹,李,{at}", ""), by=decider()
    )
    assert (taken.new, taken.known, taken.matched) == (2, 0, 1)
    session.refresh(case)
    assert case.state == CaseState.REPORTED
    again = cards.take(
        session, table(f"K1,{mrn},某,hepatitis_b,李,{at}", f"K3,{mrn},某,hepatitis_b,李,{at}"), by=decider()
    )
    assert (again.new, again.known, again.matched) == (1, 1, 1)
    held = cards.held_against(session, now - timedelta(days=10), now + timedelta(days=1), now)
    assert [each.id for each in held.missed] == [missed.id]
    assert [each.number for each in held.strangers] == ["K2"]
    assert [(each.id, many) for each, many in held.twice] == [(case.id, 2)]
    assert (held.found, held.reported, held.missed_share) == (2, 1, 0.5)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\xff\xfe\x00\x81", "infectious.cards_text"),
        (b"a,b\n1,2", "infectious.cards_columns"),
        (table("K1,1,x,nonsense,y,2026-11-23 08:00"), "infectious.cards_disease"),
        (table("K1,1,x,麻疹,y,yesterday"), "infectious.cards_time"),
        (table("K1,1,,麻疹,y,2026-11-23 08:00"), "infectious.cards_empty"),
        (table("K1,1,x,麻疹,y,2026-11-23 08:00", "K1,1,x,麻疹,y,2026-11-23 08:00"), "infectious.cards_twice"),
    ],
)
def test_a_wrong_table_is_refused_whole_and_says_which_line(bench: Bench, content: bytes, code: str) -> None:
    with pytest.raises(Invalid) as found, bench.session.begin_nested():
        cards.take(bench.session, content, by=decider())
    assert found.value.code == code
    assert bench.session.scalars(select(ReportCard)).all() == []


def test_markers_are_set_by_one_and_approved_by_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    session = bench.session
    by = decider()
    given = {"test_code": "WBC", "disease": "influenza", "condition": "above", "threshold": "10", "source": "演练"}

    def refused(error: type[XinglinError], code: str, **changed: object) -> None:
        with pytest.raises(error) as found:
            markers.set_marker(session, **{**given, "by": by, **changed})  # type: ignore[arg-type]
        assert found.value.code == code

    refused(Forbidden, "infectious.forbidden", by=technician())
    refused(NotFound, "infectious.test", test_code="NOPE")
    refused(NotFound, "infectious.disease", disease="cold")
    refused(Invalid, "infectious.condition", condition="odd")
    refused(Invalid, "infectious.threshold", threshold="x")
    refused(Invalid, "infectious.threshold", threshold="NaN")
    refused(Invalid, "infectious.source", source=" ")
    row = markers.set_marker(session, **given, by=by)  # type: ignore[arg-type]
    assert positive(bench, "WBC", "12.0").disease == "influenza"
    with pytest.raises(Forbidden):
        markers.approve(session, row.id, by=by)
    with pytest.raises(Forbidden):
        markers.approve(session, row.id, by=technician())
    with pytest.raises(NotFound):
        markers.approve(session, bench.person_id, by=decider())
    markers.approve(session, row.id, by=decider())
    with pytest.raises(Conflict):
        markers.approve(session, row.id, by=decider())
    markers.set_marker(session, **{**given, "active": False}, by=by)  # type: ignore[arg-type]
    opening.screen(session, released(bench, "WBC", "13.0").id)
    assert len(session.scalars(select(CaseEvidence)).all()) == 1, "switched off"
    monkeypatch.setattr(opening, "settings", lambda: type("S", (), {"environment": "production"})())
    hbsag = session.scalars(select(Marker.test_id).where(Marker.disease == "hepatitis_b")).all()
    assert opening.markers_in_force(session, hbsag) == [], "production uses what was approved"


def test_a_change_of_the_list_is_written_by_one_approved_by_another_and_ends_the_row_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, by = bench.session, decider()
    old = session.scalars(select(Disease).where(Disease.code == "influenza")).one()
    given = {
        "code": "influenza",
        "name": "流行性感冒",
        "name_en": "Influenza",
        "legal_class": "B",
        "deadline_hours": "2",
        "episode_days": "30",
        "valid_from": clock.today() - timedelta(days=1),
        "source": "演练文件",
    }

    def refused(error: type[XinglinError], said: str, /, **changed: object) -> None:
        with pytest.raises(error) as found:
            diseases.set_disease(session, **{**given, "by": by, **changed})  # type: ignore[arg-type]
        assert found.value.code == said

    refused(Forbidden, "infectious.forbidden", by=technician())
    refused(Invalid, "infectious.disease_code", code="流感")
    refused(Invalid, "infectious.disease_name", name_en=" ")
    refused(Invalid, "infectious.disease_class", legal_class="D")
    refused(Invalid, "infectious.disease_day", valid_from=None)
    refused(Invalid, "infectious.disease_day", valid_to=clock.today() - timedelta(days=9))
    refused(Invalid, "infectious.disease_number", deadline_hours="0")
    refused(Invalid, "infectious.disease_number", episode_days="一个月")
    refused(Invalid, "infectious.source", source=" ")
    new = diseases.set_disease(session, **given, by=by)  # type: ignore[arg-type]
    refused(Conflict, "infectious.disease_there")
    for who in (by, technician()):
        with pytest.raises(Forbidden):
            diseases.approve(session, new.id, by=who)
    with pytest.raises(NotFound):
        diseases.approve(session, bench.person_id, by=decider())
    monkeypatch.setattr(opening, "settings", lambda: type("S", (), {"environment": "production"})())
    rows = session.scalars(select(Disease)).all()
    plague = opening.disease_in_force(rows, "plague", clock.today())
    assert plague is not None, "what nobody approved yet is not missed for it"
    diseases.approve(session, old.id, by=decider())
    assert opening.disease_in_force(rows, "influenza", clock.today()) is old, "production keeps to the approved row"
    diseases.approve(session, new.id, by=decider())
    assert old.valid_to == clock.today() - timedelta(days=2)
    assert opening.disease_in_force(rows, "influenza", clock.today()) is new
    with pytest.raises(Conflict):
        diseases.approve(session, new.id, by=decider())


def test_two_people_who_enter_one_card_number_at_once_get_one_card_and_one_refusal(database: str) -> None:
    with begin() as session:
        bench = set_up(session)
        load.load(session)
        cases = [positive(bench, code, "阳性").id for code in ("HBSAG", "TPAB")]
    line, said = threading.Barrier(2), []

    def enter(case_id: uuid.UUID) -> None:
        with begin() as session:
            line.wait(20)
            try:
                service.report(session, case_id, version=1, number="330100-8", fields=card(), by=decider())
            except Conflict as refusal:
                said.append(refusal.code)
                raise

    def entered(case_id: uuid.UUID) -> None:
        with contextlib.suppress(Conflict):
            enter(case_id)

    both = [threading.Thread(target=entered, args=(each,)) for each in cases]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert said == ["infectious.card_used"]
    with begin() as session:
        assert len(session.scalars(select(ReportCard)).all()) == 1
        states = sorted(session.scalars(select(InfectiousCase.state)))
        assert states == [CaseState.OPEN, CaseState.REPORTED], "the refused one changed nothing"


def test_one_table_of_cards_imported_twice_at_once_counts_each_card_once(database: str) -> None:
    with begin() as session:
        set_up(session)
        load.load(session)
    line, taken = threading.Barrier(2), []
    rows = table("K1,1,某,麻疹,李,2026-11-23 08:00", "K2,1,某,麻疹,李,2026-11-23 08:00")

    def take() -> None:
        with begin() as session:
            line.wait(20)
            taken.append(cards.take(session, rows, by=decider()))

    both = [threading.Thread(target=take) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert sorted((each.new, each.known) for each in taken) == [(0, 2), (2, 0)]


def test_two_reports_at_once_open_one_case(database: str) -> None:
    with begin() as session:
        bench = set_up(session)
        load.load(session)
        ids = [released(bench, "HBSAG", "阳性").id for _ in range(2)]
    failures: list[BaseException] = []
    barrier = threading.Barrier(2)

    def look(report_id: object) -> None:
        try:
            barrier.wait(10)
            with begin() as session:
                opening.screen(session, report_id)  # type: ignore[arg-type]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=look, args=(each,)) for each in ids]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert not failures
    with begin() as session:
        assert len(session.scalars(select(InfectiousCase)).all()) == 1
        assert len(session.scalars(select(CaseEvidence)).all()) == 2


def test_the_pages_lead_from_the_finding_to_the_card(database: str) -> None:
    with begin() as session:
        bench = set_up(session)
        load.load(session)
        case = positive(bench)
        number = case.number
        assert overview.cases(session, Subject.staff(technician()), "open") == [], "who may not see patients sees none"
    hire_cast()
    with running_site() as site:
        desk, chief = site.staff("technician"), site.staff("reviewer")
        assert f'data-case="{number}"' in desk.get(PAGE).text
        shown = desk.get(f"{PAGE}/{number}").text
        assert "携带者不报" in shown
        told = desk.post(f"{PAGE}/{number}/tell", {"version": 1, "told": "李医生", "how": "phone"}).text
        assert "李医生（电话）" in told
        assert desk.post(f"{PAGE}/{number}/dismiss", {"version": 2, "reason": "carrier"}).status_code == 403
        chief.get(f"{PAGE}/{number}")
        missing = chief.post(f"{PAGE}/{number}/report", {"version": 2, "number": "9", **card(address="")})
        assert (missing.status_code, "现住址" in missing.text) == (422, True)
        assert 'value="9"' in missing.text, "what was typed is still there"
        assert "330100-7" in chief.post(f"{PAGE}/{number}/report", {"version": 2, "number": "330100-7", **card()}).text
        assert chief.post(f"{PAGE}/{number}/dance", {"version": 3}).status_code == 404
        assert chief.get(f"{PAGE}/999999").status_code == 404
        assert f'data-case="{number}"' in desk.get(f"{PAGE}/part?list=reported").text
        chief.get(f"{PAGE}/check")
        files = {"table": ("cards.csv", table("K1,1,x,nonsense,y,2026-11-23 08:00"), "text/csv")}
        wrong = chief.post(f"{PAGE}/check/cards", files=files)
        assert (wrong.status_code, "第 2 行" in wrong.text) == (422, True)
        files = {"table": ("cards.csv", table("K1,1,某,麻疹,李,2026-11-23 08:00"), "text/csv")}
        assert "导入 1 张新卡" in chief.post(f"{PAGE}/check/cards", files=files).text
        assert "病种目录" in desk.get(f"{PAGE}/markers").text
        row = {"code": "measles", "name": "麻疹", "name_en": "Measles", "legal_class": "B", "source": "演练"}
        days = {"deadline_hours": "24", "episode_days": "30", "valid_from": "2026-11-01"}
        chief.get(f"{PAGE}/markers")
        assert chief.post(f"{PAGE}/diseases", row | days | {"valid_from": "x"}).status_code == 422
        assert "2026-11-01" in chief.post(f"{PAGE}/diseases", row | days).text
        assert chief.post(f"{PAGE}/diseases", row | days).status_code == 409
        head = site.staff("director")
        drafts = re.findall(r'name="rows" value="([0-9a-f-]{36})"', head.get(f"{PAGE}/markers").text)
        assert len(drafts) > 30
        assert "批准勾选的病种" not in head.post(f"{PAGE}/diseases/approve", {"rows": drafts}).text
        assert head.post(f"{PAGE}/diseases/approve", {"rows": drafts[:1]}).status_code == 409
        assert desk.get(f"{PAGE}/check?from=x&to=2026-99-01").status_code == 200
        site.close()
