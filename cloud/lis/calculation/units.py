"""Units of the laboratory as numbers: ``10^9/L``, ``μmol/L``, ``mL/min/1.73m²``. Pure, decimal, nothing rounded.

A unit is a scale and its dimensions. Mass and amount of substance of one analyte turn into each other by `mol_per_g`
(`substances`). What counts for itself (IU, U, FEU, Osm) is a dimension of its own: there is no factor to anything else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

Dimensions = tuple[tuple[str, int], ...]
"""Base dimension and power, by name, no zero powers; () is a plain number."""
NONE: Dimensions = ()


class UnitError(ValueError):
    """A unit that cannot be read, or two that cannot be converted; `text` is what was written."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


@dataclass(frozen=True, slots=True)
class Unit:
    """`scale`: how many base units one of it is."""

    scale: Decimal
    dimensions: Dimensions


_PREFIXES = {
    "k": Decimal(1000),
    "d": Decimal("0.1"),
    "c": Decimal("0.01"),
    "m": Decimal("0.001"),
    "u": Decimal("1e-6"),
    "n": Decimal("1e-9"),
    "p": Decimal("1e-12"),
    "f": Decimal("1e-15"),
}
_DAY = Decimal(86_400)
_PREFIXED: dict[str, tuple[Decimal, dict[str, int]]] = {
    "g": (Decimal(1), {"g": 1}),
    "mol": (Decimal(1), {"mol": 1}),
    "L": (Decimal("0.001"), {"m": 3}),
    "m": (Decimal(1), {"m": 1}),
    "s": (Decimal(1), {"s": 1}),
    "Pa": (Decimal(1), {"Pa": 1}),
    "IU": (Decimal(1), {"IU": 1}),
    "U": (Decimal(1), {"U": 1}),
    "Osm": (Decimal(1), {"Osm": 1}),
    "Eq": (Decimal(1), {"Eq": 1}),
}
_PLAIN: dict[str, tuple[Decimal, dict[str, int]]] = {
    "": (Decimal(1), {}),
    "1": (Decimal(1), {}),
    "%": (Decimal("0.01"), {}),
    "min": (Decimal(60), {"s": 1}),
    "h": (Decimal(3600), {"s": 1}),
    "d": (_DAY, {"s": 1}),
    "day": (_DAY, {"s": 1}),
    # A year of age is counted in birthdays, not in seconds: a dimension of its own.
    "year": (Decimal(1), {"year": 1}),
    "岁": (Decimal(1), {"year": 1}),
    "mmHg": (Decimal("133.322"), {"Pa": 1}),
    "FEU": (Decimal(1), {"FEU": 1}),
    "DDU": (Decimal(1), {"DDU": 1}),
    "copies": (Decimal(1), {}),
    "HPF": (Decimal(1), {"HPF": 1}),
    "LPF": (Decimal(1), {"LPF": 1}),
}
_SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_RAISED = re.compile("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_FACTOR = re.compile(r"^(\d+(?:\.\d+)?)?(?:\^(-?\d+))?([A-Za-z%岁]*)(?:\^?(-?\d+))?$")


@cache
def unit(text: str) -> Unit:
    """The unit that is written so. Raises `UnitError` for what nobody knows."""
    plain = text.strip().replace("µ", "u").replace("μ", "u").replace("×", "*").replace("·", "*")
    plain = _RAISED.sub(lambda found: "^" + found[0].translate(_SUPERSCRIPTS), plain)
    plain = re.sub(r"10(\*\*|\*|E|e)(?=-?\d)", "10^", plain)
    scale, powers = Decimal(1), dict[str, int]()
    sign = 1
    for part in re.split(r"([/*\s])", plain):
        if part == "/":
            sign = -1
        elif part == "*" or part.isspace():
            sign = 1
        elif part:
            one, dimensions = _factor(part, text)
            scale = scale * one if sign > 0 else scale / one
            for name, power in dimensions.items():
                powers[name] = powers.get(name, 0) + sign * power
    return Unit(scale, pack(powers))


def _factor(part: str, whole: str) -> tuple[Decimal, dict[str, int]]:
    found = _FACTOR.match(part)
    if found is None:
        raise UnitError("unit_unknown", whole)
    number, number_power, symbol, power = found.groups()
    scale = Decimal(number or 1)
    if number_power is not None:
        scale **= int(number_power)
    one, dimensions = _symbol(symbol, whole)
    times = int(power or 1)
    return scale * one**times, {name: each * times for name, each in dimensions.items()}


def _symbol(symbol: str, whole: str) -> tuple[Decimal, dict[str, int]]:
    if symbol in _PLAIN:
        return _PLAIN[symbol]
    wanted = re.sub(r"l$", "L", symbol) if symbol not in ("mol",) and not symbol.endswith("mol") else symbol
    if wanted in _PREFIXED:
        return _PREFIXED[wanted]
    prefix, rest = wanted[:1], wanted[1:]
    if prefix in _PREFIXES and rest in _PREFIXED:
        one, dimensions = _PREFIXED[rest]
        return one * _PREFIXES[prefix], dimensions
    raise UnitError("unit_unknown", whole)


def pack(powers: dict[str, int]) -> Dimensions:
    return tuple(sorted((name, power) for name, power in powers.items() if power))


def multiply(left: Dimensions, right: Dimensions, sign: int = 1) -> Dimensions:
    """Dimensions of a product (`sign` 1) or a quotient (-1)."""
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, 0) + sign * power
    return pack(powers)


def raised(dimensions: Dimensions, power: int) -> Dimensions:
    return pack({name: each * power for name, each in dimensions})


def spelled(dimensions: Dimensions) -> str:
    """Dimensions for a person: ``g·L⁻¹`` reads "g/L" (volume as litres)."""
    powers = dict(dimensions)
    if powers.get("m", 0) % 3 == 0 and powers.get("m"):
        powers["L"] = powers.pop("m") // 3
    above = "·".join(name + (f"^{power}" if power > 1 else "") for name, power in powers.items() if power > 0)
    below = "".join(f"/{name}" + (f"^{-power}" if power < -1 else "") for name, power in powers.items() if power < 0)
    return (above or "1") + below if powers else "1"


def factor(come_from: str, goes_to: str, mol_per_g: Decimal | None = None) -> Decimal:
    """Value in `goes_to` = value in `come_from` times this. Raises `UnitError` where they measure different things.

    `mol_per_g` lets mass and amount of this substance turn into each other.
    """
    source, target = unit(come_from), unit(goes_to)
    ratio = source.scale / target.scale
    if source.dimensions == target.dimensions:
        return ratio
    missing = dict(multiply(source.dimensions, target.dimensions, -1))
    grams, moles = missing.get("g", 0), missing.get("mol", 0)
    if mol_per_g is None or set(missing) != {"g", "mol"} or grams != -moles:
        raise UnitError("not_convertible", f"{come_from} → {goes_to}")
    return ratio * mol_per_g**grams


def convertible(come_from: str, goes_to: str, mol_per_g: Decimal | None = None) -> bool:
    """Whether there is a factor."""
    try:
        factor(come_from, goes_to, mol_per_g)
    except UnitError:
        return False
    return True
