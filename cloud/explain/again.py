"""Each step worked out again from what was stored, beside what was stored of its outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.gateways.model import InboxMessage
from cloud.gateways.redecode.reading import driver_of, read
from cloud.kit.errors import XinglinError
from cloud.lis.catalog.model import CriticalLimit, ReferenceRange, Test, ValueType
from cloud.lis.instruments.model import InstrumentChannel
from cloud.lis.results.conversion import conversion_of
from cloud.lis.results.model import Result
from cloud.lis.verification import consistency, delta
from cloud.lis.verification.rules import (
    RULES_VERSION,
    Bounds,
    CriticalBounds,
    Measured,
    Previous,
    across,
    judge,
)
from cloud.lis.verification.values import convert, read_ratio
from protocols.model import Quantity

_REASONS = (
    "instrument_flag no_value instrument_status unit_unexpected unit_converted hand_dilution dilution_doubt no_number"
    " no_range phase_unknown not_comparable no_titre critical delta delta_unsure part_exceeds_whole differential_sum"
)
ONE_BY_ONE = frozenset(_REASONS.split())
"""Reasons that `verification.rules` gives; a stored one of another kind was added by another slice and is printed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One step: what it says, and whether it comes out the same. None: it cannot be worked out again, `says` why."""

    step: str
    says: str
    same: bool | None


def message(session: Session, result: Result) -> list[Check]:
    """The bytes behind the value, their hash, and what today's driver reads from them."""
    if result.inbox_id is None:
        return [Check("message", f"none: the value was {result.source}", None)]
    found = session.get(InboxMessage, result.inbox_id)
    if found is None:
        return [Check("message", f"{result.inbox_id} is not among the stored messages", False)]
    digest = hashlib.sha256(found.raw).hexdigest()
    where = f"{found.gateway}/{found.link} epoch {found.epoch} sequence {found.sequence}, {found.received_at:%F %T}Z"
    checks = [Check("message", f"{where}, {len(found.raw)} bytes, sha256 {digest}", digest == found.sha256)]
    item = found.items[result.ordinal] if result.ordinal < len(found.items) else {}
    kept = (item.get("code"), item.get("value"), item.get("unit"))
    as_sent = (result.channel_code, result.raw_value, result.raw_unit)
    checks.append(Check("as sent", f"{as_sent[0]} = {as_sent[1]} {as_sent[2] or ''}".rstrip(), kept == as_sent))
    return [*checks, _reading(found, result)]


def _reading(found: InboxMessage, result: Result) -> Check:
    if not found.raw:
        return Check("driver", "no bytes are stored", None)
    try:
        reading = read(found.raw, driver_of(found.driver, {}))
    except XinglinError as refused:
        return Check("driver", f"{found.driver}: {refused}", None)
    item = reading.items[result.ordinal] if result.ordinal < len(reading.items) else {}
    same = (item.get("code"), item.get("value"), item.get("unit")) == (
        result.channel_code,
        result.raw_value,
        result.raw_unit,
    )
    was, now = found.driver_version, reading.driver_version
    version = was if was == now else f"{was}, today {now}"
    return Check("driver", f"{found.driver} {version}", same)


def conversion(session: Session, result: Result, test: Test) -> Check:
    """From the instrument's unit to the catalogue's, with the channel as it is now."""
    if result.channel_code is None or result.raw_value is None:
        return Check("conversion", "none: nothing was sent", None)
    if result.unit != test.unit:
        return Check("conversion", f"not converted: {result.raw_unit} is not the channel's unit", None)
    channel = session.scalar(
        select(InstrumentChannel).where(
            InstrumentChannel.instrument_id == result.instrument_id, InstrumentChannel.code == result.channel_code
        )
    )
    if channel is None:
        return Check("conversion", f"the channel {result.channel_code} is gone", None)
    factor = conversion_of(channel, result.raw_unit, test).factor * Decimal(result.details.get("hand_dilution", "1"))
    sent = (read_ratio(result.raw_value) if test.value_type == ValueType.RATIO else None) or result.raw_value
    text, quantity = convert(sent, factor, test.decimals)
    number = None if quantity is None else quantity.number
    says = f"{result.raw_value} {result.raw_unit or ''} x {factor.normalize():f} = {text} {test.unit}"
    return Check("conversion", says, text == result.value_text and number == result.number)


