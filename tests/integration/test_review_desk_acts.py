"""Hold, send back, second person, authority at the review, copies of old versions, what stands behind a value."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from pypdf import PdfReader
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from cloud.kit import clock, db
from cloud.kit.errors import Conflict, Forbidden, Invalid
from cloud.lis.authority import service as authority
from cloud.lis.authority.model import AuthorityPolicy
from cloud.lis.critical import service as critical
from cloud.lis.reports import batch, comparing
from cloud.lis.reports import service as reports
from cloud.lis.reports.amending import Correction, amend
from cloud.lis.reports.model import Report
from cloud.lis.results import guards, holding, queue, review, sheets
from cloud.lis.results.detail import detail
from cloud.lis.results.model import Result, ResultState
from cloud.lis.results.service import ingest
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject
from cloud.staff.service import create_account
from tests.support.bench import Bench, Technologist, observed, pathologist, set_up, technician
from tests.support.critical_cases import open_cases

EVERYBODY = Subject("staff:test", sees_all=True)


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    with db.begin() as session:
        yield session


@pytest.fixture
def bench(session: Session) -> Bench:
    return set_up(session)


def measured(bench: Bench, value: str = "6.2") -> Specimen:
    specimen = bench.specimen("WBC")
    ingest(bench.session, bench.source(), [observed(specimen, "WBC", value)])
    return specimen


def version(bench: Bench, specimen: Specimen) -> int:
    return sheets.version_of(bench.session, specimen.id)


def reviewed(bench: Bench, value: str = "6.2") -> Specimen:
    specimen = measured(bench, value)
    review.mark_reviewed(bench.session, specimen.id, by=technician(), version=1)
    return specimen


def released(bench: Bench, value: str = "6.2") -> tuple[Specimen, Report]:
    specimen = reviewed(bench, value)
    return specimen, reports.release(bench.session, specimen.id, by=pathologist(), version=2)


def chosen(bench: Bench, specimen: Specimen) -> Result:
    return bench.session.scalars(select(Result).filter_by(specimen_id=specimen.id, chosen=True)).one()


@pytest.mark.req("LIS-5")
def test_only_mine_shows_what_i_typed_reviewed_or_put_on_hold(bench: Bench) -> None:
    mine, other = technician(), technician()
    seen, strange = reviewed(bench), reviewed(bench)
    for specimen, who in ((seen, mine), (strange, other)):
        result = chosen(bench, specimen)
        now = version(bench, specimen)
        review.take_back(bench.session, specimen.id, by=who, version=now, result_id=result.id, reason="重看")
        review.mark_reviewed(bench.session, specimen.id, by=who, version=now + 1)
    shelved = reviewed(bench)
    holding.hold(bench.session, shelved.id, by=mine, version=version(bench, shelved), reason="等临床回话")

    def of(who: Technologist) -> set[uuid.UUID]:
        return {each.specimen_id for each in queue.look(bench.session, EVERYBODY, queue.Wanted(mine=who.id)).rows}

    assert of(mine) == {seen.id, shelved.id}
    assert of(other) == {strange.id}
    assert of(pathologist()) == set()


@pytest.mark.req("LIS-5", "LIS-11", "SEC-1")
def test_where_grants_count_a_critical_value_is_confirmed_and_told_only_by_who_has_one(bench: Bench) -> None:
    specimen = reviewed(bench, "0.5")
    bench.session.execute(update(Result).where(Result.specimen_id == specimen.id).values(critical=True, flag="LL"))
    bench.session.add(
        AuthorityPolicy(
            act="critical.confirm", enforced=True, set_by="x", set_by_name="主任", reason="制度", valid_from=clock.now()
        )
    )
    bench.session.flush()

    def release() -> Report:
        return reports.release(bench.session, specimen.id, by=pathologist(), version=2, confirm_critical=True)

    with pytest.raises(Forbidden, match="authority"), bench.session.begin_nested():
        release()
    bench.session.execute(delete(AuthorityPolicy))
    release()
    [case] = open_cases(bench.session)
    bench.session.add(
        AuthorityPolicy(
            act="critical.confirm", enforced=True, set_by="x", set_by_name="主任", reason="制度", valid_from=clock.now()
        )
    )
    bench.session.flush()
    with pytest.raises(Forbidden, match="authority"):
        critical.record_contact(bench.session, case.id, by=technician(), told="护士", outcome="read_back")
    bench.session.expire_all()
    assert [each.id for each in open_cases(bench.session)] == [case.id], "it is still to be told"


@pytest.mark.req("LIS-5")
def test_what_is_on_hold_is_neither_reviewed_nor_released_until_the_hold_is_lifted(bench: Bench) -> None:
    specimen, who = reviewed(bench), technician()
    with pytest.raises(Invalid):
        holding.hold(bench.session, specimen.id, by=who, version=2, reason=" ")
    holding.hold(bench.session, specimen.id, by=who, version=version(bench, specimen), reason="等临床回话")
    look = queue.look(bench.session, EVERYBODY, queue.Wanted(stage="hold"))
    assert [(each.specimen_id, each.hold_reason) for each in look.rows] == [(specimen.id, "等临床回话")]
    assert look.counts == {"review": 0, "release": 0, "hold": 1, "": 1}
    for act in (review.mark_reviewed, reports.release):
        with pytest.raises(Conflict) as refused:
            act(bench.session, specimen.id, by=pathologist(), version=version(bench, specimen))
        assert refused.value.code == "sheet.held"
    with pytest.raises(Conflict):
        holding.hold(bench.session, specimen.id, by=who, version=version(bench, specimen), reason="又一次")
    holding.lift(bench.session, specimen.id, by=who, version=version(bench, specimen))
    with pytest.raises(Conflict):
        holding.lift(bench.session, specimen.id, by=who, version=version(bench, specimen))
    assert reports.release(bench.session, specimen.id, by=pathologist(), version=version(bench, specimen))


@pytest.mark.req("LIS-5")
def test_the_medical_reviewer_sends_a_specimen_back_with_a_reason(bench: Bench) -> None:
    specimen = reviewed(bench)
    with pytest.raises(Forbidden):
        review.send_back(bench.session, specimen.id, by=technician(), version=2, reason="复查")
    with pytest.raises(Invalid):
        review.send_back(bench.session, specimen.id, by=pathologist(), version=2, reason="")
    review.send_back(bench.session, specimen.id, by=pathologist(), version=version(bench, specimen), reason="复查涂片")
    assert chosen(bench, specimen).state == ResultState.RECEIVED
    with pytest.raises(Conflict):
        review.send_back(bench.session, specimen.id, by=pathologist(), version=version(bench, specimen), reason="x")


@pytest.mark.req("LIS-5", "LIS-7")
def test_where_two_persons_are_wanted_for_a_test_one_alone_does_not_amend_it(bench: Bench) -> None:
    guards.set_two_persons(bench.session, section="", test_code="WBC", value=True, by="staff:d", reason="制度")
    specimen, report = released(bench)
    wbc, alone, other = bench.tests["WBC"].id, pathologist(), technician()
    with pytest.raises(Forbidden) as refused:
        amend(bench.session, report.id, by=alone, reason="复核", corrections=[Correction(wbc, value="6.9")])
    assert refused.value.code == "amend.second_person"
    bench.session.expire_all()
    typed = review.enter(
        bench.session, specimen.id, by=other, version=version(bench, specimen), test_id=wbc, value="6.9", reason="复核"
    )
    assert (typed.after_release, typed.chosen) == (True, False)
    correction = Correction(wbc, result_id=typed.id)
    assert amend(bench.session, report.id, by=alone, reason="复核", corrections=[correction]).version == 2


@pytest.mark.req("LIS-5", "LIS-7")
def test_a_late_value_is_seconded_by_another_person_before_it_is_taken(bench: Bench) -> None:
    guards.set_two_persons(bench.session, section="hematology", value=True, by="staff:d", reason="制度")
    specimen, report = released(bench)
    late = observed(specimen, "WBC", "7.7", observed_at="2026-11-23T11:00:00")
    ingest(bench.session, bench.source(), [late])
    row = bench.session.scalars(select(Result).filter_by(specimen_id=specimen.id, after_release=True)).one()
    corrections = [Correction(bench.tests["WBC"].id, result_id=row.id)]
    alone = pathologist()
    with pytest.raises(Forbidden):
        amend(bench.session, report.id, by=alone, reason="复检", corrections=corrections)
    review.second(bench.session, specimen.id, by=technician(), version=version(bench, specimen), result_id=row.id)
    with pytest.raises(Conflict):
        review.second(bench.session, specimen.id, by=technician(), version=version(bench, specimen), result_id=row.id)
    assert amend(bench.session, report.id, by=alone, reason="复检", corrections=corrections).version == 2


@pytest.mark.req("LIS-5")
def test_a_decision_of_two_persons_begins_on_its_day_and_one_on_the_test_rules_first(bench: Bench) -> None:
    tests = [bench.tests["WBC"], bench.tests["HGB"]]
    set_ = guards.set_two_persons
    set_(bench.session, section="hematology", value=True, by="staff:d", reason="制度")
    set_(bench.session, section="", test_code="WBC", value=False, by="staff:d", reason="急诊")
    tomorrow = clock.now() + timedelta(days=1)
    set_(bench.session, section="", test_code="HGB", value=False, by="staff:d", reason="明天起", valid_from=tomorrow)
    assert guards.two_person_tests(bench.session, tests) == {bench.tests["HGB"].id}
    with pytest.raises(Invalid):
        set_(bench.session, section="", test_code="NOSUCH", value=True, by="staff:d", reason="x")


@pytest.mark.req("SEC-1", "LIS-5")
def test_every_act_of_the_review_asks_for_authority_on_its_tests(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # The grants below are not committed: their chain of the trail is this test's own, and a refusal would wait for it.
    monkeypatch.setattr(authority, "_log_refusal", lambda by, act, lacking: None)
    account = create_account(
        bench.session, login="chief", name="钱审核", password="a-long-test-password", roles=["reviewer"]
    )
    chief = Technologist("钱审核", pathologist().permissions, account.id)
    specimen, (_, report) = reviewed(bench), released(bench)
    for act in ("result.review", "result.release", "result.enter", "report.amend", "report.recall"):
        authority.give(
            bench.session,
            staff_id=account.id,
            acts=[act],
            scope="section",
            targets=["chemistry"],
            valid_from=clock.today(),
            valid_to=None,
            reason="考核",
            by=None,
        )
        authority.set_enforced(bench.session, act=act, value=True, by=None, reason="制度")
    wbc, row = bench.tests["WBC"].id, chosen(bench, specimen)
    seen = {"by": chief, "version": version(bench, specimen)}
    [outlook] = batch.outlook(bench.session, queue.waiting(bench.session, EVERYBODY), by=chief, act="release")
    assert outlook.refusal is not None
    assert outlook.refusal.code == "batch.authority"
    acts = [
        lambda: review.take_back(bench.session, specimen.id, **seen, result_id=row.id, reason="x"),
        lambda: review.request_rerun(bench.session, specimen.id, **seen, result_id=row.id),
        lambda: review.enter(bench.session, specimen.id, **seen, test_id=wbc, value="6", reason="x"),
        lambda: review.send_back(bench.session, specimen.id, **seen, reason="x"),
        lambda: review.judge_again(bench.session, specimen.id, **seen),
        lambda: reports.release(bench.session, specimen.id, **seen),
        lambda: reports.recall(bench.session, report.id, by=chief, reason="x"),
        lambda: amend(bench.session, report.id, by=chief, reason="x", comment="乳糜"),
    ]
    for act_on in acts:
        point = bench.session.begin_nested()
        with pytest.raises(Forbidden) as refused:
            act_on()
        assert refused.value.code == "authority.none"
        point.rollback()


@dataclass(frozen=True)
class Rules(Technologist):
    """A live rule set, which nobody grants anything to."""

    automatic: bool = True


@pytest.mark.req("LIS-6", "SEC-1")
def test_a_live_rule_set_acts_by_its_approval_and_stops_at_a_hold(bench: Bench) -> None:
    account = create_account(
        bench.session, login="chief", name="钱审核", password="a-long-test-password", roles=["reviewer"]
    )
    acts = ["result.review", "result.release", "report.recall"]
    given = {"scope": "all", "valid_from": clock.today(), "valid_to": None, "reason": "考核", "by": None}
    authority.give(bench.session, staff_id=account.id, acts=acts, **given)
    for act in acts:
        authority.set_enforced(bench.session, act=act, value=True, by=None, reason="制度")
    rules = Rules("自动审核·血常规 v1", pathologist().permissions)
    held, free = measured(bench), measured(bench)
    holding.hold(
        bench.session, held.id, by=Technologist("钱审核", pathologist().permissions, account.id), version=1, reason="x"
    )
    with pytest.raises(Conflict) as refused:
        review.mark_reviewed(bench.session, held.id, by=rules, version=2)
    assert refused.value.code == "sheet.held"
    review.mark_reviewed(bench.session, free.id, by=rules, version=1)
    report = reports.release(bench.session, free.id, by=rules, version=2)
    with pytest.raises(Forbidden):  # taking back is a person's
        reports.recall(bench.session, report.id, by=rules, reason="x")


@pytest.mark.req("LIS-7")
def test_a_copy_of_an_old_version_says_so_and_the_archived_one_stays_as_it_was(bench: Bench) -> None:
    _, report = released(bench)
    archived = reports.pdf(bench.session, report.id, 1)
    assert reports.copy(bench.session, report.id, by=technician()).data == archived
    correction = Correction(bench.tests["WBC"].id, value="6.9")
    amend(bench.session, report.id, by=pathologist(), reason="复核", corrections=[correction], version=1)
    old = reports.copy(bench.session, report.id, by=technician(), version=1)
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(old.data)).pages)
    assert "已被" in text
    assert "第 2 版取代" in text
    assert reports.pdf(bench.session, report.id, 1) == archived
    assert reports.copy(bench.session, report.id, by=technician()).notice == ""
    assert [each.version for each in reports.copies(bench.session, report.id)] == [2, 1, 1]
    reports.recall(bench.session, report.id, by=pathologist(), reason="标本错误", version=2)
    assert "召回" in reports.copy(bench.session, report.id, by=technician()).notice
    before, after = (reports.released(bench.session, report.id, number) for number in (1, 2))
    assert [(line.name, line.changed) for line in comparing.lines(before, after)] == [("白细胞计数", True)]


@pytest.mark.req("LIS-5")
def test_behind_a_value_stand_its_course_and_the_newest_controls_of_its_channel(bench: Bench) -> None:
    released(bench, "5.1")
    released(bench, "5.6")
    specimen = measured(bench, "6.2")
    found = detail(bench.session, specimen, bench.tests["WBC"].id)
    assert [each.value for each in found.previous] == ["5.6", "5.1"]
    assert found.chart is not None
    assert str(found.chart).count("<circle") == 3
    assert found.instrument is not None
    assert (found.controls, found.controls_at) == ((), None)
