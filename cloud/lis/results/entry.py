"""One value on its way to a row: as sent, in the catalogue's unit, and with its verdict."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloud.kit import clock
from cloud.lis.catalog.model import Test, ValueType
from cloud.lis.results.conversion import conversion_of
from cloud.lis.results.diluting import Declared, applied
from cloud.lis.results.judging import Background, judged, range_text
from cloud.lis.results.matching import Match
from cloud.lis.results.model import Result
from cloud.lis.specimens.model import Specimen
from cloud.lis.verification import consistency
from cloud.lis.verification.rules import Bounds, Measured, Reason, Verdict, across
from cloud.lis.verification.values import convert, read_ratio
from protocols.model import Observation, Quantity

_DETAILS = (
    "status",
    "dilution",
    "operator",
    "module",
    "reagent_lot",
    "calibrator_lot",
    "rack",
    "position",
    "name",
    "reference_range",
)
"""Kept with the result as the instrument sent them; the instrument's own range is information, never the one that
judges.
"""


@dataclass(slots=True)
class Entry:
    """An observation (or a typed value) between reading and storing."""

    at: int
    observation: Observation
    match: Match
    measured: Measured
    verdict: Verdict | None = None


def read(at: int, observation: Observation, match: Match, hand: Declared | None = None) -> Entry:
    """The value in the catalogue's unit, as `conversion` says. `hand`: the tube was diluted by a person."""
    test = match.test
    conversion = conversion_of(match.channel, observation.unit, test)
    sent = observation.value or ""
    if test.value_type == ValueType.RATIO:
        sent = read_ratio(sent) or sent
    taken_at = clock.from_instrument(observation.observed_at)
    diluted = applied(hand, own=observation.dilution, taken_at=taken_at)
    text, quantity = convert(sent, conversion.factor * diluted.factor, test.decimals)
    measured = Measured(
        text=text,
        quantity=quantity,
        value_type=test.value_type,
        unit_expected=conversion.expected,
        raw_unit=observation.unit,
        unit_wanted=conversion.wanted,
        converted=conversion.by_table,
        hand_dilution=f"{diluted.factor:f}" if diluted.factor != 1 else "",
        dilution_doubt=diluted.doubt,
        instrument_flags=observation.flags,
        status=observation.status,
        taken_at=taken_at,
    )
    return Entry(at, observation, match, measured)


def judge_entries(entries: Sequence[Entry], known: Background, chosen: Mapping[str, Result]) -> None:
    """Give every entry its verdict: alone, and together with the specimen's other chosen values (by test code)."""
    numbers = {
        code: result.number
        for code, result in chosen.items()
        if result.number is not None and result.comparator is None
    }
    for entry in entries:
        entry.verdict = judged(entry.match.test, entry.measured, known)
        quantity = entry.measured.quantity
        if quantity is not None and quantity.comparator is None and entry.measured.unit_expected:
            numbers[entry.match.test.code] = quantity.number
        else:
            numbers.pop(entry.match.test.code, None)
    extra = across(numbers, consistency.CHECKS)
    for entry in entries:
        if entry.verdict is not None and entry.match.test.code in extra:
            entry.verdict = entry.verdict.with_reasons(extra[entry.match.test.code])


def judge_row(result: Result, test: Test, known: Background) -> None:
    """A stored value's verdict anew, from what was kept of it."""
    expected = result.unit == test.unit
    quantity = None if result.number is None else Quantity(result.number, result.comparator)
    measured = Measured(
        text=result.value_text,
        quantity=quantity,
        value_type=test.value_type,
        unit_expected=expected,
        raw_unit=result.raw_unit,
        unit_wanted=result.details.get("unit_wanted", ""),
        converted=result.details.get("converted", ""),
        hand_dilution=result.details.get("hand_dilution", ""),
        dilution_doubt=result.details.get("dilution_doubt", ""),
        instrument_flags=tuple(result.instrument_flags),
        status=result.details.get("status"),
        taken_at=result.observed_at,
    )
    write_verdict(result, judged(test, measured, known), known.ranges.get(test.id) if expected else None)


