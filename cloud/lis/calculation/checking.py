"""Whether a formula makes sense before it ever sees a number: known names, matching units, no cycle. Pure.

Every fault is a `FormulaError` with its place; the first one is raised, because what follows is often only its echo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cloud.lis.calculation import units
from cloud.lis.calculation.language import (
    COMPARISONS,
    FACTS,
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
from cloud.lis.calculation.units import Dimensions, UnitError

Sort = Literal["number", "truth", "text"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a part of a formula is: a number of some dimension, a truth, or a word."""

    sort: Sort
    dimensions: Dimensions = units.NONE


TRUTH, WORD, PLAIN = Kind("truth"), Kind("text"), Kind("number")
_FACT_KINDS = {
    "sex": WORD,
    "specimen_type": WORD,
    "age": Kind("number", units.unit("year").dimensions),
    "age_days": Kind("number", units.unit("d").dimensions),
}
_QUESTION_KINDS = {
    "flag": WORD,
    "text": WORD,
    "polarity": WORD,
    "grade": PLAIN,
    "titre": PLAIN,
    "run": PLAIN,
    "delta": PLAIN,
    "critical": TRUTH,
    "held": TRUTH,
    "alarm": TRUTH,
    "known": TRUTH,
}


def kind_of(program: Program, operands: Mapping[str, str], *, questions: bool = False) -> Kind:
    """The kind of the result. `operands`: unit by name of every test that may be read. `questions`: also flag(TSH)
    and the like (conditions of rules). Raises `FormulaError`.
    """
    check = _Check({name: _unit_kind(unit) for name, unit in operands.items()}, questions)
    for name, node in program.parts:
        check.known[name] = check.kind(node)
    return check.kind(program.result)


def check_formula(program: Program, operands: Mapping[str, str], target_unit: str) -> None:
    """The result can be said in `target_unit`. Raises `FormulaError`."""
    found = kind_of(program, operands)
    if found.sort != "number":
        raise FormulaError("not_a_number", 0, program.result.end)
    wanted = units.unit(target_unit).dimensions
    if found.dimensions != wanted:
        raise FormulaError(
            "result_unit",
            program.result.start,
            program.result.end,
            found=units.spelled(found.dimensions),
            wanted=target_unit or "1",
        )


def check_condition(program: Program, operands: Mapping[str, str], *, questions: bool = False) -> None:
    """It is a yes or no. Raises `FormulaError`."""
    if kind_of(program, operands, questions=questions).sort != "truth":
        raise FormulaError("not_a_condition", program.result.start, program.result.end)


def cycle(reads: Mapping[str, tuple[str, ...]], start: str) -> tuple[str, ...]:
    """A way from `start` back to itself along what each (a calculated test, a rule) reads; () when there is none."""
    seen: set[str] = set()

    def follow(at: str, way: tuple[str, ...]) -> tuple[str, ...]:
        for each in reads.get(at, ()):
            if each == start:
                return (*way, each)
            if each not in seen:
                seen.add(each)
                found = follow(each, (*way, each))
                if found:
                    return found
        return ()

    return follow(start, (start,))


def _unit_kind(unit: str) -> Kind:
    return Kind("number", units.unit(unit).dimensions)


