"""The one decision: may a person be spared from looking at these results? Used alike live, in shadow and on history.

Pure: the same facts and the same rule set give the same decision, whoever asks and whenever. Rules only hold; what no
rule of kind `enable` names is held too. Guards stand before all rules and cannot be switched off by any: a critical
value, a value that its own verdict holds, a draft range in production, one that a person typed or wants measured again,
QC out of control, a concession specimen, and everything that somebody stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cloud.lis.verification.checks import BY_TEST, HOLD, UNKNOWN, Finding, another_person, relation
from cloud.lis.verification.facts import Facts, TestFact
from cloud.lis.verification.ruleset import Rule, RuleSet

ENGINE = "2"
"""Raised with every change of what this module or `checks` decides; stored with each decision."""


@dataclass(frozen=True, slots=True)
class TestDecision:
    """One test: `findings` of every guard that held and every rule that spoke about it."""

    __test__ = False  # not a test of pytest's

    code: str
    passed: bool
    findings: tuple[Finding, ...]

    @property
    def held_by(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.outcome == HOLD)

    def to_json(self) -> dict[str, Any]:
        return {"passed": self.passed, "findings": [each.to_json() for each in self.findings]}


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rule set says of a specimen. `passed`: every ordered test of its sections is there and passed."""

    rule_set: str
    version: int
    passed: bool
    tests: tuple[TestDecision, ...]
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        tests = {each.code: each.to_json() for each in self.tests}
        return {"engine": ENGINE, "passed": self.passed, "missing": list(self.missing), "tests": tests}


def decide(facts: Facts, rule_set: RuleSet) -> Decision:
    """Pass or hold every test of the rule set's sections, with the finding of every rule."""
    mine = [each for each in facts.tests if rule_set.decides(each)]
    together = _together(facts, rule_set, mine)
    decided = tuple(_decide_test(facts, rule_set, each, together.get(each.code, ())) for each in mine)
    passed = bool(decided) and not facts.missing and all(each.passed for each in decided)
    return Decision(rule_set.id, rule_set.version, passed, decided, facts.missing)


def _decide_test(facts: Facts, rule_set: RuleSet, test: TestFact, shared: Iterable[Finding]) -> TestDecision:
    findings = list(_guards(facts, test))
    enabled = False
    for rule in rule_set.rules_for(test):
        if not rule.scope.takes(facts):
            continue
        if rule.kind == "enable":
            enabled = True
            continue
        check = BY_TEST.get(rule.kind)
        if check is None or rule.whole:
            continue
        findings.append(_finding(rule, facts, test))
    findings.extend(shared)
    if not enabled:
        findings.append(Finding("", "not_enabled", HOLD))
    return TestDecision(test.code, all(each.outcome != HOLD for each in findings), tuple(findings))


def _finding(rule: Rule, facts: Facts, test: TestFact) -> Finding:
    outcome, values = BY_TEST[rule.kind](rule, facts, test)
    return _settled(rule, Finding(rule.id, rule.kind, outcome, values))


def _settled(rule: Rule, found: Finding) -> Finding:
    """What the rule's author wants where it cannot be evaluated."""
    if found.outcome == UNKNOWN and rule.unknown == "hold":
        return Finding(found.rule, found.kind, HOLD, found.values)
    return found


def _guards(facts: Facts, test: TestFact) -> Iterable[Finding]:
    def held(kind: str, **values: Any) -> Finding:
        return Finding("", kind, HOLD, values)

    if not test.text:
        yield held("no_value")
    if test.critical:
        yield held("critical", value=test.text)
    if test.holds:
        yield held("verdict", codes=list(test.holds))
    if test.draft and facts.production:
        yield held("draft")
    if test.rerun:
        yield held("rerun")
    if test.typed:
        yield held("typed")
    if test.qc == "out_of_control":
        yield held("qc_out", instrument=test.instrument)
    if facts.concession:
        yield held("concession")
    stopped = {"all", f"test:{test.code}", f"instrument:{test.instrument}"} & set(facts.stops)
    if stopped:
        yield held("stopped", which=sorted(stopped))


def _together(facts: Facts, rule_set: RuleSet, mine: list[TestFact]) -> dict[str, tuple[Finding, ...]]:
    """Findings about several tests or the whole tube, by the test they concern."""
    found: dict[str, list[Finding]] = {}
    codes = [each.code for each in mine]
    for rule in rule_set.rules:
        if not rule.active or not rule.scope.takes(facts):
            continue
        for finding, concerned in _shared(rule, facts, mine):
            everybody = finding.outcome == HOLD and (rule.whole or rule.kind == "wrong_tube")
            for code in codes if everybody else concerned:
                found.setdefault(code, []).append(finding)
    return {code: tuple(each) for code, each in found.items()}


def _shared(rule: Rule, facts: Facts, mine: list[TestFact]) -> Iterable[tuple[Finding, tuple[str, ...]]]:
    if rule.kind == "relation":
        found = relation(rule, facts)
        if found is not None:
            yield found
    elif rule.kind == "wrong_tube":
        concerned = tuple(each.code for each in mine if rule.scope.covers(each))
        if concerned:
            yield _settled(rule, another_person(rule, facts)), concerned
    elif rule.whole and rule.kind in BY_TEST:
        for test in mine:
            if rule.scope.covers(test):
                yield _finding(rule, facts, test), (test.code,)
