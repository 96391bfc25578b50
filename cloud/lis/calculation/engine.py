"""What a checked formula gives for values: decimal arithmetic in base units, the result in the unit it is asked for.

Pure: the same operands, sex and age always give the same digits. Nothing is rounded on the way (34 digits are carried);
the caller rounds what is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, DecimalException, localcontext
from functools import reduce
from typing import Any

from cloud.lis.calculation import units
from cloud.lis.calculation.language import (
    QUESTIONS,
    Binary,
    Call,
    FormulaError,
    Name,
    Node,
    Number,
    Program,
    Text,
    Unary,
)

_CONTEXT = Context(prec=34)
_CLEAN = Context(prec=24)
"""The last digits of divided scales are noise: 12.5 must not become 12.49999… before it is rounded."""
Value = Decimal | bool | str


class CannotCalculate(Exception):
    """A fact is missing or the arithmetic has no answer; `code` and `fields` make the sentence (`wording`)."""

    def __init__(self, code: str, **fields: str) -> None:
        super().__init__(f"{code}: {fields}")
        self.code, self.fields = code, fields


@dataclass(frozen=True, slots=True)
class Facts:
    """What may be read: numbers with their unit by name, and who the patient is by the order (never the instrument)."""

    numbers: Mapping[str, tuple[Decimal, str]] = field(default_factory=dict)
    sex: str = ""
    """M, F, or "" (not known)."""
    age_days: int | None = None
    age_years: int | None = None
    specimen_type: str = ""
    answers: Mapping[tuple[str, str], Value] = field(default_factory=dict)
    """(question, test) to its answer, for conditions of rules."""


def evaluate(program: Program, facts: Facts, unit: str = "") -> Decimal:
    """The number in `unit`. Raises `CannotCalculate`."""
    found = _run(program, facts)
    if not isinstance(found, Decimal):
        raise CannotCalculate("not_a_number")
    with localcontext(_CONTEXT):
        return _CLEAN.plus(found / units.unit(unit).scale)


def holds(program: Program, facts: Facts) -> bool:
    """Whether the condition is met. Raises `CannotCalculate`."""
    return bool(_run(program, facts))


def _run(program: Program, facts: Facts) -> Value:
    try:
        with localcontext(_CONTEXT):
            values = _Values(facts)
            for name, node in program.parts:
                values.named[name] = values.of(node)
            return values.of(program.result)
    except DecimalException:
        # Division by zero, the logarithm of nothing, an overflow.
        raise CannotCalculate("arithmetic") from None


class _Values:
    def __init__(self, facts: Facts) -> None:
        self.facts, self.named = facts, dict[str, Value]()

    def of(self, node: Node) -> Value:
        if isinstance(node, Number):
            return node.value * units.unit(node.unit).scale
        if isinstance(node, Text):
            return node.value
        if isinstance(node, Name):
            return self.name(node.name)
        if isinstance(node, Unary):
            inner = self.of(node.inner)
            return -_number(inner) if node.sign == "-" else not inner
        if isinstance(node, Binary):
            return self.binary(node)
        return self.call(node)

    def name(self, name: str) -> Value:
        if name in self.named:
            return self.named[name]
        if name == "sex":
            if self.facts.sex not in ("M", "F"):
                raise CannotCalculate("sex_unknown")
            return self.facts.sex
        if name in ("age", "age_days"):
            age = self.facts.age_years if name == "age" else self.facts.age_days
            if age is None:
                raise CannotCalculate("age_unknown")
            return Decimal(age) * (1 if name == "age" else units.unit("d").scale)
        if name == "specimen_type":
            return self.facts.specimen_type
        if name not in self.facts.numbers:
            raise CannotCalculate("operand_missing", name=name)
        number, unit = self.facts.numbers[name]
        return number * units.unit(unit).scale

    def binary(self, node: Binary) -> Value:
        left = self.of(node.left)
        if node.sign == "and":
            return bool(left) and bool(self.of(node.right))
        if node.sign == "or":
            return bool(left) or bool(self.of(node.right))
        right = self.of(node.right)
        if node.sign in ("=", "<>"):
            return (left == right) is (node.sign == "=")
        return _ARITHMETIC[node.sign](_number(left), _number(right))

    def call(self, node: Call) -> Value:
        if node.function in QUESTIONS:
            return self.answer(node.function, node.arguments[0])
        if node.function == "if":
            return self.of(node.arguments[1] if self.of(node.arguments[0]) else node.arguments[2])
        found: Decimal = _FUNCTIONS[node.function](*(_number(self.of(each)) for each in node.arguments))
        return found

    def answer(self, question: str, of: Node) -> Value:
        name = of.name if isinstance(of, Name) else ""
        if (question, name) in self.facts.answers:
            return self.facts.answers[question, name]
        if question == "known":
            return False
        raise CannotCalculate("answer_missing", name=name, question=question)


def _number(value: Value) -> Decimal:
    if not isinstance(value, Decimal):
        raise CannotCalculate("not_a_number")
    return value


_ARITHMETIC: dict[str, Callable[[Decimal, Decimal], Value]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "^": lambda left, right: left**right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "sum": lambda *each: reduce(lambda left, right: left + right, each),
    "abs": abs,
    "sqrt": lambda value: value.sqrt(),
    "ln": lambda value: value.ln(),
    "lg": lambda value: value.log10(),
    "exp": lambda value: value.exp(),
    "pow": lambda value, power: value**power,
}
__all__ = ["CannotCalculate", "Facts", "FormulaError", "evaluate", "holds"]
