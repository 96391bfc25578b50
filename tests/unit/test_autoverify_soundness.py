"""Faulty rules are found by reading them; the confusion table and the pass rate's chart count as they say."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from cloud.lis.verification.conditions import Unreadable, boxes, condition
from cloud.lis.verification.confusion import Confusion, count
from cloud.lis.verification.fault_words import fault_sentence
from cloud.lis.verification.pass_rate import DayCount, judge
from cloud.lis.verification.ruleset import Rule, RuleSet
from cloud.lis.verification.sentences import condition_sentence
from cloud.lis.verification.soundness import Known, blocking, problems
from tests.support.rulework import rule

pytestmark = pytest.mark.req("LIS-6")

KNOWN = Known({"K": "chemistry", "NA": "chemistry", "TBIL": "chemistry", "DBIL": "chemistry", "HGB": "hematology"})


def found(*given: Rule, sections: tuple[str, ...] = ("chemistry",)) -> dict[str, str]:
    """Problem by rule, of rules that stand beside an enabling and a range rule."""
    base = (rule("enable", "K", "NA", id="on"), rule("range", "K", "NA", id="normal", basis="reference"))
    said = problems(RuleSet("s", "s", 1, (*base, *given), sections), KNOWN)
    assert all(fault_sentence(each, {}) for each in said)
    return {each.rule: each.code for each in said}


def between(code: str, low: str, high: str) -> dict[str, Any]:
    return {"terms": ((code, Decimal(1)),), "op": "inside", "value": Decimal(low), "high": Decimal(high)}


def above(code: str, limit: str) -> dict[str, Any]:
    return {"terms": ((code, Decimal(1)),), "op": ">", "value": Decimal(limit)}


def below(code: str, limit: str) -> dict[str, Any]:
    return {"terms": ((code, Decimal(1)),), "op": "<", "value": Decimal(limit)}


def test_a_sound_set_has_no_problem() -> None:
    assert found(rule("delta", "K", id="d", method="difference", limit=1, hours=24)) == {}


def test_conditions_that_can_never_be_true_together() -> None:
    assert found(rule("relation", id="r", conditions=(above("K", "6"), below("K", "5")))) == {"r": "never_true"}
    assert found(rule("relation", id="r", conditions=(above("K", "5"), below("K", "6")))) == {}
    doubled = {"terms": (("K", Decimal(-2)),), "op": ">", "value": Decimal(-8)}
    assert found(rule("relation", id="r", conditions=(above("K", "6"), doubled))) == {"r": "never_true"}


def test_a_rule_that_never_gets_its_turn() -> None:
    tight = rule("range", "K", "NA", id="tight", basis="limits", low=3, high=6)
    assert found(tight, rule("plausible", "K", id="wide", low=1, high=9)) == {"wide": "covered"}
    assert found(tight, rule("plausible", "K", id="cross", low=1, high=5)) == {}
    delta = {"method": "difference", "hours": 72}
    narrow, wide = rule("delta", "K", id="a", limit=2, **delta), rule("delta", "K", id="b", limit=1, **delta)
    assert found(narrow, wide) == {"a": "covered"}
    only_children = rule("delta", "K", id="b", limit=1, scope={"age_max_days": 365}, **delta)
    assert found(narrow, only_children) == {}


def test_twice_the_same_rule() -> None:
    given = {"low": 1, "high": 9}
    assert found(rule("plausible", "K", id="a", **given), rule("plausible", "K", id="b", **given)) == {"b": "duplicate"}


def test_rules_about_nobody_and_about_tests_that_nothing_enables() -> None:
    nobody = {"departments": ("ICU",), "departments_except": ("ICU", "NK")}
    assert found(rule("exclude", id="x", scope=nobody)) == {"x": "nobody"}
    assert found(rule("plausible", "TBIL", id="x", low=1)) == {"x": "idle"}
    assert found(rule("plausible", "WHAT", id="x", low=1)) == {"x": "unknown_test"}


def test_a_test_that_nothing_can_pass() -> None:
    assert found(rule("exclude", "K", id="x")) == {"x": "always_excluded"}
    low, high = rule("plausible", "K", id="a", high=3), rule("range", "K", id="b", basis="limits", low=4)
    assert found(low, high) == {"b": "nothing_passes"}


def test_a_test_that_is_enabled_and_that_nothing_checks_is_told_but_does_not_block() -> None:
    said = problems(RuleSet("s", "s", 1, (rule("enable", "TBIL", id="on"),)), KNOWN)
    assert [each.code for each in said] == ["unchecked"]
    assert blocking(said) == []


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (rule("plausible", "K", id="x"), "no_bounds"),
        (rule("plausible", "K", id="x", low=5, high=4), "bounds_reversed"),
        (rule("delta", "K", id="x", method="difference", hours=24), "field_missing"),
        (rule("delta", "K", id="x", method="guess", limit=1, hours=24), "no_choice"),
        (rule("delta", "K", id="x", method="difference", limit=1, hours=-1), "not_positive"),
        (rule("delta", id="x", method="difference", limit=1, hours=24), "no_tests"),
        (rule("exclude", id="x", source=" "), "no_source"),
        (rule("magic", id="x"), "unknown_kind"),
    ],
)
def test_a_rule_that_is_incomplete_blocks_approval(broken: Rule, code: str) -> None:
    assert found(broken) == {"x": code}
    assert blocking(problems(RuleSet("s", "s", 1, (broken,)), KNOWN))


def test_the_worked_example_of_wang_2019() -> None:
    """PMC6609390: TP 892, TN 11 257, FP 2 146, FN 0."""
    given = [(True, True)] * 892 + [(False, False)] * 11_257 + [(True, False)] * 2_146
    table = count(given)
    assert table == Confusion(tp=892, tn=11_257, fp=2_146, fn=0)
    figures = [table.sensitivity, table.specificity, table.ppv, table.npv, table.pass_rate]
    assert [None if each is None else round(each, 2) for each in figures] == [100, 83.99, 29.36, 100, 78.75]


def test_a_share_of_nothing_is_not_zero() -> None:
    assert count([]).sensitivity is None
    assert count([(False, False)]).ppv is None


@pytest.mark.parametrize(
    ("left", "op", "right", "said"),
    [
        ("DBIL", ">", "TBIL", "DBIL > TBIL"),
        ("K", "≥", "6.0", "K >= 6"),
        ("3*HGB - 10*HCT", ">", "5", "3×HGB − 10×HCT > 5"),
        ("dbil", "<", "0.5 tbil", "DBIL < 0.5×TBIL"),
    ],
)
def test_a_condition_as_typed_reads_as_a_sentence_and_goes_back_into_its_boxes(
    left: str, op: str, right: str, said: str
) -> None:
    read = condition(left, op, right)
    assert condition_sentence(read, {}) == said
    again = boxes(read)
    assert condition(again["left"], again["op"], again["right"]) == read


@pytest.mark.parametrize("text", ["", "K +", "K L", "import os", "K;NA", "__class__", "5", "K ** 2", "K" * 300])
def test_what_is_no_sum_of_tests_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        condition(text, ">", "1")


def test_a_pass_rate_drifts_against_its_own_days_and_not_against_too_few() -> None:
    days = [DayCount(100, 78 + at % 5) for at in range(14)]
    usual, fallen = judge(DayCount(100, 79), days), judge(DayCount(100, 55), days)
    assert usual is not None
    assert not usual.drifted
    assert fallen is not None
    assert fallen.drifted
    assert judge(DayCount(100, 55), days[:9]) is None
    assert judge(DayCount(19, 2), days) is None


def test_restless_days_widen_the_limits() -> None:
    calm = judge(DayCount(100, 70), [DayCount(100, 80)] * 14)
    restless = judge(DayCount(100, 70), [DayCount(100, 65 + 30 * (at % 2)) for at in range(14)])
    assert calm is not None
    assert restless is not None
    assert restless.high - restless.low > calm.high - calm.low
