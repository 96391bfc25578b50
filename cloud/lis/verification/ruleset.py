"""A rule set as data: many rules, each of one kind, with the part of the laboratory it speaks about.

A rule holds results; none releases any. Kind `enable` names the tests that may be passed at all: what no such rule
names is left to a person. `unknown` says what happens where a rule cannot be evaluated (no previous value, QC unknown).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any

from cloud.lis.verification.facts import Facts, TestFact


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom and what a rule holds; every list left empty means all of them."""

    tests: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    sex: str = ""
    age_min_days: int | None = None
    """First day of life included."""
    age_max_days: int | None = None
    """First day of life not included any more."""
    departments: tuple[str, ...] = ()
    departments_except: tuple[str, ...] = ()
    diagnosis: tuple[str, ...] = ()
    """Words of which the diagnosis has one."""
    diagnosis_except: tuple[str, ...] = ()
    specimen_types: tuple[str, ...] = ()
    priority: str = ""

    def takes(self, facts: Facts) -> bool:
        """Whether the rule speaks about this patient and tube."""
        if self.sex and self.sex != facts.sex:
            return False
        if not self._takes_age(facts.age_days):
            return False
        if self.departments and facts.department not in self.departments:
            return False
        if facts.department and facts.department in self.departments_except:
            return False
        if self.diagnosis and not any(each in facts.diagnosis for each in self.diagnosis):
            return False
        if any(each in facts.diagnosis for each in self.diagnosis_except):
            return False
        if self.specimen_types and facts.specimen_type not in self.specimen_types:
            return False
        return not self.priority or self.priority == facts.priority

    def _takes_age(self, age: int | None) -> bool:
        if self.age_min_days is None and self.age_max_days is None:
            return True
        if age is None:
            return False
        return (self.age_min_days or 0) <= age and (self.age_max_days is None or age < self.age_max_days)

    def covers(self, test: TestFact) -> bool:
        """Whether the rule speaks about this test."""
        return (
            (not self.tests or test.code in self.tests)
            and (not self.sections or test.section in self.sections)
            and (not self.instruments or test.instrument in self.instruments)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `params` are those of its kind (`kinds.KINDS`), as read by `kinds.read_params`."""

    id: str
    kind: str
    name: str = ""
    scope: Scope = field(default_factory=Scope)
    params: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False
    """True: what it finds holds every test of the specimen."""
    unknown: str = "pass"
    """Where it cannot be evaluated: "pass" or "hold"."""
    source: str = ""
    active: bool = True


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One version of a rule set. `sections`: those whose tests it decides; empty: all."""

    id: str
    code: str
    version: int
    rules: tuple[Rule, ...]
    sections: tuple[str, ...] = ()
    _by_test: dict[tuple[str, str, str], tuple[Rule, ...]] = field(
        default_factory=dict, compare=False, repr=False, hash=False
    )

    def decides(self, test: TestFact) -> bool:
        return not self.sections or test.section in self.sections

    def rules_for(self, test: TestFact) -> tuple[Rule, ...]:
        """The active rules that speak about the test, whoever the patient is; remembered, as many tubes ask."""
        key = (test.code, test.section, test.instrument)
        found = self._by_test.get(key)
        if found is None:
            found = tuple(each for each in self.rules if each.active and each.scope.covers(test))
            self._by_test[key] = found
        return found


_SCOPE_LISTS = tuple(each.name for each in fields(Scope) if str(each.type).startswith("tuple"))


def scope_from_json(stored: Mapping[str, Any]) -> Scope:
    known = {each.name for each in fields(Scope)}
    values: dict[str, Any] = {name: value for name, value in stored.items() if name in known}
    for name in _SCOPE_LISTS:
        values[name] = tuple(values.get(name, ()))
    return Scope(**values)


def scope_to_json(scope: Scope) -> dict[str, Any]:
    """Only what it says."""
    return {name: value for name, value in asdict(scope).items() if value not in ((), "", None)}


def rule_from_json(stored: Mapping[str, Any]) -> Rule:
    return Rule(
        id=stored["id"],
        kind=stored["kind"],
        name=stored.get("name", ""),
        scope=scope_from_json(stored.get("scope", {})),
        params=numbers_in(stored.get("params", {})),
        whole=bool(stored.get("whole", False)),
        unknown=stored.get("unknown", "pass"),
        source=stored.get("source", ""),
        active=bool(stored.get("active", True)),
    )


def rule_to_json(rule: Rule) -> dict[str, Any]:
    found: dict[str, Any] = {"id": rule.id, "kind": rule.kind, "name": rule.name, "params": texts_in(rule.params)}
    found["scope"] = {name: list(v) if isinstance(v, tuple) else v for name, v in scope_to_json(rule.scope).items()}
    return {**found, "whole": rule.whole, "unknown": rule.unknown, "source": rule.source, "active": rule.active}


def numbers_in(value: Any) -> Any:
    """Stored texts of numbers (``{"number": "4.5"}`` is written as "=4.5") as Decimal, in lists and maps too."""
    if isinstance(value, str) and value.startswith("="):
        try:
            return Decimal(value[1:])
        except InvalidOperation:
            return value
    if isinstance(value, Mapping):
        return {key: numbers_in(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return tuple(numbers_in(each) for each in value)
    return value


def texts_in(value: Any) -> Any:
    """The other way: Decimal as "=4.5", so that no float rounds a limit in the store."""
    if isinstance(value, Decimal):
        return f"={value}"
    if isinstance(value, Mapping):
        return {key: texts_in(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [texts_in(each) for each in value]
    return value