def verdict(session: Session, result: Result, test: Test, together: Mapping[str, Sequence[Any]]) -> list[Check]:
    """Range, critical limit, change and reasons, judged again with the versions the decision names."""
    versions = result.decision.get("versions", {})
    bounds, checks = _bounds(session, result, versions.get("range"))
    critical, more = _critical(session, versions.get("critical"))
    limit = delta.limit_for(test.code, production=False) if "delta" in versions else None
    checks += more
    if "delta" in versions:
        named = versions["delta"]
        same = limit is not None and (limit.id, limit.version) == (named["id"], named["version"])
        checks.append(Check("delta limit", f"{named['id']} version {named['version']}", same or None))
    previous, told = _previous(session, result, versions.get("rules", "?"))
    checks += told
    quantity = None if result.number is None else Quantity(result.number, result.comparator)
    measured = Measured(
        text=result.value_text,
        quantity=quantity,
        value_type=test.value_type,
        unit_expected=result.unit == test.unit,
        raw_unit=result.raw_unit,
        unit_wanted=result.details.get("unit_wanted", ""),
        converted=result.details.get("converted", ""),
        hand_dilution=result.details.get("hand_dilution", ""),
        dilution_doubt=result.details.get("dilution_doubt", ""),
        instrument_flags=tuple(result.instrument_flags),
        status=result.details.get("status"),
        taken_at=result.observed_at,
    )
    made = judge(measured, bounds=bounds, critical=critical, delta=limit, previous=previous)
    made = made.with_reasons(together.get(test.code, ()))
    stored = result.decision.get("reasons", [])
    own = sorted(each["code"] for each in stored if each["code"] in ONE_BY_ONE)
    others = [each["code"] for each in stored if each["code"] not in ONE_BY_ONE]
    again = sorted(each.code for each in made.reasons)
    flags = (str(made.flag), made.critical) == (result.flag, result.critical)
    change = made.delta_percent == result.delta_percent
    holds = made.held == result.held or bool(others)
    rules = versions.get("rules", "?")
    says = f"rules {rules}: flag {result.flag or '-'}{', critical' if result.critical else ''}"
    says += f"{', held' if result.held else ''}; reasons {', '.join(own) or 'none'}"
    says += f"; change {result.delta_percent} %" if result.delta_percent is not None else ""
    if rules != RULES_VERSION:
        says += f" (today's rules are {RULES_VERSION})"
    checks.append(Check("verdict", says, flags and change and own == again and holds))
    if others:
        checks.append(Check("other reasons", f"{', '.join(others)}: added by another part", None))
    return checks


def _bounds(session: Session, result: Result, used: dict[str, Any] | None) -> tuple[Bounds | None, list[Check]]:
    """The range as it was frozen with the result; said too is whether the catalogue's row still reads so."""
    if used is None:
        return None, [Check("range", "none held for this person and specimen", result.range_id is None)]
    band = session.get(ReferenceRange, result.range_id) if result.range_id else None
    frozen = Bounds(
        used["id"],
        used["version"],
        used["state"],
        result.range_low,
        result.range_high,
        "" if result.range_low is not None or result.range_high is not None else result.range_text or "",
        open="phase_unknown" in {each["code"] for each in result.decision.get("reasons", [])},
    )
    says = f"{result.range_text or '-'}: {used['id']} version {used['version']}, {used['state']}"
    if band is None:
        return frozen, [Check("range", f"{says}; not in the catalogue any more", None)]
    says += f", from {band.valid_from}, source {band.source}"
    same = (band.low, band.high, band.version) == (result.range_low, result.range_high, used["version"])
    return frozen, [Check("range", says, same or frozen.open or None)]


def _critical(session: Session, used: dict[str, Any] | None) -> tuple[CriticalBounds | None, list[Check]]:
    if used is None:
        return None, []
    row = session.get(CriticalLimit, used["id"])
    if row is None:
        return None, [Check("critical limit", f"{used['id']} is not in the catalogue any more", None)]
    says = f"{row.low if row.low is not None else ''}..{row.high if row.high is not None else ''}: {row.id} version"
    says += f" {row.version}, {used['state']}, source {row.source}"
    bounds = CriticalBounds(
        str(row.id), row.version, used["state"], row.low, row.high, row.low_inclusive, high_inclusive=row.high_inclusive
    )
    return bounds, [Check("critical limit", says, row.version == used["version"])]


def _previous(session: Session, result: Result, rules: str) -> tuple[Previous | None, list[Check]]:
    if result.previous_result_id is None:
        return None, []
    row = session.get(Result, result.previous_result_id)
    if row is None:
        return None, [Check("previous", f"{result.previous_value}: its row is gone", False)]
    at = row.observed_at or row.received_at
    same = row.value_text == result.previous_value and at == result.previous_at
    quantity = None if row.number is None else Quantity(row.number, row.comparator)
    if rules == "1" and (result.comparator or row.comparator):
        quantity = None  # those rules said nothing of a change between values with a sign
    return Previous(quantity, at), [Check("previous", f"{row.value_text} of {at:%F %T}Z, {row.id}", same)]


def together(results: Iterable[tuple[Test, Result]]) -> dict[str, list[Any]]:
    """What the values of one version say together."""
    numbers: dict[str, Decimal] = {
        test.code: result.number
        for test, result in results
        if result.number is not None and result.comparator is None and result.unit == test.unit
    }
    return dict(across(numbers, consistency.CHECKS))
