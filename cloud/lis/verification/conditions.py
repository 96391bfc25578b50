"""Conditions as a person types them: ``DBIL`` > ``TBIL``, ``3*HGB - 10*HCT`` outside -30 … 30. No code, only sums.

A side is a sum of tests with factors, and numbers; both sides are brought to one sum of tests against one number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_TERM = re.compile(
    r"\s*([+\-−–]?)\s*(?:(\d+(?:\.\d+)?)\s*(?:[*×xX]\s*(?=[A-Za-z_]))?)?([A-Za-z][A-Za-z0-9_]*)?\s*", re.ASCII
)
SIGNS = {"+": 1, "": 1, "-": -1, "−": -1, "–": -1}
_SYNONYMS = {">": ">", "≥": ">=", ">=": ">=", "＞": ">", "<": "<", "≤": "<=", "<=": "<=", "＜": "<"}
LONGEST = 200


class Unreadable(ValueError):
    """The text is no sum of tests and numbers; the message is the text."""


def parse_sum(text: str) -> tuple[dict[str, Decimal], Decimal]:
    """(factor by test, the numbers together)."""
    factors: dict[str, Decimal] = {}
    constant = Decimal(0)
    place = 0
    if not text.strip() or len(text) > LONGEST:
        raise Unreadable(text[:LONGEST])
    while place < len(text):
        found = _TERM.match(text, place)
        if found is None or found.end() == place or (place and not found[1]) or not (found[2] or found[3]):
            raise Unreadable(text)
        number = SIGNS[found[1]] * Decimal(found[2] or 1)
        if found[3]:
            code = found[3].upper()
            factors[code] = factors.get(code, Decimal(0)) + number
        else:
            constant += number
        place = found.end()
    return factors, constant


def condition(left: str, op: str, right: str, high: str = "") -> dict[str, Any]:
    """One condition of a relation rule. Raises `Unreadable`."""
    factors, constant = parse_sum(left)
    other, bound = parse_sum(right)
    if op in ("outside", "inside"):
        top, upper = parse_sum(high)
        if other or top:
            raise Unreadable(right)
        return {"terms": _terms(factors), "op": op, "value": bound - constant, "high": upper - constant}
    for code, factor in other.items():
        factors[code] = factors.get(code, Decimal(0)) - factor
    return {"terms": _terms(factors), "op": _SYNONYMS.get(op, op), "value": bound - constant}


def _terms(factors: Mapping[str, Decimal]) -> tuple[tuple[str, Decimal], ...]:
    found = tuple((code, factor) for code, factor in factors.items() if factor)
    if not found:
        raise Unreadable("")
    return found


def boxes(found: Mapping[str, Any]) -> dict[str, str]:
    """The condition as its form shows it again: tests on the left, a number on the right where it is no comparison."""
    op, value = found["op"], found.get("value")
    terms = list(found["terms"])
    if op in ("outside", "inside"):
        return {"left": _text(terms), "op": op, "right": _number(value), "high": _number(found["high"])}
    plus = [each for each in terms if each[1] > 0]
    minus = [(code, -factor) for code, factor in terms if factor < 0]
    if plus and minus and value == 0:
        return {"left": _text(plus), "op": op, "right": _text(minus), "high": ""}
    return {"left": _text(terms), "op": op, "right": _number(value), "high": ""}


def _text(terms: list[tuple[str, Decimal]]) -> str:
    text = ""
    for code, factor in terms:
        said = code if abs(factor) == 1 else f"{_number(abs(factor))}*{code}"
        text = f"{text} {'-' if factor < 0 else '+'} {said}" if text else (f"-{said}" if factor < 0 else said)
    return text


def _number(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f}"
