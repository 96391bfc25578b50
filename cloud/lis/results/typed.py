"""What a person types as a result, read by what the test is: number, sign, unit, dilution, choice, titre. Pure.

Typed in another unit it is converted and both are kept; typed as ``35.2*10`` it is multiplied and both are kept. A key
of the test's choices stands for its word. What cannot be this test's value is refused with what would be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from cloud.kit.errors import Invalid
from cloud.lis.calculation import substances, units
from cloud.lis.calculation.units import UnitError
from cloud.lis.catalog.model import ValueType
from cloud.lis.verification.values import read_polarity, read_ratio, read_titre
from cloud.web.i18n import mark as N_
from protocols.model import Quantity

_NUMBER = re.compile(
    r"^(?P<sign><=|>=|<|>)?\s*(?P<number>[-+]?\d+(?:\.\d+)?)"
    r"(?:\s*[*xX]\s*(?P<factor>\d+(?:\.\d+)?))?\s*(?P<unit>[^\d\s.+\-*].*)?$"
)
_BARE_TITRE = re.compile(r"^(?P<sign><=|>=|<|>)?\s*(?P<reciprocal>\d{1,7})$")
LONGEST = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a test's list; `rank` puts grades in order (-, ±, 1+ …)."""

    key: str
    text: str
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class TypedTest:
    """What the reading must know of a test."""

    code: str
    unit: str
    decimals: int | None
    value_type: str
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class TypedValue:
    """What was typed, in which unit, diluted how."""

    text: str
    unit: str = ""
    dilution: str = ""


@dataclass(frozen=True, slots=True)
class Typed:
    """A read value: `text` and `quantity` in the catalogue's unit, and as it was typed."""

    text: str
    quantity: Quantity | None
    raw: str
    raw_unit: str | None = None
    dilution: str | None = None


def plain(text: str) -> str:
    """Full-width digits and signs as the keyboard's; blanks around it gone."""
    found = text.strip()
    for wide, narrow in (("≤", "<="), ("≥", ">="), ("×", "*"), ("．", "."), ("：", ":"), ("＜", "<"), ("＞", ">")):
        found = found.replace(wide, narrow)
    return "".join(chr(ord(each) - 0xFEE0) if "！" <= each <= "～" else each for each in found)


def read_typed(text: str, test: TypedTest, *, unit: str = "", dilution: str = "", strict: bool = True) -> Typed:
    """The value. Raises `Invalid` with the cure; without `strict` a word stands where a number is expected (held)."""
    raw = text.strip()
    if not raw or len(raw) > LONGEST:
        raise Invalid("value.empty", N_("请输入结果（不超过 200 字）。"))
    chosen = _chosen(raw, test.choices)
    if chosen is not None:
        return Typed(chosen.text, None, raw)
    if test.value_type == ValueType.NUMERIC:
        return _number(raw, test, unit, dilution, strict)
    if test.value_type == ValueType.RATIO:
        return _ratio(raw, test, unit, dilution, strict)
    if test.value_type == ValueType.TITRE:
        return _titre(raw, strict)
    if test.value_type == ValueType.QUALITATIVE and test.choices and strict:
        words = "、".join(f"{each.key}={each.text}" for each in test.choices)
        raise Invalid("value.no_choice", N_("“{typed}”不在可选结果内，请输入：{choices}。"), typed=raw, choices=words)
    return Typed(raw, None, raw)


def _chosen(raw: str, choices: Sequence[Choice]) -> Choice | None:
    word = plain(raw).lower()
    for each in choices:
        if word in (each.key.lower(), plain(each.text).lower()):
            return each
    return None


def _number(raw: str, test: TypedTest, unit: str, dilution: str, strict: bool) -> Typed:
    found = _NUMBER.match(plain(raw))
    if found is None:
        if strict:
            raise Invalid(
                "value.no_number",
                N_("“{typed}”不是数字。请输入数字，可带 < 或 >、稀释倍数（如 35.2*10）和单位。"),
                typed=raw,
            )
        return Typed(raw, None, raw)
    sign, number = found["sign"], Decimal(found["number"])
    typed_unit = (found["unit"] or unit).strip() or None
    times = found["factor"] or plain(dilution)
    factor = _dilution(times) * _conversion(typed_unit, test)
    if factor == 1:
        text = f"{sign or ''}{found['number']}"
        return Typed(text, Quantity(number, sign), raw, typed_unit, times or None)
    product = _rounded(number * factor, test.decimals, keep=sign is not None)
    return Typed(f"{sign or ''}{product:f}", Quantity(product, sign), raw, typed_unit, times or None)


def _ratio(raw: str, test: TypedTest, unit: str, dilution: str, strict: bool) -> Typed:
    """A number, or ``1.5:1``. A dilution changes both of what is divided: there is nothing to multiply."""
    text = plain(raw)
    if ":" in text and read_ratio(text) is None:
        if strict:
            raise Invalid(
                "value.ratio", N_("“{typed}”不是比值（1:80 是滴度），请输入数字，如 1.5 或 1.5:1。"), typed=raw
            )
        return Typed(raw, None, raw)
    read = _number(read_ratio(text) or text, test, unit, dilution, strict)
    if read.dilution is not None:
        raise Invalid("value.ratio_dilution", N_("比值不乘稀释倍数，请直接输入比值。"))
    return Typed(read.text, read.quantity, raw, read.raw_unit)


def _dilution(times: str) -> Decimal:
    """``10``, ``x10`` and ``1:10`` are ten times."""
    bare = times.strip().lower().removeprefix("x").removeprefix("*").removeprefix("1:").strip()
    if not bare:
        return Decimal(1)
    try:
        factor = Decimal(bare)
    except InvalidOperation:
        factor = Decimal(0)
    if not factor.is_finite() or not 1 <= factor <= 100_000:
        raise Invalid(
            "value.dilution", N_("稀释倍数“{typed}”不正确，请输入 1 到 100000 的数，如 10 或 1:10。"), typed=times
        )
    return factor


def _conversion(unit: str | None, test: TypedTest) -> Decimal:
    if unit is None or unit == test.unit:
        return Decimal(1)
    try:
        return units.factor(unit, test.unit, substances.mol_per_g(test.code))
    except UnitError:
        raise Invalid(
            "value.unit",
            N_("单位“{typed}”不能换算为 {unit}，请核对，或直接按 {unit} 输入。"),
            typed=unit,
            unit=test.unit or "1",
        ) from None


def _rounded(number: Decimal, decimals: int | None, *, keep: bool) -> Decimal:
    """To the test's digits; the bound of a sign is never rounded."""
    if decimals is None:
        return number.normalize()
    rounded = number.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)
    return rounded if not keep or rounded == number else number.normalize()


def _titre(raw: str, strict: bool) -> Typed:
    text = plain(raw)
    bare = _BARE_TITRE.match(text)
    if bare is not None:
        return Typed(f"{bare['sign'] or ''}1:{bare['reciprocal']}", None, raw)
    titre = read_titre(text)
    if titre is not None:
        return Typed(f"{titre.comparator or ''}1:{titre.reciprocal}", None, raw)
    if strict and read_polarity(text) is None:
        raise Invalid("value.no_titre", N_("“{typed}”不是滴度，请输入如 80 或 1:80，或“阴性”。"), typed=raw)
    return Typed(raw, None, raw)
