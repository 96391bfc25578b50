"""What is wrong with a rule set, found by reading it: nothing has to be measured for that.

Contradictory: no value can pass. Unreachable: a rule that can never be the one that holds, because its condition can
never be true or another rule holds everything that it would. Idle: it speaks about tests that nothing enables.
Kingmed found 51 of 833 hand-made rules faulty (PMC8170738).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any

from cloud.lis.verification.kinds import Fault, faults
from cloud.lis.verification.ruleset import Rule, RuleSet, Scope

CONTRADICTORY = frozenset({"nothing_passes", "always_excluded"})
UNREACHABLE = frozenset({"never_true", "nobody", "covered", "duplicate", "idle", "unknown_test"})
BLOCKING = frozenset({"nothing_passes", "always_excluded", "never_true", "nobody", "unknown_test"})
"""Beside the faults of a single rule, what a rule set may not go live with."""


@dataclass(frozen=True, slots=True)
class Known:
    """The words a rule may use: codes of tests with their sections."""

    tests: Mapping[str, str]


def problems(rule_set: RuleSet, known: Known) -> list[Fault]:
    """All findings, those of single rules first."""
    rules = [each for each in rule_set.rules if each.active]
    found = [fault for each in rules for fault in faults(each)]
    broken = {each.rule for each in found}
    sound = [each for each in rules if each.id not in broken]
    found += [fault for each in sound for fault in _of_one(each, known)]
    found += _of_pairs(sound)
    found += _of_tests(sound, rule_set, known)
    return found


def blocking(found: Iterable[Fault]) -> list[Fault]:
    """Those that keep a rule set from being approved."""
    soft = UNREACHABLE | CONTRADICTORY | {"unchecked"}
    return [each for each in found if each.code in BLOCKING or each.code not in soft]


def _of_one(rule: Rule, known: Known) -> Iterable[Fault]:
    scope = rule.scope
    strange = sorted({*scope.tests, *_mentioned(rule)} - set(known.tests))
    if strange:
        yield Fault(rule.id, "unknown_test", {"tests": "、".join(strange)})
    only, never = set(scope.departments), set(scope.departments_except)
    words, without = set(scope.diagnosis), set(scope.diagnosis_except)
    if (only and only <= never) or (words and words <= without):
        yield Fault(rule.id, "nobody", {})
    if rule.kind == "relation" and _never(rule.params["conditions"]):
        yield Fault(rule.id, "never_true", {})


def _mentioned(rule: Rule) -> set[str]:
    codes = {code for each in rule.params.get("conditions") or () for code, _ in each["terms"]}
    return codes | set(rule.params.get("spreads") or ())


def _never(conditions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether conditions on one and the same sum leave it no value (K > 6 and K < 5)."""
    spans: dict[tuple[tuple[str, Decimal], ...], list[tuple[Decimal | None, Decimal | None]]] = {}
    for each in conditions:
        first = each["terms"][0][1]
        terms = tuple(sorted((code, factor / first) for code, factor in each["terms"]))
        span = _span(each, first)
        if span is not None:
            spans.setdefault(terms, []).append(span)
    return any(_empty(each) for each in spans.values())


def _span(condition: Mapping[str, Any], scale: Decimal) -> tuple[Decimal | None, Decimal | None] | None:
    """The values that the condition allows, for the sum divided by `scale`."""
    op, value, high = condition["op"], condition.get("value"), condition.get("high")
    if op == "outside":
        return None
    low, top = (value, high) if op == "inside" else ((value, None) if op.startswith(">") else (None, value))
    low, top = (None if each is None else each / scale for each in (low, top))
    return (top, low) if scale < 0 else (low, top)


def _empty(spans: Iterable[tuple[Decimal | None, Decimal | None]]) -> bool:
    found = list(spans)
    lows = [low for low, _ in found if low is not None]
    highs = [high for _, high in found if high is not None]
    return bool(lows) and bool(highs) and max(lows) > min(highs)


def _of_pairs(rules: Sequence[Rule]) -> Iterable[Fault]:
    for one, other in combinations(rules, 2):
        if one.kind in ("enable", "exclude") or other.kind in ("enable", "exclude"):
            continue
        if (one.kind, one.scope, dict(one.params), one.whole) == (
            other.kind,
            other.scope,
            dict(other.params),
            other.whole,
        ):
            yield Fault(other.id, "duplicate", {"other": one.id})
            continue
        for narrow, wide in ((one, other), (other, one)):
            if _covers(wide, narrow):
                yield Fault(narrow.id, "covered", {"other": wide.id})
                break


