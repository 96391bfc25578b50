"""The language of formulas and conditions: text to tree. Pure; every fault says where it is.

    k := if(sex = 'F', 0.7[mg/dL], 0.9[mg/dL]);
    142[mL/min/1.73m²] * min(CREA/k, 1)^-0.302 * 0.9938^(age/1[year])

Numbers may carry a unit in brackets. Names of tests are their codes (capital letters); ``sex`` is 'M' or 'F', ``age``
completed years, ``age_days`` days. ``:=`` names a part. Chinese punctuation and ≤ ≥ ≠ × ÷ are read like their Latin
ones. There are no loops, no assignment to a test and no way out of the language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

LONGEST = 2000
DEEPEST = 60
FUNCTIONS: dict[str, tuple[int, int]] = {
    "min": (1, 12),
    "max": (1, 12),
    "sum": (1, 12),
    "abs": (1, 1),
    "sqrt": (1, 1),
    "ln": (1, 1),
    "lg": (1, 1),
    "exp": (1, 1),
    "pow": (2, 2),
    "if": (3, 3),
}
"""Name to fewest and most arguments."""
QUESTIONS = frozenset(
    {"flag", "text", "polarity", "grade", "titre", "critical", "held", "delta", "run", "alarm", "known"}
)
"""What may be asked of a test's result besides its number; in conditions of rules, not in formulas."""
FACTS = frozenset({"sex", "age", "age_days", "specimen_type"})
_FULL_WIDTH = str.maketrans("(),;:<>=+-*/[]×÷≤≥≠−“”‘’'", "(),;:<>=+-*/[]*/≤≥≠-'''''")
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<unit>\[[^\]\n]*\])"
    r"|(?P<text>'[^'\n]*')"
    r"|(?P<sign>:=|<=|>=|<>|!=|==|[-+*/^(),;=<>≤≥≠])"
)


class FormulaError(ValueError):
    """A fault at characters `start` to `end` of the text; `code` and `fields` make the sentence (`wording`)."""

    def __init__(self, code: str, start: int = 0, end: int = 0, **fields: str) -> None:
        super().__init__(f"{code} at {start}: {fields}")
        self.code, self.start, self.end, self.fields = code, start, end, fields


@dataclass(frozen=True, slots=True)
class Number:
    value: Decimal
    unit: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Text:
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Name:
    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Binary:
    """+ - * / ^, a comparison, ``and`` or ``or``."""

    sign: str
    left: Node
    right: Node
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Unary:
    """``-`` or ``not``."""

    sign: str
    inner: Node
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple[Node, ...]
    start: int
    end: int


Node = Number | Text | Name | Binary | Unary | Call
COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})


@dataclass(frozen=True, slots=True)
class Program:
    """Named parts in their order, and what is calculated from them."""

    parts: tuple[tuple[str, Node], ...]
    result: Node

    @property
    def names(self) -> tuple[str, ...]:
        """Tests that it reads, in the order in which they stand there."""
        own = {name for name, _ in self.parts}
        found: list[str] = []
        for node in (*(each for _, each in self.parts), self.result):
            found += [each.name for each in walk(node) if isinstance(each, Name)]
        return tuple(dict.fromkeys(each for each in found if each not in own and each not in FACTS))


def walk(node: Node) -> Iterator[Node]:
    """The node and everything under it."""
    yield node
    inner: tuple[Node, ...] = ()
    if isinstance(node, Binary):
        inner = (node.left, node.right)
    elif isinstance(node, Unary):
        inner = (node.inner,)
    elif isinstance(node, Call):
        inner = node.arguments
    for each in inner:
        yield from walk(each)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def parse(text: str) -> Program:
    """The tree. Raises `FormulaError` with the place."""
    if not text.strip():
        raise FormulaError("empty")
    if len(text) > LONGEST:
        raise FormulaError("too_long", 0, len(text))
    return _Parser(_tokens(text), len(text)).program()


_SAME_SIGN = {"≤": "<=", "≥": ">=", "≠": "<>", "!=": "<>", "==": "="}


