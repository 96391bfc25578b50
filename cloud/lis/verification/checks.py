"""What each kind of rule finds on one test or on the whole specimen. Pure; a finding carries the values it used."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cloud.lis.verification import change, scale, wrong_tube
from cloud.lis.verification.facts import Earlier, Facts, TestFact
from cloud.lis.verification.rules import ORDINARY_FLAGS
from cloud.lis.verification.ruleset import Rule
from protocols.model import Quantity

PASS, HOLD, UNKNOWN = "pass", "hold", "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """Outcome of one rule on one test: "pass", "hold" or "unknown" (it could not be evaluated), and with what."""

    rule: str
    kind: str
    outcome: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"rule": self.rule, "kind": self.kind, "outcome": self.outcome, "values": dict(self.values)}


Check = Callable[[Rule, Facts, TestFact], tuple[str, dict[str, Any]]]


def _range(rule: Rule, facts: Facts, test: TestFact) -> tuple[str, dict[str, Any]]:
    if rule.params.get("basis") == "reference":
        if not test.flag:
            return UNKNOWN, {"why": "no_range"}
        shown = {"value": test.text, "flag": test.flag, "low": _text(test.low), "high": _text(test.high)}
        return (PASS if test.flag == "N" else HOLD), shown
    return _between(rule, test)


def _between(rule: Rule, test: TestFact) -> tuple[str, dict[str, Any]]:
    """Inside the rule's own bounds, both included. "<5" is inside only where all of it is."""
    if test.number is None:
        return UNKNOWN, {"why": "no_number"}
    low, high, number = rule.params.get("low"), rule.params.get("high"), test.number
    shown = {"value": test.text, "low": _text(low), "high": _text(high)}
    if test.comparator in ("<", "<="):
        return (PASS if low is None and (high is None or number <= high) else HOLD), shown
    if test.comparator in (">", ">="):
        return (PASS if high is None and (low is None or number >= low) else HOLD), shown
    outside = (low is not None and number < low) or (high is not None and number > high)
    return (HOLD if outside else PASS), shown


def _words(rule: Rule, facts: Facts, test: TestFact) -> tuple[str, dict[str, Any]]:
    allowed = rule.params["allowed"]
    return (PASS if test.text.strip() in allowed else HOLD), {"value": test.text, "allowed": "、".join(allowed)}


def _delta(rule: Rule, facts: Facts, test: TestFact) -> tuple[str, dict[str, Any]]:
    before, method = test.earlier, rule.params["method"]
    if test.number is None and method != change.STEPS:
        return UNKNOWN, {"why": "no_number"}
    if before is None or test.at is None or (before.number is None and method != change.STEPS):
        return UNKNOWN, {"why": "no_previous"}
    hours = change.hours_between(before.at, test.at)
    shown = {
        "value": test.text,
        "previous": before.text or _text(before.number),
        "hours": _text(hours.quantize(Decimal("0.1"))),
    }
    if hours < 0 or hours > rule.params["hours"]:
        return UNKNOWN, {**shown, "why": "window"}
    if method == change.STEPS or test.exact is None or before.exact is None:
        return _delta_of_spans(rule, test, before, shown)
    moved = change.change(method, test.exact, test.at, before.exact, before.at)
    if moved is None:
        return UNKNOWN, {**shown, "why": "not_evaluable"}
    limit = rule.params["limit"]
    shown |= {"change": _text(_short(moved)), "limit": _text(limit), "method": rule.params["method"]}
    return (HOLD if change.exceeds(moved, limit, rule.params.get("direction") or "both") else PASS), shown


