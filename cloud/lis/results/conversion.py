"""From the unit a value came in to the catalogue's: by the channel's factor, by the unit table, or not at all (held).

A unit other than the channel's is converted only where somebody approved it for that channel (`also_units`), with the
factor of `calculation.units`. Nothing is converted or taken silently: every other unit is held, and the finding says
what it was and what was expected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from cloud.lis.calculation import substances, units
from cloud.lis.calculation.units import UnitError
from cloud.lis.catalog.model import Test, ValueType
from cloud.lis.instruments.model import InstrumentChannel

_RAISED = re.compile("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_PLAIN_DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
_POWER_OF_TEN = re.compile(r"(?<!\d)10(?:\*\*|\*|\^|x|e)?\+?(-?\d+)(?!\d)")
"""``10*9``, ``10^9``, ``10**9``, ``10E9``, ``10x9`` and ``109`` (a superscript that was lost) say one thing."""
_BETWEEN = re.compile(r"[,，、;；]")
_ONE = Decimal(1)
_SHOWN_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Conversion:
    """Value of ours = value as sent times `factor`. `expected` false: not converted, the value is held."""

    factor: Decimal = _ONE
    expected: bool = True
    wanted: str = ""
    """The unit that was expected, where another one came."""
    by_table: str = ""
    """ "1 mg/dL = 0.0555 mmol/L", where the unit table converted."""


def conversion_of(channel: InstrumentChannel | None, sent: str | None, test: Test) -> Conversion:
    """How a value in the unit `sent` becomes one of `test`. A unit that is not sent is the channel's."""
    if channel is None or not sent or not sent.strip():
        return Conversion(channel.factor if channel is not None else _ONE)
    wanted = channel.unit or test.unit
    if not channel.unit and not _unit_matters(test):
        return Conversion(channel.factor)
    if alike(sent, wanted):
        return Conversion(channel.factor)
    if any(same_unit(sent, each) for each in also_units(channel)):
        by_table = table_factor(sent, test)
        if by_table is not None:
            shown = f"{by_table:.{_SHOWN_DIGITS}g}" if by_table != by_table.to_integral() else f"{by_table:f}"
            return Conversion(by_table, wanted=wanted, by_table=f"1 {sent} = {Decimal(shown):f} {test.unit}")
    return Conversion(expected=False, wanted=wanted)


def _unit_matters(test: Test) -> bool:
    """Words, titres and descriptions are in no unit: what an analyzer writes beside them is a label."""
    return ValueType(test.value_type).in_numbers


def also_units(channel: InstrumentChannel) -> tuple[str, ...]:
    """Units besides its own that the channel may send."""
    return tuple(each.strip() for each in _BETWEEN.split(channel.also_units or "") if each.strip())


def table_factor(sent: str, test: Test) -> Decimal | None:
    """Factor of the unit table; None where the unit is unknown or measures something else."""
    try:
        return units.factor(sent, test.unit, substances.mol_per_g(test.code))
    except UnitError:
        return None


def alike(sent: str, wanted: str) -> bool:
    """One unit, in whatever way it is written: ``10*3/uL`` and ``10^9/L`` are."""
    return same_unit(sent, wanted) or _worth_the_same(sent, wanted)


@lru_cache(maxsize=1024)
def _worth_the_same(sent: str, wanted: str) -> bool:
    try:
        return units.factor(sent, wanted) == 1
    except UnitError:
        return False


def same_unit(sent: str, expected: str) -> bool:
    """Alike but for case, blanks and the ways to write a power or a micro sign."""
    return _unit_key(sent) == _unit_key(expected)


@lru_cache(maxsize=1024)
def _unit_key(unit: str) -> str:
    key = "".join(unit.split()).lower().replace("µ", "u").replace("μ", "u").replace("×", "x")
    key = _RAISED.sub(lambda found: "^" + found[0].translate(_PLAIN_DIGITS), key)
    return _POWER_OF_TEN.sub(r"10^\1", key).removeprefix("x").removeprefix("*")
