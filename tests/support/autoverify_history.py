"""A made-up history (`simulators.laboratory`) as facts, and a rule set tuned on one: the starting rules with the limits
that a laboratory takes from its own data. For the bench and the tests.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from cloud.lis.autoverify import starting
from cloud.lis.verification import wrong_tube
from cloud.lis.verification.facts import Earlier, Facts, TestFact
from cloud.lis.verification.rules import Bounds, CriticalBounds, Measured, judge
from cloud.lis.verification.ruleset import Rule, RuleSet, Scope, rule_from_json
from cloud.lis.verification.wrong_tube import Fitted, Pair
from protocols.model import Quantity
from simulators.laboratory.history import CHEMISTRY, Tube, before

SECTIONS = {"chemistry": "chemistry", "count": "hematology"}
INDEX_LIMIT = Decimal(1)
"""For the made-up analyzer, whose haemolysis index is free haemoglobin in g/L; a real limit stands in the leaflet."""
HELD_PAIRS = 0.005
"""Share of the laboratory's own tubes that the wrong-tube rule may hold."""


@dataclass(frozen=True, slots=True)
class Case:
    """One tube: what rules are told, and what was done to it."""

    tube: Tube
    facts: Facts


def cases(spoiled: Sequence[Tube], clean: Sequence[Tube]) -> Iterator[Case]:
    """Facts of every tube. The value before is the true one: what was wrong before is not judged here."""
    for tube, (_, last) in zip(spoiled, before(list(clean)), strict=True):
        yield Case(tube, facts_of(tube, last))


def facts_of(tube: Tube, last: Tube | None) -> Facts:
    return Facts(
        specimen=str(tube.number),
        tests=tuple(_test(tube, code, number, last) for code, number in tube.values.items()),
        sex=tube.sex,
        age_days=tube.age_years * 366,
        diagnosis=tube.diagnosis,
        specimen_type="serum" if tube.panel == "chemistry" else "blood",
        collected_at=tube.collected_at,
        received_at=tube.collected_at,
        indices={name: Decimal(str(value)) for name, value in tube.indices.items()},
    )


def _test(tube: Tube, code: str, number: float, last: Tube | None) -> TestFact:
    exact = Decimal(str(number))
    low, high = bounds(code, tube.sex, tube.age_years)
    limits = criticals().get(code)
    text = f"{number:g}"
    verdict = judge(
        Measured(text, Quantity(exact), "numeric", instrument_flags=tuple(tube.flags.get(code, ()))),
        bounds=None if low is None and high is None else Bounds(code, 1, "approved", low, high),
        critical=None if limits is None else CriticalBounds(code, 1, "approved", *limits),
    )
    earlier = None
    if last is not None and code in last.values:
        earlier = Earlier(Decimal(str(last.values[code])), last.measured_at)
    return TestFact(
        code,
        section=SECTIONS[tube.panel],
        text=text,
        number=exact,
        flag=str(verdict.flag),
        critical=verdict.critical,
        low=low,
        high=high,
        instrument=tube.instrument,
        flags=tuple(tube.flags.get(code, ())),
        at=tube.measured_at,
        earlier=earlier,
        qc="out_of_control" if abs(tube.control.get(code, 0)) > 3 else "in_control",
        qc_at=tube.measured_at,
    )


@cache
def _rows(name: str) -> tuple[Mapping[str, str], ...]:
    text = files("cloud.lis.catalog").joinpath(f"data/{name}.csv").read_text("utf-8")
    return tuple(csv.DictReader(text.splitlines()))


@cache
def bounds(code: str, sex: str, age: int) -> tuple[Decimal | None, Decimal | None]:
    """The catalogue's reference range."""
    for row in _rows("ranges"):
        from_, to = int(row["age_from_years"] or 0), int(row["age_to_years"] or 200)
        if row["test"] == code and row["sex"] in ("", sex) and from_ <= age < to:
            return _decimal(row["low"]), _decimal(row["high"])
    return None, None


@cache
def criticals() -> dict[str, tuple[Decimal | None, Decimal | None]]:
    return {row["test"]: (_decimal(row["low"]), _decimal(row["high"])) for row in _rows("critical")}


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def pairs(history: Sequence[Tube], panel: str) -> list[Pair]:
    """Values before and now of every tube that has an earlier one."""
    return [
        {code: (last.values[code], tube.values[code]) for code in tube.values}
        for tube, last in before(list(history))
        if last is not None and tube.panel == panel
    ]


def fitted(history: Sequence[Tube], panel: str, *, rate: float = HELD_PAIRS) -> Fitted:
    return wrong_tube.fit(pairs(history, panel), rate=rate, fewest_tests=4)


def tuned(history: Sequence[Tube]) -> list[RuleSet]:
    """The starting sets with what a laboratory fills in from its own history; nothing of any error."""
    found = []
    for stored, panel in ((each, _panel(each["code"])) for each in starting.sets()):
        if panel:
            rules = [_filled(rule_from_json(each), history, panel) for each in stored["rules"]]
            rules += _from_history(history, panel)
            found.append(RuleSet(stored["code"], stored["code"], 1, tuple(rules), tuple(stored["sections"])))
    return found


def only_ranges() -> list[RuleSet]:
    """What a laboratory has without rules: the reference range, and the guards."""
    found = []
    for stored in starting.sets():
        rules = [rule_from_json(each) for each in stored["rules"] if each["kind"] in ("enable", "range")]
        found.append(RuleSet(stored["code"], stored["code"], 1, tuple(rules), tuple(stored["sections"])))
    return found


def _panel(code: str) -> str:
    return {"chemistry": "chemistry", "hematology": "count"}.get(code, "")


def _filled(rule: Rule, history: Sequence[Tube], panel: str) -> Rule:
    if rule.kind == "index":
        return replace(rule, active=True, params={**rule.params, "limit": INDEX_LIMIT})
    if rule.kind == "wrong_tube":
        found = fitted(history, panel)
        spreads: dict[str, Any] = {
            code: {
                "within": Decimal(str(each.within)),
                "between": Decimal(str(each.between)),
                "log": each.log,
                "weight": Decimal(str(each.weight)),
            }
            for code, each in found.spreads.items()
        }
        params = {**rule.params, "spreads": spreads, "limit": Decimal(str(found.limit)), "hours": Decimal(24 * 60)}
        return replace(rule, active=True, scope=Scope(), params=params)
    return rule


def _from_history(history: Sequence[Tube], panel: str) -> list[Rule]:
    """Absurd limits: half of the lowest and twice the highest value that the history has."""
    seen: dict[str, list[float]] = {}
    for tube in history:
        for code, number in tube.values.items() if tube.panel == panel else ():
            seen.setdefault(code, []).append(number)
    wide = 2.0 if panel == "chemistry" else 1.5
    return [
        Rule(
            f"absurd-{code}",
            "plausible",
            scope=Scope(tests=(code,)),
            params={"low": Decimal(f"{min(each) / wide:.4g}"), "high": Decimal(f"{max(each) * wide:.4g}")},
            source="own history",
        )
        for code, each in sorted(seen.items())
    ]


def missing_tests() -> set[str]:
    """Tests of the history that the catalogue lacks: none, or the facts would be about nothing."""
    known = {row["code"] for row in _rows("tests")}
    return (set(CHEMISTRY) | {"HGB", "HCT", "MCH", "DBIL"}) - known