class _Check:
    def __init__(self, operands: dict[str, Kind], questions: bool) -> None:
        self.known, self.questions = operands, questions

    def kind(self, node: Node) -> Kind:
        if isinstance(node, Number):
            try:
                return _unit_kind(node.unit)
            except UnitError as fault:
                raise FormulaError("unit_unknown", node.start, node.end, unit=fault.text) from None
        if isinstance(node, Text):
            return WORD
        if isinstance(node, Name):
            return self.name(node)
        if isinstance(node, Unary):
            return self.unary(node)
        if isinstance(node, Binary):
            return self.binary(node)
        return self.call(node)

    def name(self, node: Name) -> Kind:
        if node.name in FACTS:
            return _FACT_KINDS[node.name]
        if node.name not in self.known:
            raise FormulaError("name_unknown", node.start, node.end, name=node.name)
        return self.known[node.name]

    def unary(self, node: Unary) -> Kind:
        inner = self.kind(node.inner)
        wanted: Sort = "number" if node.sign == "-" else "truth"
        if inner.sort != wanted:
            raise FormulaError("wrong_sort", node.start, node.end, sign=node.sign)
        return inner

    def binary(self, node: Binary) -> Kind:
        left, right = self.kind(node.left), self.kind(node.right)
        if node.sign in ("and", "or"):
            if left.sort != "truth" or right.sort != "truth":
                raise FormulaError("wrong_sort", node.start, node.end, sign=node.sign)
            return TRUTH
        if node.sign in ("=", "<>") and left.sort == right.sort == "text":
            return TRUTH
        if left.sort != "number" or right.sort != "number":
            raise FormulaError("wrong_sort", node.start, node.end, sign=node.sign)
        if node.sign == "*":
            return Kind("number", units.multiply(left.dimensions, right.dimensions))
        if node.sign == "/":
            return Kind("number", units.multiply(left.dimensions, right.dimensions, -1))
        if node.sign == "^":
            return self.power(node, left, node.right, right)
        self.alike(node, left, right)
        return TRUTH if node.sign in COMPARISONS else left

    def power(self, node: Node, base: Kind, exponent: Node, kind: Kind) -> Kind:
        if kind.dimensions:
            raise FormulaError("exponent_unit", exponent.start, exponent.end, found=units.spelled(kind.dimensions))
        if not base.dimensions:
            return PLAIN
        whole = _literal(exponent)
        if whole is None:
            raise FormulaError("power_of_unit", node.start, node.end, found=units.spelled(base.dimensions))
        return Kind("number", units.raised(base.dimensions, whole))

    def alike(self, node: Node, left: Kind, right: Kind) -> None:
        if left.dimensions != right.dimensions:
            raise FormulaError(
                "units_differ",
                node.start,
                node.end,
                left=units.spelled(left.dimensions),
                right=units.spelled(right.dimensions),
            )

    def call(self, node: Call) -> Kind:
        if node.function in QUESTIONS:
            if not self.questions:
                raise FormulaError("question_in_formula", node.start, node.end, name=node.function)
            self.name(node.arguments[0])  # type: ignore[arg-type]  # the parser lets only a name stand there
            return _QUESTION_KINDS[node.function]
        kinds = [self.kind(each) for each in node.arguments]
        if node.function == "if":
            return self.choice(node, kinds)
        if any(each.sort != "number" for each in kinds):
            raise FormulaError("wrong_sort", node.start, node.end, sign=node.function)
        if node.function in ("min", "max", "sum"):
            for each in kinds[1:]:
                self.alike(node, kinds[0], each)
            return kinds[0]
        if node.function == "abs":
            return kinds[0]
        if node.function == "pow":
            return self.power(node, kinds[0], node.arguments[1], kinds[1])
        if kinds[0].dimensions:
            raise FormulaError(
                "function_of_unit", node.start, node.end, name=node.function, found=units.spelled(kinds[0].dimensions)
            )
        return PLAIN

    def choice(self, node: Call, kinds: list[Kind]) -> Kind:
        if kinds[0].sort != "truth":
            raise FormulaError("not_a_condition", node.arguments[0].start, node.arguments[0].end)
        if kinds[1].sort != kinds[2].sort:
            raise FormulaError("wrong_sort", node.start, node.end, sign="if")
        self.alike(node, kinds[1], kinds[2])
        return kinds[1]


def _literal(node: Node) -> int | None:
    """The whole number that is written there."""
    if isinstance(node, Unary) and node.sign == "-":
        inner = _literal(node.inner)
        return None if inner is None else -inner
    if isinstance(node, Number) and not node.unit and node.value == int(node.value):
        return int(node.value)
    return None
