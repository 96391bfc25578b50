"""What the configuration check asks of units: a test's, its ranges', its channels' and its formulas' are one kind.

Read with the unit table (`units`); a unit that nobody can read is only told where something hangs on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.lis.calculation import substances, units
from cloud.lis.calculation.units import UnitError
from cloud.lis.catalog.model import ApprovalState, ReferenceRange, Test, ValueType
from cloud.lis.catalog.rules import Problem
from cloud.lis.instruments.model import ChannelKind, Instrument, InstrumentChannel

ROUNDED = Decimal("0.005")
"""A factor as manuals print it (0.0555 for 0.055508) is the factor."""
_WITH_UNIT = re.compile(r"\d(?:\.\d+)?\s*(?P<unit>(?:10\^|[A-Za-zμµ%])[A-Za-z0-9μµ%^*/.²·]*)")
_QUOTIENTS = (("g", "mol"), ("mol", "g"))


def problems(session: Session, on: date) -> list[Problem]:
    """Units of tests, of the words of their ranges and of their channels that do not go together."""
    tests = {each.id: each for each in session.scalars(select(Test).where(Test.state != ApprovalState.RETIRED))}
    found = [each for test in tests.values() for each in _of_test(test)]
    ranges = session.execute(
        select(ReferenceRange.test_id, ReferenceRange.text)
        .where(ReferenceRange.text != "", ReferenceRange.state != ApprovalState.RETIRED)
        .where(ReferenceRange.valid_to.is_(None) | (ReferenceRange.valid_to > on))
        .order_by(ReferenceRange.test_id, ReferenceRange.text)
    )
    found += [each for test_id, text in ranges if test_id in tests for each in _of_words(tests[test_id], text)]
    channels = session.execute(
        select(Instrument.code, InstrumentChannel)
        .join(InstrumentChannel, InstrumentChannel.instrument_id == Instrument.id)
        .where(InstrumentChannel.kind == ChannelKind.TEST, InstrumentChannel.state != ApprovalState.RETIRED)
        .order_by(Instrument.code, InstrumentChannel.code)
    )
    for code, channel in channels:
        test = tests.get(channel.test_id) if channel.test_id is not None else None
        found += of_channel(code, channel, test) if test is not None else []
    return list(dict.fromkeys(found))


def _of_test(test: Test) -> Iterable[Problem]:
    if test.value_type != ValueType.RATIO or not test.unit:
        return
    unit = _unit(test.unit)
    names = {name for name, _ in unit.dimensions} if unit is not None else {"?"}
    if names and names not in [set(each) for each in _QUOTIENTS]:
        yield Problem(test.code, "ratio_unit", test.unit)


def _of_words(test: Test, text: str) -> Iterable[Problem]:
    """The unit that a range's own wording names ("<5.2 mmol/L")."""
    for found in _WITH_UNIT.finditer(text):
        if found["unit"] != test.unit and not _worth(found["unit"], test.unit):
            yield Problem(test.code, "range_unit_differs", f"{text}; {test.unit or '—'}")


def _worth(left: str, right: str) -> bool:
    try:
        return units.factor(left, right) == 1
    except UnitError:
        return False


def of_channel(instrument: str, channel: InstrumentChannel, test: Test) -> Iterable[Problem]:
    """Findings of one channel; none where the test is no number."""
    if not ValueType(test.value_type).in_numbers:
        return
    if not channel.unit:
        if channel.factor != 1:
            yield Problem(instrument, "channel_factor_differs", f"{channel.code}: {test.code} ×{channel.factor:f}")
        return
    substance = substances.mol_per_g(test.code)
    try:
        factor = units.factor(channel.unit, test.unit, substance)
    except UnitError:
        # A label beside a number without a unit ("INR", "COI") is no unit; one beside a unit is another quantity.
        if test.unit or _unit(channel.unit) is not None:
            detail = f"{channel.code} {channel.unit} → {test.code} {test.unit or '—'}"
            yield Problem(instrument, "channel_unit_differs", detail)
    else:
        if abs(channel.factor - factor) > factor * ROUNDED:
            detail = f"{channel.code} {channel.unit} → {test.code} {test.unit or '—'}: ×{_short(channel.factor)}"
            yield Problem(instrument, "channel_factor_differs", f"{detail} ≠ ×{_short(factor)}")
    for each in re.split(r"[,，、;；]", channel.also_units or ""):
        if each.strip() and not units.convertible(each.strip(), test.unit, substance):
            yield Problem(
                instrument, "channel_unit_differs", f"{channel.code} {each.strip()} → {test.code} {test.unit}"
            )


def _unit(text: str) -> units.Unit | None:
    try:
        return units.unit(text)
    except UnitError:
        return None


def _short(number: Decimal) -> str:
    return f"{Decimal(f'{number:.6g}').normalize():f}"