def _covers(wide: Rule, narrow: Rule) -> bool:
    """Whether `wide` holds whatever `narrow` would hold."""
    if not _includes(wide.scope, narrow.scope) or (narrow.whole and not wide.whole):
        return False
    bounds = ("plausible", "range")
    if wide.kind in bounds and narrow.kind in bounds:
        if "reference" in (wide.params.get("basis"), narrow.params.get("basis")):
            return False
        return _at_least(wide, narrow, "low", 1) and _at_least(wide, narrow, "high", -1)
    if wide.kind != narrow.kind:
        return False
    if wide.kind == "delta":
        same = all(wide.params.get(name) == narrow.params.get(name) for name in ("method", "direction"))
        less = wide.params["limit"] <= narrow.params["limit"]
        return bool(same and less and wide.params["hours"] >= narrow.params["hours"])
    if wide.kind == "index":
        return wide.params["index"] == narrow.params["index"] and bool(wide.params["limit"] <= narrow.params["limit"])
    if wide.kind == "age":
        return bool(wide.params["hours"] <= narrow.params["hours"])
    return False


def _at_least(wide: Rule, narrow: Rule, name: str, sign: int) -> bool:
    """The bound of `wide` lies at or inside that of `narrow`; a bound that `narrow` lacks asks for nothing."""
    inner, outer = wide.params.get(name), narrow.params.get(name)
    if outer is None:
        return True
    return inner is not None and sign * inner >= sign * outer


def _includes(wide: Scope, narrow: Scope) -> bool:
    """Whether everybody and everything of `narrow` is in `wide` too (a section is not unfolded into its tests)."""
    for name in ("tests", "sections", "instruments", "departments", "diagnosis", "specimen_types"):
        ours, theirs = getattr(wide, name), getattr(narrow, name)
        if ours and (not theirs or not set(theirs) <= set(ours)):
            return False
    for name in ("departments_except", "diagnosis_except"):
        if not set(getattr(wide, name)) <= set(getattr(narrow, name)):
            return False
    if (wide.sex and wide.sex != narrow.sex) or (wide.priority and wide.priority != narrow.priority):
        return False
    if (wide.age_min_days or 0) > (narrow.age_min_days or 0):
        return False
    return wide.age_max_days is None or (narrow.age_max_days is not None and narrow.age_max_days <= wide.age_max_days)


def _of_tests(rules: Sequence[Rule], rule_set: RuleSet, known: Known) -> Iterable[Fault]:
    sections = {code: each for code, each in known.tests.items() if not rule_set.sections or each in rule_set.sections}
    enabled = {code for code in sections for each in rules if each.kind == "enable" and _names(each, code, sections)}
    for each in rules:
        if each.kind not in ("enable", "relation") and (each.scope.tests or each.scope.sections):
            mine = {code for code in sections if _names(each, code, sections)}
            if mine and not mine & enabled:
                yield Fault(each.id, "idle", {})
    for code in sorted(enabled):
        mine_rules = [each for each in rules if _names(each, code, sections)]
        always = next((each for each in mine_rules if each.kind == "exclude" and _everybody(each.scope)), None)
        if always is not None:
            yield Fault(always.id, "always_excluded", {"test": code})
        yield from _bounds_of(code, mine_rules)
        if not any(each.kind in ("range", "words", "plausible", "delta") for each in mine_rules):
            yield Fault("", "unchecked", {"test": code})


def _bounds_of(code: str, rules: Collection[Rule]) -> Iterable[Fault]:
    bounded = [
        each
        for each in rules
        if each.kind in ("plausible", "reportable", "range")
        and each.params.get("basis") != "reference"
        and _everybody(each.scope)
    ]
    if _empty((each.params.get("low"), each.params.get("high")) for each in bounded):
        yield Fault(bounded[-1].id, "nothing_passes", {"test": code})


def _names(rule: Rule, code: str, sections: Mapping[str, str]) -> bool:
    return (not rule.scope.tests or code in rule.scope.tests) and (
        not rule.scope.sections or sections[code] in rule.scope.sections
    )


def _everybody(scope: Scope) -> bool:
    """No patient and no tube is left out."""
    return scope == Scope(tests=scope.tests, sections=scope.sections)