def _tokens(text: str) -> list[_Token]:
    plain = text.translate(_FULL_WIDTH)
    found: list[_Token] = []
    at = 0
    while at < len(plain):
        match = _TOKEN.match(plain, at)
        if match is None:
            raise FormulaError("unreadable", at, at + 1, text=text[at])
        kind = match.lastgroup or ""
        if kind != "space":
            # A unit keeps its own letters: ² and μ are not punctuation.
            word = text[at : match.end()] if kind == "unit" else match.group()
            found.append(_Token(kind, _SAME_SIGN.get(word, word), at, match.end()))
        at = match.end()
    return found


_STRENGTH = {"or": 1, "and": 2, **dict.fromkeys(COMPARISONS, 4), "+": 5, "-": 5, "*": 6, "/": 6, "^": 8}
_NEGATION, _NOT = 7, 3


class _Parser:
    """Precedence climbing over the tokens."""

    def __init__(self, tokens: list[_Token], end: int) -> None:
        self.tokens, self.end, self.at, self.depth = tokens, end, 0, 0

    def peek(self, ahead: int = 0) -> _Token:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else _Token("end", "", self.end, self.end)

    def take(self, wanted: str | None = None) -> _Token:
        token = self.peek()
        if wanted is not None and token.text != wanted:
            raise FormulaError("expected", token.start, max(token.end, token.start + 1), wanted=wanted)
        self.at += 1
        return token

    def program(self) -> Program:
        parts: list[tuple[str, Node]] = []
        while self.peek().kind == "name" and self.peek(1).text == ":=":
            name = self.take()
            if name.text in {each for each, _ in parts} or name.text in FACTS or name.text in FUNCTIONS:
                raise FormulaError("name_taken", name.start, name.end, name=name.text)
            self.take(":=")
            parts.append((name.text, self.expression(0)))
            self.take(";")
        result = self.expression(0)
        rest = self.peek()
        if rest.kind != "end":
            raise FormulaError("left_over", rest.start, self.end, text=rest.text)
        return Program(tuple(parts), result)

    def expression(self, weakest: int) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise FormulaError("too_deep", self.peek().start, self.peek().end)
        left = self.operand()
        while True:
            token = self.peek()
            strength = _STRENGTH.get(token.text, 0) if token.kind in ("sign", "name") else 0
            if not strength or strength < weakest:
                break
            self.take()
            # ^ binds to the right: 2^3^2 is 2^9.
            right = self.expression(strength if token.text == "^" else strength + 1)
            left = Binary(token.text, left, right, left.start, right.end)
        self.depth -= 1
        return left

    def operand(self) -> Node:
        token = self.take()
        if token.kind == "number":
            unit = ""
            end = token.end
            if self.peek().kind == "unit":
                bracket = self.take()
                unit, end = bracket.text[1:-1].strip(), bracket.end
            return Number(Decimal(token.text), unit, token.start, end)
        if token.kind == "text":
            return Text(token.text[1:-1], token.start, token.end)
        if token.text == "(":
            inner = self.expression(0)
            self.take(")")
            return inner
        if token.text in ("-", "not"):
            inner = self.expression(_NEGATION if token.text == "-" else _NOT)
            return Unary(token.text, inner, token.start, inner.end)
        if token.kind == "name" and token.text not in ("and", "or"):
            if self.peek().text == "(":
                return self.call(token)
            if token.text in FUNCTIONS or token.text in QUESTIONS:
                raise FormulaError("expected", token.end, token.end + 1, wanted="(")
            return Name(token.text, token.start, token.end)
        raise FormulaError("operand_missing", token.start, max(token.end, token.start + 1))

    def call(self, name: _Token) -> Node:
        if name.text not in FUNCTIONS and name.text not in QUESTIONS:
            raise FormulaError("function_unknown", name.start, name.end, name=name.text)
        self.take("(")
        arguments = [self.expression(0)]
        while self.peek().text == ",":
            self.take()
            arguments.append(self.expression(0))
        end = self.take(")").end
        fewest, most = FUNCTIONS.get(name.text, (1, 1))
        if not fewest <= len(arguments) <= most:
            raise FormulaError("arguments", name.start, end, name=name.text, wanted=str(fewest))
        if name.text in QUESTIONS and not isinstance(arguments[0], Name):
            raise FormulaError("question_of_test", name.start, end, name=name.text)
        return Call(name.text, tuple(arguments), name.start, end)