def _delta_of_spans(rule: Rule, test: TestFact, before: Earlier, shown: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Titres, grades and values with a sign: held or passed where it is certain, for every value they may stand for."""
    method, limit = rule.params["method"], rule.params["limit"]
    if method == change.STEPS:
        moved = scale.steps(test.text, before.text or _text(before.number) or "")
    elif test.number is None or before.number is None or test.at is None:
        return UNKNOWN, {**shown, "why": "no_number"}
    else:
        now, then = Quantity(test.number, test.comparator or None), Quantity(before.number, before.comparator or None)
        moved = change.change_of_bounds(method, now, test.at, then, before.at)
    if moved is None:
        return UNKNOWN, {**shown, "why": "not_evaluable"}
    exactly = moved.exactly
    shown |= {"change": "?" if exactly is None else _text(_short(exactly)), "limit": _text(limit), "method": method}
    beyond = moved.exceeds(limit, rule.params.get("direction") or "both")
    if beyond is None:
        return UNKNOWN, {**shown, "why": "not_evaluable"}
    return (HOLD if beyond else PASS), shown


def _plausible(rule: Rule, facts: Facts, test: TestFact) -> tuple[str, dict[str, Any]]:
    return _between(rule, test)


def _index(rule: Rule, facts: Facts, test: TestFact) -> tuple[str, dict[str, Any]]:
    letter, limit = rule.params["index"], rule.params["limit"]
    found = facts.indices.get(letter)
    if found is None:
        return UNKNOWN, {"why": "no_index", "index": letter}
    return (HOLD if found > limit else PASS), {"index": letter, "value": _text(found), "limit": _text(limit)}


def _flags(rule: Rule, facts: Facts, test: TestFact) -> tuple[str, dict[str, Any]]:
    letters = set(rule.params.get("letters") or ())
    said = [each for each in test.flags if each.strip().upper() not in ORDINARY_FLAGS]
    wrong = [each for each in said if (each in letters) == (rule.params["mode"] == "only")]
    return (HOLD if wrong else PASS), ({"flags": " ".join(wrong)} if wrong else {})


def _qc(rule: Rule, facts: Facts, test: TestFact) -> tuple[str, dict[str, Any]]:
    state, hours = test.qc, rule.params.get("hours")
    shown: dict[str, Any] = {"state": state}
    if state == "out_of_control":
        return HOLD, shown
    if hours is not None and state in ("in_control", "warning"):
        age = None if test.qc_at is None or test.at is None else change.hours_between(test.qc_at, test.at)
        if age is None or age > hours:
            shown |= {"state": "none", "hours": None if age is None else _text(age.quantize(Decimal("0.1")))}
            return (HOLD if rule.params["none"] == "hold" else PASS), shown
    if state == "unknown":
        return UNKNOWN, {**shown, "why": "qc_unknown"}
    key = {"warning": "warning", "none": "none"}.get(state)
    return (HOLD if key is not None and rule.params[key] == "hold" else PASS), shown


def _reportable(rule: Rule, facts: Facts, test: TestFact) -> tuple[str, dict[str, Any]]:
    if test.number is None:
        return UNKNOWN, {"why": "no_number"}
    if test.comparator:
        return HOLD, {"value": test.text, "low": _text(rule.params.get("low")), "high": _text(rule.params.get("high"))}
    if test.dilution and (rule.params.get("diluted") or "hold") == "hold":
        return HOLD, {"value": test.text, "dilution": test.dilution}
    if test.dilution:
        return PASS, {"value": test.text, "dilution": test.dilution}
    return _between(rule, test)


def _repeat(rule: Rule, facts: Facts, test: TestFact) -> tuple[str, dict[str, Any]]:
    if test.dilution and rule.params.get("diluted") == "hold":
        return HOLD, {"value": test.text, "dilution": test.dilution}
    allowed = rule.params.get("percent")
    if not test.runs or allowed is None:
        return PASS, {}
    if test.exact is None:
        return UNKNOWN, {"why": "no_number"}
    before = test.runs[-1]
    shown = {"value": test.text, "previous": _text(before), "limit": _text(allowed)}
    if before == 0:
        return (PASS if test.exact == 0 else UNKNOWN), {**shown, "why": "not_evaluable"}
    apart = abs(test.exact - before) * 100 / abs(before)
    return (HOLD if apart > allowed else PASS), {**shown, "change": _text(_short(apart))}


def _age(rule: Rule, facts: Facts, test: TestFact) -> tuple[str, dict[str, Any]]:
    if facts.collected_at is None or test.at is None:
        return UNKNOWN, {"why": "no_time"}
    hours = change.hours_between(facts.collected_at, test.at)
    shown = {"hours": _text(hours.quantize(Decimal("0.1"))), "limit": _text(rule.params["hours"])}
    return (HOLD if hours > rule.params["hours"] or hours < 0 else PASS), shown


def _exclude(rule: Rule, facts: Facts, test: TestFact) -> tuple[str, dict[str, Any]]:
    said = {"department": facts.department, "diagnosis": facts.diagnosis[:60]}
    return HOLD, {name: value for name, value in said.items() if value}


BY_TEST: dict[str, Check] = {
    "range": _range,
    "words": _words,
    "delta": _delta,
    "plausible": _plausible,
    "index": _index,
    "flags": _flags,
    "qc": _qc,
    "reportable": _reportable,
    "repeat": _repeat,
    "age": _age,
    "exclude": _exclude,
}


def relation(rule: Rule, facts: Facts) -> tuple[Finding, tuple[str, ...]] | None:
    """Whether all conditions hold together, and which tests that concerns; None where a test is not on the tube."""
    numbers, used = facts.numbers(), {}
    holds = True
    for each in rule.params["conditions"]:
        if any(code not in numbers for code, _ in each["terms"]):
            return None
        used.update({code: numbers[code] for code, _ in each["terms"]})
        holds = holds and _holds(sum((numbers[code] * factor for code, factor in each["terms"]), Decimal(0)), each)
    shown = {code: _text(number) for code, number in sorted(used.items())}
    concerned = rule.scope.tests or tuple(sorted(used))
    return Finding(rule.id, rule.kind, HOLD if holds else PASS, {"numbers": shown}), concerned


def _holds(left: Decimal, condition: Mapping[str, Any]) -> bool:
    op, value = condition["op"], condition.get("value")
    if op in ("outside", "inside"):
        inside = (value is None or left >= value) and left <= condition["high"]
        return bool(inside) if op == "inside" else not inside
    return _COMPARE[op](left, value)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def another_person(rule: Rule, facts: Facts) -> Finding:
    """The composite wrong-tube score of the specimen."""
    spreads = {code: _spread(each) for code, each in (rule.params.get("spreads") or {}).items()}
    pair: dict[str, tuple[float, float]] = {}
    for test in facts.tests:
        before = None if test.earlier is None else test.earlier.exact
        if (
            test.earlier is None
            or before is None
            or test.exact is None
            or test.at is None
            or not rule.scope.covers(test)
        ):
            continue
        if 0 <= change.hours_between(test.earlier.at, test.at) <= rule.params["hours"]:
            pair[test.code] = (float(before), float(test.exact))
    total, parts = wrong_tube.score(spreads, pair)
    if len(parts) < rule.params["fewest"]:
        return Finding(rule.id, rule.kind, UNKNOWN, {"why": "few_tests", "tests": len(parts)})
    most = sorted(parts, key=lambda code: (-parts[code], code))[:4]
    numbers = {code: f"{pair[code][0]:g} → {pair[code][1]:g}" for code in most}
    shown = {"score": f"{total:.2f}", "limit": _text(rule.params["limit"]), "tests": len(parts), "numbers": numbers}
    return Finding(rule.id, rule.kind, HOLD if total > float(rule.params["limit"]) else PASS, shown)


def _spread(stored: Mapping[str, Any]) -> wrong_tube.Spread:
    within, between, weight = (float(stored.get(name, 1)) for name in ("within", "between", "weight"))
    return wrong_tube.Spread(within, between, bool(stored.get("log")), weight=weight)


def _short(number: Decimal) -> Decimal:
    return round(number, 3).normalize()


def _text(number: Decimal | None) -> str | None:
    """A number as it is written, without an exponent and without zeros that say nothing."""
    if number is None:
        return None
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