def write_verdict(result: Result, verdict: Verdict, bounds: Bounds | None) -> None:
    """Flag, marks, reasons and the range as it was when it judged; no range beside a value in another unit."""
    result.flag, result.critical, result.draft = verdict.flag, verdict.critical, verdict.draft
    result.held, result.decision, result.delta_percent = verdict.held, verdict.to_json(), verdict.delta_percent
    result.range_id = None if bounds is None else uuid.UUID(bounds.id)
    result.range_low = bounds.low if bounds else None
    result.range_high = bounds.high if bounds else None
    result.range_text = range_text(bounds)
    _keep_calculation(result)


def _keep_calculation(result: Result) -> None:
    """What is true of a calculated value besides its number: its formula, and which operands still wait."""
    calculation = result.details.get("calculation")
    if calculation is None:
        return
    reasons = result.decision["reasons"]
    if calculation.get("code"):
        failed = {"code": calculation["code"], "fields": calculation["fields"]}
        reasons = [Reason("not_calculated", holds=True, fields=failed).to_json()]
    if calculation["waiting"]:
        reasons = [*reasons, Reason("operand_held", holds=True, fields={"tests": calculation["waiting"]}).to_json()]
    versions = {**result.decision["versions"], "formula": calculation["formula"]}
    result.decision = {"reasons": reasons, "versions": versions}
    result.held = any(each["holds"] for each in reasons)
    result.draft = result.draft or calculation["formula"]["state"] == "draft"


def new_result(
    entry: Entry, specimen: Specimen, known: Background, *, received_at: datetime, details: dict[str, Any] | None = None
) -> Result:
    """The row of a judged entry; run, choice and origin are the caller's. `details`: besides the instrument's own."""
    verdict, measured, test = entry.verdict, entry.measured, entry.match.test
    if verdict is None:
        raise ValueError("an entry is judged before it becomes a row")
    observation, previous = entry.observation, known.previous.get(test.id)
    bounds = known.ranges.get(test.id) if measured.unit_expected else None
    result = Result(
        order_item_id=entry.match.item.id,
        specimen_id=specimen.id,
        person_id=specimen.person_id,
        test_id=test.id,
        channel_code=observation.code,
        raw_value=observation.value,
        raw_unit=observation.unit,
        value_text=measured.text,
        number=measured.quantity.number if measured.quantity else None,
        comparator=measured.quantity.comparator if measured.quantity else None,
        unit=reported_unit(test, entry),
        sensitive=bool(test.sensitive),
        previous_result_id=previous.id if previous else None,
        previous_value=previous.value_text if previous else None,
        previous_at=previous.observed_at or previous.received_at if previous else None,
        instrument_flags=list(observation.flags),
        comments=list(observation.comments),
        details={name: getattr(observation, name) for name in _DETAILS if getattr(observation, name) is not None}
        | _said(measured)
        | (details or {}),
        instrument_run=observation.run,
        observed_at=measured.taken_at,
        observed_at_raw=observation.observed_at,
        received_at=received_at,
    )
    write_verdict(result, verdict, bounds)
    return result


def _said(measured: Measured) -> dict[str, Any]:
    """What the verdict is made again from: another unit and its conversion, a dilution by hand."""
    said = {
        "unit_wanted": measured.unit_wanted,
        "converted": measured.converted,
        "hand_dilution": measured.hand_dilution,
        "dilution_doubt": measured.dilution_doubt,
    }
    if measured.hand_dilution:
        said["dilution"] = measured.hand_dilution
    return {name: each for name, each in said.items() if each}


def reported_unit(test: Test, entry: Entry) -> str:
    """The catalogue's unit; the instrument's own where it was not the expected one (the result is held for it)."""
    return test.unit if entry.measured.unit_expected else (entry.observation.unit or test.unit)
