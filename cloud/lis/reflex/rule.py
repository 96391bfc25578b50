"""A reflex rule as a value and the check of it. Pure; the condition is written in the language of the formulas.

TSH > 4.2[mIU/L] and not known(FT4)        flag(U_PRO) = 'A' and grade(U_PRO) >= 2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from cloud.lis.calculation.checking import check_condition, cycle
from cloud.lis.calculation.engine import CannotCalculate, Facts, holds
from cloud.lis.calculation.formula import Fault, KnownTest, program_of
from cloud.lis.calculation.language import QUESTIONS, Call, FormulaError, Name, walk
from cloud.lis.calculation.units import UnitError

MOST_TIMES = 3
"""A rule acts on one specimen at most so often, whatever it says."""
LARGEST_DILUTION = Decimal(100_000)


class Act(StrEnum):
    ADD = "add"
    """Order these tests on the same specimen."""
    REPEAT = "repeat"
    """Measure the test again."""
    DILUTE = "dilute"
    """Measure the test again, diluted by `dilution`."""
    COMMENT = "comment"
    """Say `text` beside the result."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`tests`: those to add; else the one to repeat, dilute or comment on."""

    condition: str
    act: Act
    tests: tuple[str, ...]
    dilution: str = ""
    text: str = ""
    charged: bool = False
    times: int = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """The tests whose results it looks at."""
        return program_of(self.condition).names

    @property
    def judges(self) -> frozenset[str]:
        """Those whose value matters; ``known(FT4)`` asks only whether there is one."""
        program = program_of(self.condition)
        nodes = [each for part in (*(node for _, node in program.parts), program.result) for each in walk(part)]
        only_known = {id(each.arguments[0]) for each in nodes if isinstance(each, Call) and each.function == "known"}
        named = {each.name for each in nodes if isinstance(each, Name) and id(each) not in only_known}
        return frozenset(named & set(program.names))


def faults(rule: Rule, tests: Mapping[str, KnownTest]) -> list[Fault]:
    """Everything wrong with a rule, by cell; empty: it may be stored."""
    found: list[Fault] = []
    try:
        program = program_of(rule.condition)
        asked = {
            call.arguments[0].name
            for node in (program.result, *(part for _, part in program.parts))
            for call in walk(node)
            if isinstance(call, Call) and call.function in QUESTIONS and isinstance(call.arguments[0], Name)
        }
        # A word may be asked of any test, a number only of a numeric one.
        known = {each.code: each.unit for each in tests.values() if each.numeric or each.code in asked}
        check_condition(program, known, questions=True)
    except FormulaError as fault:
        found.append(Fault("condition", fault.code, fault.fields, fault.start, fault.end))
    except UnitError as fault:
        found.append(Fault("condition", fault.code, {"unit": fault.text}))
    found += [Fault("tests", "test_unknown", {"test": each}) for each in rule.tests if each not in tests]
    if not rule.tests or (rule.act != Act.ADD and len(rule.tests) != 1):
        found.append(Fault("tests", "one_test"))
    if rule.act == Act.DILUTE and not _good_dilution(rule.dilution):
        found.append(Fault("dilution", "dilution_wrong", {"text": rule.dilution}))
    if rule.act == Act.COMMENT and not rule.text.strip():
        found.append(Fault("text", "text_missing"))
    if not 1 <= rule.times <= MOST_TIMES:
        found.append(Fault("times", "times_wrong", {"most": str(MOST_TIMES)}))
    if not found and rule.act == Act.ADD and set(rule.tests) & rule.judges:
        found.append(Fault("tests", "adds_its_own", {"test": "、".join(sorted(set(rule.tests) & rule.judges))}))
    return found


def _good_dilution(text: str) -> bool:
    return text.isdigit() and 1 < Decimal(text) <= LARGEST_DILUTION


def circle(rule: Rule, others: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]], code: str) -> tuple[str, ...]:
    """Codes of rules that would order one another round and round; () when none. `others`: (judged, added) by code."""
    every = {**others, code: (tuple(rule.judges), rule.tests if rule.act == Act.ADD else ())}
    edges = {
        name: tuple(other for other, (reads, _) in every.items() if set(added) & set(reads))
        for name, (_, added) in every.items()
    }
    return cycle(edges, code)


def applies(rule: Rule, facts: Facts) -> bool:
    """Whether the condition is met; what it reads is not there: it is not met."""
    try:
        return holds(program_of(rule.condition), facts)
    except CannotCalculate:
        return False
