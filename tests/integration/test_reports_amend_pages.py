"""Amending a released report and the director's rules, over HTTP: what came later is picked, the phone shows it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import select, text

from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.lis.catalog.model import Test
from cloud.lis.critical.model import CriticalCase
from cloud.lis.reports import service as reports
from cloud.lis.results import review, sheets
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from tests.support.bench import Bench, observed, pathologist, set_up
from tests.support.phones import WANG_ID, Town, register, release_report, town
from tests.support.site import Site, Visitor, hire_cast, running_site
from tests.support.work import work

SETTINGS = "/staff/lis/settings"


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


def released(values: dict[str, str]) -> tuple[Specimen, uuid.UUID]:
    """A specimen's released report."""
    with begin() as session:
        bench = set_up(session)
        specimen = bench.specimen(*values)
        ingest(session, bench.source(), [observed(specimen, code, value) for code, value in values.items()])
        version = sheets.version_of(session, specimen.id)
        review.mark_reviewed(session, specimen.id, by=pathologist(), version=version)
        return specimen, reports.release(session, specimen.id, by=pathologist(), version=version + 1).id


def arrives(specimen: Specimen, code: str, value: str) -> None:
    with begin() as session:
        bench = Bench(session, specimen.person_id, {})
        ingest(session, bench.source(), [observed(specimen, code, value, observed_at="2026-11-23T10:30:00")])


def amended(visitor: Visitor, report: uuid.UUID, changes: dict[str, str], **more: str) -> tuple[int, str]:
    """Fill in the page as it is shown: for each test named, "typed:VALUE", "late", or nothing."""
    path = f"/staff/lis/reports/{report}/amend"
    page = visitor.get(path).text
    tests, uses, values = [], [], []
    for row in re.findall(r"<tr data-test=.*?</tr>", page, re.S):
        wanted = changes.get(re.findall(r'data-test="([^"]+)"', row)[0], "")
        tests.append(re.findall(r'name="test" value="([^"]+)"', row)[0])
        uses.append(re.findall(r'<option value="([0-9a-f-]{36})"', row)[0] if wanted == "late" else wanted[:5])
        values.append(wanted[6:])
    version = re.findall(r'name="version" value="(\d+)"', page)[0]
    form = {"version": version, "test": tests, "use": uses, "value": values, "reason": "复核后更正", **more}
    answer = visitor.post(path, form)
    return answer.status_code, answer.text


@pytest.mark.req("LIS-7", "LIS-16")
def test_a_value_that_came_after_release_is_shown_beside_the_released_one_and_taken(site: Site) -> None:
    specimen, report = released({"HGB": "90", "WBC": "6.2"})
    arrives(specimen, "HGB", "131")
    reviewer = site.staff("reviewer")
    page = reviewer.get(f"/staff/lis/reports/{report}/amend").text
    row = re.findall(r'<tr data-test="HGB".*?</tr>', page, re.S)[0]
    assert "<strong>90</strong>" in row
    assert "131" in row
    status, after = amended(reviewer, report, {"HGB": "late"})
    assert (status, "131" in after, "复核后更正" in after) == (200, True, True)
    old = reviewer.get(f"/staff/lis/reports/{report}?version=1").text
    assert "data-old-version" in old
    assert "131" not in re.findall(r"<tbody>.*?</tbody>", old, re.S)[0]
    assert reviewer.get(f"/staff/lis/reports/{report}/pdf?version=1").content[:5] == b"%PDF-"
    with begin() as session:
        first, second = reports.versions(session, report)
        found = {each.code: (each.value, each.corrected_from) for each in reports.released(session, report).items}
    assert (first.kind, second.kind, second.reason) == ("final", "amended", "复核后更正")
    assert found == {"HGB": ("131", "90"), "WBC": ("6.2", None)}


@pytest.mark.req("LIS-16")
@pytest.mark.parametrize(
    ("changes", "more", "status", "code"),
    [
        ({"WBC": "typed:6.9"}, {"reason": " "}, 422, "amend.reason"),
        ({"WBC": "typed:"}, {}, 422, "amend.nothing"),
        ({}, {}, 422, "amend.unchanged"),
        ({"WBC": "typed:6.9"}, {"version": "7"}, 409, "amend.stale"),
        ({"WBC": "typed:6.9"}, {"value": "6.9"}, 422, "amend.form"),
    ],
)
def test_an_amendment_is_refused_with_the_reason_and_keeps_what_was_typed(
    site: Site, changes: dict[str, str], more: dict[str, str], status: int, code: str
) -> None:
    _, report = released({"WBC": "6.2", "HGB": "130"})
    answered, page = amended(site.staff("reviewer"), report, changes, **more)
    assert answered == status
    assert f'data-code="{code}"' in page
    if code in ("amend.reason", "amend.stale"):
        assert 'value="6.9"' in page
    with begin() as session:
        assert [each.version for each in reports.versions(session, report)] == [1]


