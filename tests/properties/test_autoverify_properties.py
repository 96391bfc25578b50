"""The decision is a function: the same facts give the same decision in any order; stricter rules never pass more."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cloud.lis.verification import change
from cloud.lis.verification.deciding import decide
from cloud.lis.verification.facts import Facts, from_json, to_json
from cloud.lis.verification.ruleset import RuleSet
from tests.support.rulework import NOON, rule, rules, tube, value

pytestmark = pytest.mark.req("LIS-6")

CODES = ("K", "NA", "MCV", "GLU", "CREA")
numbers = st.decimals(min_value=0, max_value=500, places=2)
methods = st.sampled_from(change.OF_NUMBERS)


@st.composite
def tubes(draw: st.DrawFn) -> Facts:
    codes = draw(st.lists(st.sampled_from(CODES), min_size=1, unique=True))
    made = []
    for code in codes:
        before = draw(st.none() | st.tuples(numbers.map(str), st.integers(0, 200)))
        said: dict[str, Any] = {
            "before": before,
            "flag": draw(st.sampled_from(["N", "H", "L", ""])),
            "critical": draw(st.booleans()),
            "comparator": draw(st.sampled_from(["", "<", ">"])),
            "qc": draw(st.sampled_from(["in_control", "warning", "out_of_control", "none", "unknown"])),
        }
        made.append(value(code, str(draw(numbers)), **said))
    return tube(*made, department=draw(st.sampled_from(["ICU", "NK"])), missing=tuple(draw(st.just(()))))


@st.composite
def rule_sets(draw: st.DrawFn) -> RuleSet:
    made = []
    for at in range(draw(st.integers(0, 6))):
        codes = draw(st.lists(st.sampled_from(CODES), min_size=1, unique=True))
        said: dict[str, Any] = {"id": f"r{at}", "whole": draw(st.booleans())}
        said["unknown"] = draw(st.sampled_from(["pass", "hold"]))
        if draw(st.booleans()):
            limit, hours = draw(numbers), Decimal(draw(st.integers(1, 300)))
            made.append(rule("delta", *codes, method=draw(methods), limit=limit, hours=hours, **said))
        else:
            made.append(rule("plausible", *codes, low=draw(numbers), **said))
    return rules(*made, enabled=CODES)


@given(tubes(), rule_sets(), st.randoms())
@settings(max_examples=60, deadline=None)
def test_neither_the_order_of_results_nor_that_of_rules_changes_what_passes(
    facts: Facts, given_rules: RuleSet, dice: Any
) -> None:
    first = decide(facts, given_rules)
    shuffled, turned = list(facts.tests), list(given_rules.rules)
    dice.shuffle(shuffled)
    dice.shuffle(turned)
    again = decide(tube(*shuffled, department=facts.department), given_rules)
    assert again.to_json() == first.to_json()
    other = decide(facts, RuleSet("set-1", "test", 1, tuple(turned)))
    assert [(each.code, each.passed) for each in other.tests] == [(each.code, each.passed) for each in first.tests]


@given(tubes(), rule_sets())
@settings(max_examples=60, deadline=None)
def test_a_decision_is_made_again_from_its_stored_facts(facts: Facts, given_rules: RuleSet) -> None:
    stored = json.loads(json.dumps(to_json(facts)))
    assert decide(from_json(stored), given_rules).to_json() == decide(facts, given_rules).to_json()


@given(tubes(), rule_sets())
@settings(max_examples=60, deadline=None)
def test_one_more_rule_never_lets_more_pass_and_a_guarded_value_never_passes(
    facts: Facts, given_rules: RuleSet
) -> None:
    more = RuleSet("set-1", "test", 1, (*given_rules.rules, rule("plausible", "K", id="more", high=4)))
    before, after = decide(facts, given_rules), decide(facts, more)
    passed = {each.code for each in before.tests if each.passed}
    assert {each.code for each in after.tests if each.passed} <= passed
    for test in facts.tests:
        if test.critical or test.qc == "out_of_control":
            assert test.code not in passed


@given(numbers, numbers, st.integers(1, 400), methods, numbers, numbers)
@settings(max_examples=80, deadline=None)
def test_a_wider_delta_limit_never_holds_more(
    now: Decimal, before: Decimal, hours: int, method: str, limit: Decimal, more: Decimal
) -> None:
    moved = change.change(method, now, NOON, before, NOON - timedelta(hours=hours))
    assume(moved is not None)
    assert moved is not None
    assert change.exceeds(moved, limit + more) <= change.exceeds(moved, limit)
    if method in ("difference", "rate"):
        back = change.change(method, before, NOON, now, NOON - timedelta(hours=hours))
        assert back == -moved


@given(numbers, st.integers(1, 400), methods)
@settings(max_examples=40, deadline=None)
def test_no_change_is_no_delta_and_a_previous_zero_gives_no_percentage(now: Decimal, hours: int, method: str) -> None:
    earlier = NOON - timedelta(hours=hours)
    moved = change.change(method, now, NOON, now, earlier)
    assert moved == 0 or (now == 0 and moved is None and method.startswith("percent"))
    if method.startswith("percent"):
        assert change.change(method, now, NOON, Decimal(0), earlier) is None


@given(numbers, numbers, st.integers(1, 72))
@settings(max_examples=80, deadline=None)
def test_a_change_says_how_the_value_before_became_this_one_and_exactly_the_limit_is_inside(
    now: Decimal, before: Decimal, hours: int
) -> None:
    """Percent divides by the value before, rates by the days between."""
    days = Fraction(hours, 24)
    at, then, began = NOON + timedelta(hours=hours), NOON, Fraction(before)
    for method in change.OF_NUMBERS:
        moved = change.change(method, now, at, before, then)
        if moved is None:
            assert before == 0
            continue
        real = Fraction(now) - began
        real = real * 100 / abs(began) if "percent" in method else real
        real = real / days if "rate" in method else real
        assert abs(Fraction(moved) - real) <= abs(real) / 10**20
        for direction in ("both", "up", "down"):
            assert not change.exceeds(moved, abs(moved), direction)
        if moved:
            assert change.exceeds(moved, abs(moved) * Decimal("0.99"), "up" if moved > 0 else "down")
