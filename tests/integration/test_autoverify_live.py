"""What rules do with the laboratory's own tubes: pass, hold, stand back, stop; and how a rule set comes to do it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cloud.app import load_slices
from cloud.kit import clock, db
from cloud.kit.audit import AuditEntry
from cloud.kit.errors import Conflict, Forbidden, Invalid
from cloud.kit.ids import new_id
from cloud.lis.authority.model import AuthorityPolicy
from cloud.lis.autoverify import backtesting, command, drift, live, rulesets, starting, stopping
from cloud.lis.autoverify.model import AutoDay, AutoDecision, AutoFacts, Backtest, RuleSetState, RuleSetVersion
from cloud.lis.catalog.model import Test
from cloud.lis.reports import service as reports
from cloud.lis.reports.model import Report, ReportVersion
from cloud.lis.results import review, sheets
from cloud.lis.results.model import InstrumentNotice, Result, ResultSheet, ResultState
from cloud.lis.results.release import set_two_persons
from cloud.lis.results.service import ingest
from cloud.lis.results.wording import reason_text
from cloud.lis.specimens import concession
from cloud.lis.specimens.model import Specimen
from cloud.lis.verification import soundness
from cloud.lis.verification.deciding import decide
from cloud.lis.verification.facts import from_json
from cloud.lis.verification.ruleset import Rule, Scope
from cloud.staff.roles import permissions_of
from tests.support.bench import Bench, Technologist, observed, pathologist, set_up, technician
from tests.support.databases import DatabaseServer, cloud_on

pytestmark = pytest.mark.req("LIS-6")

CODES = ("WBC", "HGB", "PLT")
NORMAL = {"WBC": "6.2", "HGB": "130", "PLT": "210"}


@dataclass(slots=True)
class Lab:
    """A bench with an editor and a head."""

    bench: Bench
    editor: Technologist = field(
        default_factory=lambda: Technologist("组长", frozenset({"catalog.edit", "rule.approve"}))
    )
    head: Technologist = field(
        default_factory=lambda: Technologist(
            "主任", frozenset({"catalog.edit", "catalog.approve", "rule.approve", "result.release", "result.review"})
        )
    )

    @property
    def session(self) -> Session:
        return self.bench.session

    def draft(self, *given: Rule, code: str = "hem") -> RuleSetVersion:
        made = rulesets.create(self.session, by=self.editor, code=code, name="血液", sections=["hematology"])
        for each in (Rule("", "enable", scope=Scope(tests=CODES), source="t"), *given):
            rulesets.put_rule(self.session, made.id, by=self.editor, revision=made.revision, rule=each)
        return made

    def approved(self, *given: Rule, code: str = "hem") -> RuleSetVersion:
        """Live now, past the test on history."""
        made = self.draft(*given, code=code)
        test = Backtest(
            rule_set_id=made.id, revision=made.revision, since=clock.today(), until=clock.today(), most=1,
            asked_at=clock.now(), asked_by_name="t", rules=[],
        )  # fmt: skip
        self.session.add(test)
        self.session.flush()
        assert rulesets.tested(self.session, made.id, revision=made.revision, backtest_id=test.id)
        return rulesets.approve(
            self.session, made.id, by=self.head, revision=made.revision, live_from=clock.now(), reason="验证通过"
        )

    def tube(self, **values: str) -> Specimen:
        """A tube whose values have come."""
        specimen = self.bench.specimen(*CODES)
        given = {**NORMAL, **values}
        ingest(self.session, self.bench.source(), [observed(specimen, code, given[code]) for code in CODES])
        return specimen

    def considered(self, specimen: Specimen) -> AutoDecision:
        return live.consider(self.session, specimen.id)[0]

    def results(self, specimen: Specimen) -> Sequence[Result]:
        found = select(Result).where(Result.specimen_id == specimen.id, Result.chosen).order_by(Result.ordinal)
        return self.session.scalars(found.execution_options(populate_existing=True)).all()


@pytest.fixture(scope="module")
def site(database_server: DatabaseServer) -> Iterator[uuid.UUID]:
    """A laboratory that every test finds as it was; gives its patient."""
    load_slices()
    with pytest.MonkeyPatch.context() as patch, database_server.clone() as url, cloud_on(url, patch):
        with db.begin() as session:
            person_id = set_up(session).person_id
        yield person_id


@pytest.fixture
def lab(site: uuid.UUID) -> Iterator[Lab]:
    """What a test does is taken back."""
    with db.new_session() as session:
        yield Lab(bench_of(session, site))
        session.rollback()


def bench_of(session: Session, person_id: uuid.UUID) -> Bench:
    return Bench(session, person_id, {each.code: each for each in session.scalars(select(Test))})


@pytest.fixture(scope="module")
def at_work(site: uuid.UUID) -> uuid.UUID:
    """The same laboratory with a rule set live for everybody: for what two people do at once."""
    with db.begin() as session:
        Lab(bench_of(session, site)).approved(RANGE)
    return site


RANGE = Rule("", "range", scope=Scope(tests=CODES), params={"basis": "reference"}, unknown="hold", source="t")


def test_a_normal_tube_is_released_in_the_name_of_the_rule_sets_version(lab: Lab) -> None:
    rules = lab.approved(RANGE)
    specimen = lab.tube()
    assert lab.considered(specimen).action == "released"
    assert {each.state for each in lab.results(specimen)} == {ResultState.RELEASED}
    [result, *_] = lab.results(specimen)
    assert result.released_by_name == result.reviewed_by_name == "自动审核·血液 v1"
    assert result.released_by == rules.id
    assert result.decision["versions"]["auto"]["version"] == 1
    version = lab.session.scalars(select(ReportVersion)).one()
    assert version.released_by_name == "自动审核·血液 v1"
    entry = lab.session.scalars(select(AuditEntry).where(AuditEntry.action == "report.release")).one()
    assert entry.actor == f"rules:{rules.id}"


def test_a_held_tube_says_why_on_the_value_and_nothing_is_released(lab: Lab) -> None:
    own = Rule("", "plausible", scope=Scope(tests=("HGB",)), params={"high": Decimal(120)}, source="t")
    lab.approved(own)
    specimen = lab.tube()
    before = sheets.version_of(lab.session, specimen.id)
    decided = lab.considered(specimen)
    assert (decided.passed, decided.action) == (False, "none")
    assert {each.state for each in lab.results(specimen)} == {ResultState.RECEIVED}
    held = [each for each in lab.results(specimen) if each.held]
    assert len(held) == 1
    assert "130 超出可能的范围" in reason_text(held[0].decision["reasons"][-1])
    assert sheets.version_of(lab.session, specimen.id) == before + 1
    assert live.consider(lab.session, specimen.id) == []


def test_where_the_set_says_so_what_passed_is_reviewed_and_the_rest_waits(lab: Lab) -> None:
    own = Rule("", "plausible", scope=Scope(tests=("HGB",)), params={"high": Decimal(120)}, source="t")
    lab.approved(own).act = "partial"
    specimen = lab.tube()
    decided = lab.considered(specimen)
    assert (decided.passed, decided.action, decided.refusal) == (False, "partial", None)
    said = {result.test_id: (result.state, result.held) for result in lab.results(specimen)}
    tests = {each.code: each.id for each in lab.session.scalars(select(Test))}
    assert said[tests["HGB"]] == (ResultState.RECEIVED, True)
    assert said[tests["WBC"]] == said[tests["PLT"]] == (ResultState.REVIEWED, False)
    assert lab.session.scalars(select(Report)).all() == [], "nothing is released without the rest"
    assert live.consider(lab.session, specimen.id) == []


def test_a_set_that_releases_in_parts_releases_a_whole_pass_and_reviews_nothing_of_another_persons_tube(
    lab: Lab,
) -> None:
    rules = lab.approved(RANGE)
    rules.act = "partial"
    assert lab.considered(lab.tube()).action == "released"
    concession_tube = lab.tube()
    concession.concede(
        lab.session, concession_tube.barcode, by="staff:x", reason_code="haemolysed", agreed_with="张医生"
    )
    decided = lab.considered(concession_tube)
    assert (decided.passed, decided.action) == (False, "none"), "what concerns the whole tube lets no test pass alone"
    assert {each.state for each in lab.results(concession_tube)} == {ResultState.RECEIVED}


def test_a_critical_value_never_passes(lab: Lab) -> None:
    lab.approved()
    specimen = lab.tube(PLT="20")
    assert not lab.considered(specimen).passed
    assert lab.session.scalars(select(Report)).all() == []


def test_rules_that_nobody_approved_decide_in_shadow_and_change_nothing(lab: Lab) -> None:
    rules = lab.draft(RANGE)
    rulesets.set_shadow(lab.session, rules.id, by=lab.editor, on=True)
    specimen = lab.tube()
    before = [each.decision for each in lab.results(specimen)]
    decided = lab.considered(specimen)
    assert (decided.mode, decided.passed, decided.action) == ("shadow", True, "none")
    assert {each.state for each in lab.results(specimen)} == {ResultState.RECEIVED}
    assert [each.decision for each in lab.results(specimen)] == before


def test_the_same_decision_is_made_again_from_the_store_alone(lab: Lab) -> None:
    rules = lab.approved(RANGE)
    specimen = lab.tube(HGB="100")
    decided = lab.considered(specimen)
    stored = lab.session.get_one(AutoFacts, decided.facts_id)
    lab.session.execute(text("DELETE FROM lab_reference_range"))
    again = decide(from_json(stored.facts), rulesets.compiled(lab.session.get_one(RuleSetVersion, rules.id)))
    assert again.to_json() == decided.outcome


def test_a_draft_that_was_edited_since_still_explains_what_it_decided_before(lab: Lab) -> None:
    rules = lab.draft(RANGE)
    rulesets.set_shadow(lab.session, rules.id, by=lab.editor, on=True)
    decided = lab.considered(lab.tube(HGB="90"))
    rulesets.drop_rule(lab.session, rules.id, by=lab.editor, revision=rules.revision, rule_id="r2")
    facts = from_json(lab.session.get_one(AutoFacts, decided.facts_id).facts)
    assert decide(facts, rulesets.as_decided(lab.session, decided)).to_json() == decided.outcome
    assert decide(facts, rulesets.compiled(rules)).to_json() != decided.outcome


def test_nothing_is_decided_while_a_test_is_missing_and_once_when_it_has_come(lab: Lab) -> None:
    lab.approved(RANGE)
    specimen = lab.bench.specimen(*CODES)
    ingest(lab.session, lab.bench.source(), [observed(specimen, code, NORMAL[code]) for code in ("WBC", "HGB")])
    assert live.consider(lab.session, specimen.id) == []
    ingest(lab.session, lab.bench.source(), [observed(specimen, "PLT", "210")])
    assert lab.considered(specimen).action == "released"
    assert live.consider(lab.session, specimen.id) == []
    assert len(lab.session.scalars(select(ReportVersion)).all()) == 1


def test_a_person_who_was_first_keeps_the_tube(lab: Lab) -> None:
    lab.approved(RANGE)
    specimen = lab.tube()
    review.mark_reviewed(lab.session, specimen.id, by=technician(), version=sheets.version_of(lab.session, specimen.id))
    assert live.consider(lab.session, specimen.id) == []
    assert {each.reviewed_by_name for each in lab.results(specimen)} == {"赵检验"}


def test_a_tube_that_somebody_put_on_hold_is_left_alone(lab: Lab) -> None:
    lab.approved(RANGE)
    specimen = lab.tube()
    sheet = lab.session.get_one(ResultSheet, specimen.id)
    sheet.hold_reason, sheet.hold_by_name = "等临床回复", "赵检验"
    lab.session.flush()
    assert live.consider(lab.session, specimen.id) == []


def test_a_tube_tested_by_concession_is_never_passed(lab: Lab) -> None:
    lab.approved(RANGE)
    specimen = lab.tube()
    concession.concede(
        lab.session, specimen.accession, by="staff:x", reason_code="haemolysed", agreed_with="李医生", note="轻度"
    )
    assert not lab.considered(specimen).passed


def test_an_index_that_the_analyzer_sent_with_the_tube_holds_what_it_disturbs(lab: Lab) -> None:
    lab.approved(
        RANGE, Rule("", "index", scope=Scope(tests=("HGB",)), params={"index": "L", "limit": Decimal(1)}, source="t")
    )
    specimen = lab.tube()
    lab.session.add(
        InstrumentNotice(
            inbox_id=new_id(), ordinal=0, gateway="box-1", link="xn", name="LIP", serum_index="L", value="3",
            specimen_id=specimen.id, received_at=clock.now(),
        )
    )  # fmt: skip
    lab.session.flush()
    decided = lab.considered(specimen)
    assert {code: said["passed"] for code, said in decided.outcome["tests"].items()} == {
        "HGB": False, "PLT": True, "WBC": True,
    }  # fmt: skip


def test_where_persons_need_grants_an_approved_rule_set_needs_none(lab: Lab) -> None:
    for act in ("result.review", "result.release"):
        lab.session.add(
            AuthorityPolicy(
                act=act, enforced=True, set_by="staff:x", set_by_name="主任", reason="授权制", valid_from=clock.now()
            )
        )
    lab.session.flush()
    lab.approved(RANGE)
    assert lab.considered(lab.tube()).action == "released"


def test_where_two_persons_are_wanted_the_rules_are_the_first_and_a_person_releases(lab: Lab) -> None:
    set_two_persons(lab.session, section="hematology", value=True, by="staff:x", reason="规定")
    lab.approved(RANGE)
    specimen = lab.tube()
    assert lab.considered(specimen).action == "reviewed"
    assert {each.state for each in lab.results(specimen)} == {ResultState.REVIEWED}
    report = reports.release(
        lab.session, specimen.id, by=pathologist(), version=sheets.version_of(lab.session, specimen.id)
    )
    assert report.version == 1


@pytest.mark.parametrize("scope", ["all", "test:HGB", "instrument:XN1"])
def test_a_stop_holds_the_next_tube_and_is_audited_and_the_head_resumes(lab: Lab, scope: str) -> None:
    lab.approved(RANGE)
    stopped = stopping.stop(lab.session, by=pathologist(), scope=scope, reason="质控异常")
    assert not lab.considered(lab.tube()).passed
    with pytest.raises(Conflict):
        stopping.stop(lab.session, by=pathologist(), scope=scope, reason="再停一次")
    with pytest.raises(Forbidden):
        stopping.resume(lab.session, stopped, by=pathologist(), reason="好了")
    stopping.resume(lab.session, stopped, by=lab.head, reason="质控已恢复")
    assert lab.considered(lab.tube()).passed
    actions = lab.session.scalars(select(AuditEntry.action).where(AuditEntry.kind == "auto_stop")).all()
    assert sorted(actions) == ["autoverify.resume", "autoverify.stop"]


def test_who_may_not_release_may_not_stop_and_a_stop_needs_a_reason(lab: Lab) -> None:
    with pytest.raises(Forbidden):
        stopping.stop(lab.session, by=technician(), scope="all", reason="x")
    with pytest.raises(Invalid):
        stopping.stop(lab.session, by=pathologist(), scope="all", reason=" ")


def test_rules_go_live_only_tested_and_by_another_person_than_who_wrote_them(lab: Lab) -> None:
    rules = lab.draft(RANGE)
    said: dict[str, Any] = {"live_from": clock.now(), "reason": "可以"}
    with pytest.raises(Conflict):
        rulesets.approve(lab.session, rules.id, by=lab.head, revision=rules.revision, **said)
    rules.move_to(RuleSetState.TESTED)
    with pytest.raises(Forbidden):
        rulesets.approve(lab.session, rules.id, by=lab.editor, revision=rules.revision, **said)
    with pytest.raises(Conflict):
        rulesets.approve(lab.session, rules.id, by=lab.head, revision=rules.revision - 1, **said)
    approved = rulesets.approve(lab.session, rules.id, by=lab.head, revision=rules.revision, **said)
    with pytest.raises(Conflict):
        rulesets.put_rule(lab.session, approved.id, by=lab.editor, revision=approved.revision, rule=RANGE)
    assert rulesets.live(lab.session, clock.now()) == [approved]


def test_a_section_head_approves_where_granted_for_the_tests_that_the_rules_name(lab: Lab) -> None:
    rules = lab.draft(RANGE)
    test = Backtest(
        rule_set_id=rules.id, revision=rules.revision, since=clock.today(), until=clock.today(), most=1,
        asked_at=clock.now(), asked_by_name="t", rules=[],
    )  # fmt: skip
    lab.session.add(test)
    lab.session.flush()
    rulesets.tested(lab.session, rules.id, revision=rules.revision, backtest_id=test.id)
    head = Technologist("何组长", permissions_of(["section_head"]))
    assert rulesets.named_tests(rules) == sorted(CODES)
    lab.session.add(
        AuthorityPolicy(
            act="rule.approve", enforced=True, set_by="staff:x", set_by_name="t", reason="t", valid_from=clock.now()
        )
    )
    lab.session.flush()
    said: dict[str, Any] = {"revision": rules.revision, "live_from": clock.now(), "reason": "验证通过"}
    with pytest.raises(Forbidden, match="authority"):
        rulesets.approve(lab.session, rules.id, by=head, **said)
    lab.session.execute(text("DELETE FROM lab_authority_policy"))
    with pytest.raises(Forbidden, match="rules"):
        rulesets.approve(lab.session, rules.id, by=Technologist("钱审核", permissions_of(["reviewer"])), **said)
    assert rulesets.approve(lab.session, rules.id, by=head, **said).approved_by_name == "何组长"


def test_the_database_itself_refuses_an_editor_as_approver(lab: Lab) -> None:
    rules = lab.approved(RANGE)
    lab.session.flush()
    with pytest.raises(IntegrityError), lab.session.begin_nested():
        lab.session.execute(text("UPDATE lab_rule_set SET approved_by = :by"), {"by": lab.editor.id})
    assert rules.approved_by == lab.head.id


def test_an_edit_takes_the_test_on_history_back(lab: Lab) -> None:
    rules = lab.draft(RANGE)
    rules.move_to(RuleSetState.TESTED)
    rulesets.drop_rule(lab.session, rules.id, by=lab.editor, revision=rules.revision, rule_id="r2")
    assert rules.state == RuleSetState.DRAFT
    with pytest.raises(Conflict):
        rulesets.drop_rule(lab.session, rules.id, by=lab.editor, revision=rules.revision - 1, rule_id="r1")


def test_a_version_of_tomorrow_is_not_live_today_and_replaces_the_older_one_then(lab: Lab) -> None:
    first = lab.approved(RANGE)
    second = rulesets.next_version(lab.session, first.id, by=lab.editor)
    second.move_to(RuleSetState.TESTED)
    tomorrow = clock.now() + timedelta(days=1)
    rulesets.approve(lab.session, second.id, by=lab.head, revision=second.revision, live_from=tomorrow, reason="明天起")
    assert [each.version for each in rulesets.live(lab.session, clock.now())] == [1]
    assert [each.version for each in rulesets.live(lab.session, tomorrow + timedelta(seconds=1))] == [2]


def test_a_retired_set_decides_nothing_and_its_older_version_does_not_come_back(lab: Lab) -> None:
    rules = lab.approved(RANGE)
    rulesets.retire(lab.session, rules.id, by=lab.head, reason="规则有误")
    assert live.consider(lab.session, lab.tube().id) == []


def test_a_section_is_decided_by_one_set(lab: Lab) -> None:
    lab.approved(RANGE)
    with pytest.raises(Conflict):
        lab.approved(RANGE, code="other")


def test_a_faulty_set_is_not_marked_tested(lab: Lab) -> None:
    never = {"terms": (("HGB", Decimal(1)),), "op": ">", "value": Decimal(200)}, {
        "terms": (("HGB", Decimal(1)),), "op": "<", "value": Decimal(100),
    }  # fmt: skip
    rules = lab.draft(Rule("", "relation", params={"conditions": never}, source="t"))
    assert not rulesets.tested(lab.session, rules.id, revision=rules.revision, backtest_id=rules.id)


def test_a_back_test_counts_what_people_did_beside_what_the_rules_would_do(lab: Lab) -> None:
    rules = lab.draft(RANGE)
    accepted, wrong, missed = lab.tube(), lab.tube(HGB="90"), lab.tube()
    for specimen in (accepted, wrong, missed):
        if specimen is not accepted:
            again = observed(specimen, "HGB", "131", observed_at="2026-11-23T10:00:00")
            ingest(lab.session, lab.bench.source(), [again])
        version = sheets.version_of(lab.session, specimen.id)
        review.mark_reviewed(lab.session, specimen.id, by=pathologist(), version=version)
        reports.release(lab.session, specimen.id, by=pathologist(), version=version + 1)
    asked = backtesting.ask(lab.session, rules.id, by=lab.editor, since=clock.today(), until=clock.today(), most=50)
    done = backtesting.run(lab.session, asked.id)
    confusion = done.outcome["confusion"]
    assert (confusion["tp"], confusion["tn"], confusion["fp"], confusion["fn"]) == (1, 1, 0, 1)
    assert confusion["sensitivity"] == 50
    assert [each["accession"] for each in done.outcome["missed"]] == [missed.accession]
    assert done.outcome["rules"]["r2"]["hits"] == 1
    assert lab.session.get_one(RuleSetVersion, rules.id).state == RuleSetState.TESTED
    assert backtesting.run(lab.session, asked.id).outcome == done.outcome


def test_the_same_is_printed_from_the_command_line_and_nothing_is_stored(lab: Lab) -> None:
    rules = lab.draft(RANGE)
    specimen = lab.tube(HGB="90")
    version = sheets.version_of(lab.session, specimen.id)
    review.mark_reviewed(lab.session, specimen.id, by=pathologist(), version=version)
    reports.release(lab.session, specimen.id, by=pathologist(), version=version + 1)
    said: list[str] = []
    command.backtest(lab.session, "hem", version=None, days=1, most=10, say=said.append)
    assert "TP 0  TN 0  FP 1  FN 0" in said
    assert lab.session.get_one(RuleSetVersion, rules.id).state == RuleSetState.DRAFT
    with pytest.raises(command.NoRuleSet):
        command.backtest(lab.session, "none", version=None, days=1, most=10, say=said.append)


def test_live_shadow_and_back_test_decide_alike_on_the_same_tube(lab: Lab) -> None:
    own = Rule("", "plausible", scope=Scope(tests=("WBC",)), params={"high": Decimal(5)}, source="t")
    beside = lab.draft(RANGE, own, code="beside")
    rulesets.set_shadow(lab.session, beside.id, by=lab.editor, on=True)
    lab.approved(RANGE, own)
    specimen = lab.tube(HGB="90")
    one, other = live.consider(lab.session, specimen.id)
    assert (one.mode, other.mode) == ("live", "shadow")
    assert one.outcome == other.outcome
    version = sheets.version_of(lab.session, specimen.id)
    review.mark_reviewed(lab.session, specimen.id, by=pathologist(), version=version)
    reports.release(lab.session, specimen.id, by=pathologist(), version=version + 1)
    from cloud.lis.autoverify.gathering import first_facts, rows_of

    again = decide(first_facts(lab.session, rows_of(lab.session, specimen.id)), rulesets.compiled(beside))
    assert again.to_json() == one.outcome


def test_the_days_are_counted_from_the_decisions_as_often_as_one_likes(lab: Lab) -> None:
    lab.approved(RANGE)
    lab.considered(lab.tube())
    lab.considered(lab.tube(HGB="90"))
    drift.count(lab.session, clock.today())
    drift.count(lab.session, clock.today())
    days = {each.test_code: each for each in lab.session.scalars(select(AutoDay))}
    assert (days["HGB"].decided, days["HGB"].passed, days["HGB"].hits) == (2, 1, {"r2": 1})
    assert (days["WBC"].decided, days["WBC"].passed) == (2, 2)


def test_a_day_that_passes_far_fewer_raises_one_alarm_that_somebody_answers(lab: Lab) -> None:
    rules = lab.approved(RANGE)
    today = clock.today()
    for ago in range(1, 15):
        day = AutoDay(rule_set_id=rules.id, mode="live", day=today - timedelta(days=ago), test_code="HGB")
        day.decided, day.passed, day.hits = 100, 80 + ago % 3, {}
        lab.session.add(day)
    bad = AutoDay(rule_set_id=rules.id, mode="live", day=today, test_code="HGB", decided=100, passed=50, hits={})
    lab.session.add(bad)
    lab.session.flush()
    [alarm] = drift.compare(lab.session, today)
    assert alarm.rate == 0.5
    assert alarm.low > 0.5
    assert drift.compare(lab.session, today) == []
    with pytest.raises(Forbidden):
        drift.acknowledge(lab.session, alarm.id, by=technician(), reason="x")
    drift.acknowledge(lab.session, alarm.id, by=pathologist(), reason="更换试剂批号")
    with pytest.raises(Conflict):
        drift.acknowledge(lab.session, alarm.id, by=pathologist(), reason="再来")
    assert drift.open_alarms(lab.session) == []


def test_the_starting_sets_are_sound_have_sources_and_run_in_shadow_only(lab: Lab) -> None:
    assert starting.load(lab.session) == 4
    assert starting.load(lab.session) == 0
    for rules in rulesets.versions(lab.session):
        assert rules.state == RuleSetState.DRAFT
        assert rules.shadow
        assert all(each["source"] for each in rules.rules)
        assert soundness.blocking(rulesets.problems(lab.session, rules)) == []
    assert rulesets.live(lab.session, clock.now()) == []
    assert {each.mode for each in live.consider(lab.session, lab.tube().id)} == {"shadow"}


def tube_of(person_id: uuid.UUID) -> uuid.UUID:
    with db.begin() as session:
        return Lab(bench_of(session, person_id)).tube().id


def somebody_waits(session: Session, thread: threading.Thread) -> None:
    """Until the other transaction stands at a lock of this one."""
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))")
    for _ in range(3000):
        if session.scalar(waits):
            return
        thread.join(0.01)
    raise AssertionError("the other one does not wait")


def test_a_stop_waits_for_a_decision_under_way_and_the_next_one_sees_it(at_work: uuid.UUID) -> None:
    first, second = tube_of(at_work), tube_of(at_work)
    stopped: list[uuid.UUID] = []

    def stop() -> None:
        with db.begin() as other:
            stopped.append(stopping.stop(other, by=pathologist(), scope="test:PLT", reason="停"))

    with db.begin() as session:
        assert live.consider(session, first)[0].action == "released"
        thread = threading.Thread(target=stop)
        thread.start()
        somebody_waits(session, thread)
        assert stopped == []
    thread.join()
    with db.begin() as session:
        assert not live.consider(session, second)[0].passed
        head = Technologist("主任", frozenset({"catalog.approve"}))
        stopping.resume(session, stopped[0], by=head, reason="好了")


def test_a_person_and_the_rules_at_once_have_one_outcome(at_work: uuid.UUID) -> None:
    specimen_id = tube_of(at_work)
    refused: list[str] = []
    with db.begin() as session:
        version = sheets.version_of(session, specimen_id)

    def person() -> None:
        try:
            with db.begin() as other:
                review.mark_reviewed(other, specimen_id, by=technician(), version=version)
        except Conflict as refusal:
            refused.append(refusal.code)

    with db.begin() as session:
        live.consider(session, specimen_id)
        thread = threading.Thread(target=person)
        thread.start()
        somebody_waits(session, thread)
    thread.join()
    assert refused == ["sheet.stale"]
    with db.begin() as session:
        names = set(session.scalars(select(Result.reviewed_by_name).where(Result.specimen_id == specimen_id)))
        assert names == {"自动审核·血液 v1"}


def test_the_rules_find_nothing_to_do_when_a_person_acts_first_at_the_same_moment(at_work: uuid.UUID) -> None:
    specimen_id = tube_of(at_work)
    decided: list[int] = []

    def rules() -> None:
        with db.begin() as other:
            decided.append(len(live.consider(other, specimen_id)))

    with db.begin() as session:
        version = sheets.version_of(session, specimen_id)
        review.mark_reviewed(session, specimen_id, by=technician(), version=version)
        thread = threading.Thread(target=rules)
        thread.start()
        somebody_waits(session, thread)
    thread.join()
    assert decided == [0]
    with db.begin() as session:
        names = set(session.scalars(select(Result.reviewed_by_name).where(Result.specimen_id == specimen_id)))
        assert names == {"赵检验"}