@pytest.mark.req("LIS-11", "LIS-16")
def test_a_critical_correction_is_confirmed_and_told_to_the_ward(site: Site) -> None:
    specimen, report = released({"K": "4.4"})
    arrives(specimen, "K", "6.9")
    reviewer = site.staff("reviewer")
    status, page = amended(reviewer, report, {"K": "late"})
    assert (status, 'data-code="release.critical"' in page) == (409, True)
    assert amended(reviewer, report, {"K": "late"}, confirm_critical="true")[0] == 200
    with begin() as session:
        [case] = session.scalars(select(CriticalCase)).all()
    assert (case.report_version, case.values[0]["value"]) == (2, "6.9")


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    ("role", "path"), [("technician", "/staff/lis/reports/{report}/amend"), ("reviewer", SETTINGS)]
)
def test_who_may_not_amend_or_decide_gets_no_page(site: Site, role: str, path: str) -> None:
    _, report = released({"WBC": "6.2"})
    visitor = site.staff(role)
    assert visitor.get(path.format(report=report)).status_code == 403
    forms: dict[str, dict[str, object]] = {
        "technician": {"version": "1", "reason": "x"},
        "reviewer": {"section": "chemistry", "value": "true", "reason": "x"},
    }
    target = path.format(report=report) if role == "technician" else f"{SETTINGS}/two-persons"
    assert visitor.post(target, forms[role]).status_code == 403


@pytest.mark.req("LIS-7")
def test_the_director_wants_two_persons_for_a_section_and_the_reviewer_is_held_to_it(site: Site) -> None:
    with begin() as session:
        bench = set_up(session)
        specimen = bench.specimen("WBC")
        ingest(session, bench.source(), [observed(specimen, "WBC", "6.2")])
        section = session.scalars(select(Test.section).where(Test.code == "WBC")).one()
    director = site.staff("director")
    assert f'data-section="{section}" data-two-persons="no"' in director.get(SETTINGS).text
    form: dict[str, object] = {"section": section, "value": "true", "reason": ""}
    assert director.post(f"{SETTINGS}/two-persons", form).status_code == 422
    shown = director.post(f"{SETTINGS}/two-persons", form | {"reason": "科务会决定"}).text
    assert f'data-section="{section}" data-two-persons="yes"' in shown
    assert "科务会决定" in shown
    reviewer = site.staff("reviewer")
    base = f"/staff/lis/review/{specimen.id}"
    for verb, status in (("review", 200), ("release", 403)):
        version = re.findall(r'data-version="(\d+)"', reviewer.get(base).text)[0]
        assert reviewer.post(f"{base}/{verb}", {"version": version}).status_code == status
    assert director.post(f"{SETTINGS}/two-persons", form | {"section": "astrology", "reason": "x"}).status_code == 422
    single = {"test": "WBC", "value": "true", "day": "2999-01-01", "reason": "x"}
    for wrong in ({"test": "NOSUCH"}, {"day": "gestern"}, {"day": "2001-01-01"}):
        assert director.post(f"{SETTINGS}/two-persons", single | wrong).status_code == 422
    assert 'data-policy-of="WBC"' in director.post(f"{SETTINGS}/two-persons", single).text
    with begin() as session:
        entry = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "review.two_persons").order_by(AuditEntry.at)
        ).first()
    assert entry is not None
    assert (entry.before, entry.after, entry.reason) == ({"two_persons": False}, {"two_persons": True}, "科务会决定")


@pytest.mark.req("REP-1")
def test_the_director_sets_and_lifts_the_limit_of_disclosure(site: Site) -> None:
    director = site.staff("director")
    director.get(SETTINGS)
    shown = director.post(f"{SETTINGS}/disclosure", {"minutes": "90", "reason": "医务处决定"}).text
    assert 'data-limit="90"' in shown
    with begin() as session:
        limit = reports.limits(session).critical_after
    assert limit is not None
    assert limit.total_seconds() == 5400
    for wrong in ("0", "-5", "1.5", "1e3", "99999"):
        assert director.post(f"{SETTINGS}/disclosure", {"minutes": wrong, "reason": "x"}).status_code == 422
    assert 'data-limit=""' in director.post(f"{SETTINGS}/disclosure", {"minutes": "", "reason": "撤销"}).text
    with begin() as session:
        assert reports.limits(session).critical_after is None
        told = session.scalars(select(AuditEntry.after).where(AuditEntry.action == "report.disclosure_limit")).all()
    assert sorted(map(str, told)) == ["{'minutes': 90}", "{'minutes': None}"]


@pytest.fixture
def hospital(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    hire_cast()
    with town(monkeypatch) as made:
        yield made


@pytest.mark.req("REP-1", "LIS-16")
def test_the_phone_shows_the_amended_report(hospital: Town) -> None:
    wang = register("王芳", WANG_ID, "00013800001", mrn="P1")
    phone = hospital.phone("wang")
    phone.sign_in()
    phone.bind("王芳", WANG_ID, "00013800001")
    report = release_report(wang, HGB="90", WBC="6.2")
    assert 'data-value="90"' in phone.reads(report).text
    reviewer = Visitor(hospital.url)
    assert reviewer.sign_in("reviewer").status_code == 200
    assert amended(reviewer, report, {"HGB": "typed:131"})[0] == 200
    reviewer.http.close()
    work("patient", "notify", "lis", "reports")
    page = phone.reads(report).text
    assert 'data-value="131"' in page
    assert 'data-value="6.2"' in page
    with begin() as session:
        assert session.scalar(text("SELECT count(*) FROM lab_report_version")) == 2
