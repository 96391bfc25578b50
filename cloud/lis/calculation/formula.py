"""A formula as a value, the check of it cell by cell, and what it gives for measured operands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from cloud.lis.calculation import checking, substances, units
from cloud.lis.calculation.engine import CannotCalculate, Facts, evaluate, holds
from cloud.lis.calculation.language import FormulaError, Program, parse
from cloud.lis.calculation.units import UnitError

SAME, PERSON = "same", "person"
"""Where an operand may come from: this specimen, or also the newest of the person's within a window."""
TOLERANCE = Decimal("0.5")
"""An example agrees when it differs by no more than half a unit of its last written digit."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A test that is read under `name`, in `unit` ("": the catalogue's)."""

    name: str
    test: str
    unit: str = ""
    scope: str = SAME
    window_h: int | None = None
    """Hours between the two collections at most, for `PERSON`."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that belongs to the laboratory (the ISI of a reagent lot): blank until somebody fills it in."""

    name: str
    value: str
    unit: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """Outside of `when` there is no result, and `say` stands in its place."""

    when: str
    say: str


@dataclass(frozen=True, slots=True)
class Example:
    """Values by name (in the operands' units) and what must come out; `expected` "" : no result."""

    values: dict[str, str]
    expected: str
    sex: str = ""
    age: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """Everything that decides what a formula gives; stored as one version."""

    test: str
    expression: str
    operands: tuple[Operand, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    limits: tuple[Limit, ...] = ()
    examples: tuple[Example, ...] = ()

    @classmethod
    def of_json(cls, test: str, expression: str, data: Mapping[str, Any]) -> Definition:
        return cls(
            test,
            expression,
            tuple(Operand(**each) for each in data.get("operands", ())),
            tuple(Parameter(**each) for each in data.get("parameters", ())),
            tuple(Limit(**each) for each in data.get("limits", ())),
            tuple(Example(**each) for each in data.get("examples", ())),
        )

    def read(self) -> tuple[Operand, ...]:
        """Every operand, those too that only stand in the expression: under their code, from the same specimen."""
        declared = {each.name: each for each in self.operands}
        constants = {each.name for each in self.parameters}
        names = list(program_of(self.expression).names)
        for limit in self.limits:
            names += program_of(limit.when).names
        found = [declared.get(name) or Operand(name, name) for name in dict.fromkeys(names) if name not in constants]
        return tuple(found)


@lru_cache(maxsize=2000)
def program_of(text: str) -> Program:
    """Parsed once in a process. Raises `FormulaError`."""
    return parse(text)


@dataclass(frozen=True, slots=True)
class KnownTest:
    """What the check must know of a test."""

    code: str
    unit: str
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in one cell of the editor; `start` and `end` are places in that cell's text."""

    cell: str
    code: str
    fields: dict[str, str] = field(default_factory=dict)
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Given:
    """A measured operand: its number in `unit`."""

    number: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A number (exact, in the test's unit), or why there is none: `code` and `fields`, or the limit's own words."""

    number: Decimal | None = None
    code: str = ""
    fields: dict[str, str] = field(default_factory=dict)


def calculate(
    definition: Definition,
    unit: str,
    given: Mapping[str, Given],
    *,
    sex: str = "",
    age_years: int | None = None,
    age_days: int | None = None,
    specimen_type: str = "",
) -> Outcome:
    """The value in `unit` for operands by name. An operand that is not given: ``operand_missing``."""
    try:
        numbers = _numbers(definition, given)
        facts = Facts(numbers, sex, age_days, age_years, specimen_type)
        for limit in definition.limits:
            if not holds(program_of(limit.when), facts):
                return Outcome(code="outside", fields={"say": limit.say})
        return Outcome(evaluate(program_of(definition.expression), facts, unit))
    except CannotCalculate as fault:
        return Outcome(code=fault.code, fields=fault.fields)


def _numbers(definition: Definition, given: Mapping[str, Given]) -> dict[str, tuple[Decimal, str]]:
    numbers: dict[str, tuple[Decimal, str]] = {}
    for operand in definition.read():
        value = given.get(operand.name)
        if value is None:
            raise CannotCalculate("operand_missing", name=operand.name)
        unit = operand.unit or value.unit
        try:
            factor = units.factor(value.unit, unit, substances.mol_per_g(operand.test))
        except UnitError:
            raise CannotCalculate("operand_unit", name=operand.name, unit=value.unit) from None
        numbers[operand.name] = (value.number * factor, unit)
    for each in definition.parameters:
        if not each.value.strip():
            raise CannotCalculate("parameter_blank", name=each.name)
        numbers[each.name] = (Decimal(each.value), each.unit)
    return numbers


def printed(number: Decimal, decimals: int | None) -> Decimal:
    """As the report prints it: half to even, to the test's digits."""
    if decimals is None:
        return number.normalize()
    return number.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)


def faults(definition: Definition, tests: Mapping[str, KnownTest], reads: Mapping[str, tuple[str, ...]]) -> list[Fault]:
    """Everything wrong with a formula, by cell: ``expression``, ``operand.0``, ``parameter.1``, ``limit.0``,
    ``example.2``, ``test``. `reads`: what every other calculated test reads. Empty: it may be stored.
    """
    target = tests.get(definition.test)
    if target is None or not target.numeric:
        return [Fault("test", "target_unknown", {"test": definition.test})]
    found = [*_operand_faults(definition, tests), *_parameter_faults(definition)]
    if found:
        return found
    found = list(_expression_faults(definition, tests, target))
    if found:
        return found
    own = tuple(each.test for each in definition.read())
    way = checking.cycle({**reads, definition.test: own}, definition.test)
    if way:
        return [Fault("expression", "cycle", {"way": " → ".join(way)}, 0, len(definition.expression))]
    return list(_example_faults(definition, tests, target))


def _operand_faults(definition: Definition, tests: Mapping[str, KnownTest]) -> Sequence[Fault]:
    found: list[Fault] = []
    names = [each.name for each in definition.operands] + [each.name for each in definition.parameters]
    for at, each in enumerate(definition.operands):
        cell, test = f"operand.{at}", tests.get(each.test)
        if names.count(each.name) > 1:
            found.append(Fault(cell, "name_twice", {"name": each.name}))
        elif test is None:
            found.append(Fault(cell, "test_unknown", {"test": each.test}))
        elif not test.numeric:
            found.append(Fault(cell, "test_not_numeric", {"test": each.test}))
        elif each.unit and not _convertible(test.unit, each.unit, each.test):
            found.append(Fault(cell, "not_convertible", {"from": test.unit or "1", "to": each.unit}))
        elif each.scope not in (SAME, PERSON) or (each.scope == PERSON and not each.window_h):
            found.append(Fault(cell, "window_missing", {"name": each.name}))
    return found


def _convertible(come_from: str, goes_to: str, test: str) -> bool:
    return units.convertible(come_from, goes_to, substances.mol_per_g(test))


def _parameter_faults(definition: Definition) -> Sequence[Fault]:
    found: list[Fault] = []
    for at, each in enumerate(definition.parameters):
        cell = f"parameter.{at}"
        try:
            units.unit(each.unit)
        except UnitError as fault:
            found.append(Fault(cell, "unit_unknown", {"unit": fault.text}))
        if each.value.strip() and not _is_number(each.value):
            found.append(Fault(cell, "not_a_value", {"text": each.value}))
        elif each.value.strip() and not each.source.strip():
            found.append(Fault(cell, "source_missing", {"name": each.name}))
    return found


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _expression_faults(definition: Definition, tests: Mapping[str, KnownTest], target: KnownTest) -> Sequence[Fault]:
    known = {each.code: each.unit for each in tests.values() if each.numeric}
    known |= {each.name: each.unit or tests[each.test].unit for each in definition.operands}
    known |= {each.name: each.unit for each in definition.parameters}
    known.pop(definition.test, None)
    found: list[Fault] = []
    try:
        checking.check_formula(program_of(definition.expression), known, target.unit)
    except FormulaError as fault:
        code = "reads_itself" if fault.fields.get("name") == definition.test else fault.code
        found.append(Fault("expression", code, fault.fields, fault.start, fault.end))
    except UnitError as fault:
        found.append(Fault("expression", fault.code, {"unit": fault.text}))
    for at, limit in enumerate(definition.limits):
        try:
            checking.check_condition(program_of(limit.when), known)
        except FormulaError as fault:
            found.append(Fault(f"limit.{at}", fault.code, fault.fields, fault.start, fault.end))
        except UnitError as fault:
            found.append(Fault(f"limit.{at}", fault.code, {"unit": fault.text}))
        else:
            if not limit.say.strip():
                found.append(Fault(f"limit.{at}", "say_missing"))
    return found


def _example_faults(definition: Definition, tests: Mapping[str, KnownTest], target: KnownTest) -> Sequence[Fault]:
    if not definition.examples:
        return [Fault("examples", "example_missing")]
    found: list[Fault] = []
    for at, example in enumerate(definition.examples):
        outcome = of_example(definition, tests, example, target.unit)
        if outcome.code == "parameter_blank":
            continue
        got = "" if outcome.number is None else format(_shown(outcome.number, example.expected), "f")
        if not agrees(outcome, example.expected):
            found.append(
                Fault(f"example.{at}", "example_differs", {"expected": example.expected or "—", "got": got or "—"})
            )
    return found


def of_example(definition: Definition, tests: Mapping[str, KnownTest], example: Example, unit: str) -> Outcome:
    """What the formula gives for an example; the laboratory's own parameters may stand among its values."""
    stated = {each.name: each for each in definition.parameters}
    filled = tuple(
        Parameter(each.name, example.values.get(each.name, each.value), each.unit, each.source)
        for each in stated.values()
    )
    changed = Definition(definition.test, definition.expression, definition.operands, filled, definition.limits)
    given: dict[str, Given] = {}
    for operand in changed.read():
        text = example.values.get(operand.name, "").strip()
        if not text:
            continue
        if not _is_number(text):
            return Outcome(code="operand_text", fields={"name": operand.name, "text": text})
        given[operand.name] = Given(Decimal(text), operand.unit or tests[operand.test].unit)
    return calculate(changed, unit, given, sex=example.sex, age_years=example.age, age_days=_days(example.age))


def _days(years: int | None) -> int | None:
    return None if years is None else int(years * Decimal("365.25"))


def _shown(number: Decimal, expected: str) -> Decimal:
    return printed(number, len(expected.partition(".")[2]) if expected else 4)


def agrees(outcome: Outcome, expected: str) -> bool:
    """Whether an outcome is the expected text, to its last written digit."""
    if not expected.strip():
        return outcome.number is None and outcome.code == "outside"
    if outcome.number is None or not _is_number(expected):
        return False
    digit = Decimal(1).scaleb(-len(expected.partition(".")[2]))
    return abs(outcome.number - Decimal(expected)) <= TOLERANCE * digit
