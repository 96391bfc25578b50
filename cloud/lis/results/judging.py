"""From stored limits and history to verdicts: loads in a few queries what `verification.rules` needs for many tests at
once.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar

from sqlalchemy import ARRAY, Uuid, any_, bindparam, exists, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import clock
from cloud.lis.catalog import rules as catalog_rules
from cloud.lis.catalog.choice import Choice, Facts, choose_limit, choose_range, measured_by, weeks_on
from cloud.lis.catalog.model import CriticalLimit, ReferenceRange, Test
from cloud.lis.catalog.words import phase_label
from cloud.lis.instruments.model import InstrumentChannel
from cloud.lis.orders import timing
from cloud.lis.orders.model import ItemState, Order, OrderItem
from cloud.lis.orders.timing import Timing
from cloud.lis.results.known import instrument_code, limits_of, ranges_of
from cloud.lis.results.model import Result, ResultState
from cloud.lis.specimens.model import Specimen, TestCollection
from cloud.lis.verification import delta
from cloud.lis.verification.rules import Bounds, CriticalBounds, Measured, Previous, Verdict, judge
from cloud.people.identity import lineage
from protocols.model import Quantity


@dataclass(frozen=True, slots=True)
class Patient:
    """What chooses a range. From the order's person, never from an instrument."""

    person_ids: tuple[uuid.UUID, ...]
    """The person and every file merged into it: history follows merges."""
    sex: str
    age_days: int | None
    """On the day of collection (else receipt, else today)."""


@dataclass(frozen=True, slots=True)
class Background:
    """Everything known about some tests for one specimen before a value is judged."""

    patient: Patient
    on: date
    ranges: Mapping[uuid.UUID, Bounds]
    criticals: Mapping[uuid.UUID, CriticalBounds]
    previous: Mapping[uuid.UUID, Result]
    facts: Mapping[uuid.UUID, Facts]
    """By test: what chose its range."""


@dataclass(frozen=True, slots=True)
class Means:
    """How a value was measured; ranges may depend on it."""

    instrument: str = ""
    """Code of the analyzer; "" typed in."""
    method: str = ""
    """"": the test's own."""


def background(
    session: Session,
    specimen: Specimen,
    tests: Iterable[Test],
    *,
    means: Mapping[uuid.UUID, Means] | None = None,
    items: Iterable[OrderItem] | None = None,
) -> Background:
    """Ranges, critical limits and previous released values of `tests` for the specimen's person.

    `means`: by test id, for what an analyzer measured (for stored values `means_of`). `items`: the ordered tests, where
    they were read already.
    """
    found = list(tests)
    on = clock.local(specimen.collected_at or specimen.received_at or clock.now()).date()
    person = lineage(session, specimen.person_id)
    patient = Patient(person.person_ids, person.sex, catalog_rules.age_days(person.birth_date, on))
    ids = [each.id for each in found]
    ranges, limits = ranges_of(session, ids), limits_of(session, ids)
    today = clock.today()
    told = _told(session, specimen, patient, on, [*_flat(ranges, ids), *_flat(limits, ids)])
    drawn = drawn_when(session, specimen.id, items)
    facts = {
        each.id: _measured(replace(told, timing=_after(drawn.get(each.id))), each, (means or {}).get(each.id, _BY_HAND))
        for each in found
    }
    chosen = {each: choose_range(ranges[each], facts[each], today) for each in ids}
    chosen_limits = {each: choose_limit(limits[each], facts[each], today) for each in ids}
    return Background(
        patient,
        on,
        {key: bounds for key, choice in chosen.items() if (bounds := bounds_of(choice)) is not None},
        {key: critical_of(row) for key, row in chosen_limits.items() if row is not None},
        previous_results(session, patient, ids, besides=specimen.id, drawn=drawn),
        facts,
    )


def means_of(session: Session, results: Iterable[Result]) -> dict[uuid.UUID, Means]:
    """How stored values were measured, by test: for judging them anew. A channel that is gone says no method."""
    rows = [each for each in results if each.instrument_id is not None]
    channels = select(InstrumentChannel.instrument_id, InstrumentChannel.code, InstrumentChannel.method).where(
        InstrumentChannel.instrument_id.in_({each.instrument_id for each in rows}), InstrumentChannel.method != ""
    )
    methods = {(row.instrument_id, row.code): row.method for row in session.execute(channels)} if rows else {}
    return {
        each.test_id: Means(
            instrument_code(session, each.instrument_id), methods.get((each.instrument_id, each.channel_code), "")
        )
        for each in rows
    }


_BY_HAND = Means()
B = TypeVar("B", ReferenceRange, CriticalLimit)


def _flat(rows: Mapping[uuid.UUID, list[B]], ids: Iterable[uuid.UUID]) -> list[B]:
    return [row for each in ids for row in rows[each]]


def _told(
    session: Session, specimen: Specimen, patient: Patient, on: date, bands: Iterable[ReferenceRange | CriticalLimit]
) -> Facts:
    """The person and the specimen; what the order tells besides only where a range or limit asks for it."""
    facts = Facts(patient.sex, patient.age_days, specimen_type=specimen.specimen_type)
    if not any(_asks_the_order(each) for each in bands):
        return facts
    order = session.get_one(Order, specimen.order_id)
    return replace(
        facts,
        phase=order.cycle_phase,
        gestation_weeks=weeks_on(order.gestation_weeks, clock.local(order.ordered_at).date(), on),
        department_id=order.department_id,
        diagnosis=order.diagnosis or "",
    )


def _asks_the_order(band: ReferenceRange | CriticalLimit) -> bool:
    if isinstance(band, CriticalLimit):
        return band.department_id is not None or bool(band.diagnosis)
    return bool(band.phase) or band.gestation_min_weeks is not None or band.gestation_max_weeks is not None


def _measured(facts: Facts, test: Test, means: Means) -> Facts:
    return measured_by(facts, method=means.method or test.method, instrument=means.instrument)


def drawn_when(
    session: Session, specimen_id: uuid.UUID, items: Iterable[OrderItem] | None = None
) -> dict[uuid.UUID, Timing]:
    """By test: when it was to be drawn, where the order says so and not every tube of the test is drawn like that."""
    if items is not None and not any(each.timing for each in items):
        return {}
    rows = session.execute(
        select(OrderItem.test_id, OrderItem.timing).where(
            OrderItem.specimen_id == specimen_id,
            OrderItem.timing != "",
            OrderItem.state != ItemState.CANCELLED,
            ~exists().where(TestCollection.test_id == OrderItem.test_id, TestCollection.timing == OrderItem.timing),
        )
    )
    found = ((test_id, timing.parse(text)) for test_id, text in rows)
    return {test_id: when for test_id, when in found if when is not None}


def _after(when: Timing | None) -> str:
    """The timing of a value that no range of the catalogue is made for."""
    return when.text if when is not None and when.starts else ""


def previous_results(
    session: Session,
    patient: Patient,
    test_ids: list[uuid.UUID],
    *,
    besides: uuid.UUID,
    drawn: Mapping[uuid.UUID, Timing] | None = None,
) -> dict[uuid.UUID, Result]:
    """The newest released value of each test of this person in the catalogue's unit, from other specimens drawn alike:
    a glucose an hour after the load is held against one an hour after a load, never against the fasting one.
    """
    alike = {test_id: when.comparable for test_id, when in (drawn or {}).items() if when.comparable}
    wanted = {"persons": list(patient.person_ids), "besides": besides}
    plain = [each for each in test_ids if each not in alike]
    found = {each.test_id: each for each in session.scalars(_PREVIOUS, {**wanted, "tests": plain})} if plain else {}
    for test_id, when in alike.items():
        row = session.scalar(_PREVIOUS_DRAWN, {**wanted, "tests": [test_id], "timing": when})
        if row is not None:
            found[test_id] = row
    return found


_IDS = ARRAY(Uuid(as_uuid=True))
_RELEASED = (
    select(Result)
    .join(Test, (Test.id == Result.test_id) & (Test.unit == Result.unit))
    .where(
        Result.person_id == any_(bindparam("persons", type_=_IDS)),
        Result.test_id == any_(bindparam("tests", type_=_IDS)),
        Result.chosen,
        Result.state == ResultState.RELEASED,
        Result.specimen_id != bindparam("besides"),
    )
    .ext(distinct_on(Result.test_id))
    .order_by(Result.test_id, Result.received_at.desc())
)
_ITS_ITEM = exists().where(OrderItem.id == Result.order_item_id)
_PREVIOUS = _RELEASED.where(
    ~_ITS_ITEM.where(
        OrderItem.timing.regexp_match(timing.COMPARED),
        ~exists().where(TestCollection.test_id == OrderItem.test_id, TestCollection.timing == OrderItem.timing),
    )
)
_PREVIOUS_DRAWN = _RELEASED.where(_ITS_ITEM.where(OrderItem.timing == bindparam("timing")))


def judged(test: Test, measured: Measured, known: Background) -> Verdict:
    """The verdict on one value against what is known."""
    before = known.previous.get(test.id)
    previous = None
    if before is not None:
        quantity = None if before.number is None else Quantity(before.number, before.comparator)
        previous = Previous(quantity, taken_at(before))
    verdict = judge(
        measured,
        bounds=known.ranges.get(test.id),
        critical=known.criticals.get(test.id),
        delta=delta.limit_for(test.code, production=settings().environment == "production"),
        previous=previous,
    )
    return replace(verdict, versions={**verdict.versions, "facts": known.facts[test.id].to_json()})


def taken_at(result: Result) -> datetime:
    """When the value was measured; when it arrived, where the instrument said nothing readable."""
    return result.observed_at or result.received_at


def range_text(bounds: Bounds | None) -> str:
    """The range as a report prints it: ``4.0-10.0``, ``阴性``; a wording of its own ("<5.2") where it has one."""
    if bounds is None:
        return ""
    if bounds.text:
        return bounds.text
    if bounds.low is not None and bounds.high is not None:
        return f"{_plain(bounds.low)}-{_plain(bounds.high)}"
    if bounds.high is not None:
        return f"≤{_plain(bounds.high)}"
    if bounds.low is not None:
        return f"≥{_plain(bounds.low)}"
    return ""


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def bounds_of(choice: Choice[ReferenceRange]) -> Bounds | None:
    """The chosen range as the rules take it; None where none holds."""
    if choice.band is not None:
        return _bounds(choice.band)
    if not choice.open:
        return None
    shown = "；".join(f"{phase_label(each)} {range_text(_bounds(each))}" for each in choice.open)
    first = choice.open[0]
    state = "approved" if all(each.state == "approved" for each in choice.open) else first.state
    return Bounds(str(first.id), first.version, state, text=shown, open=True)


def _bounds(row: ReferenceRange) -> Bounds:
    return Bounds(str(row.id), row.version, row.state, row.low, row.high, row.text)


def critical_of(row: CriticalLimit) -> CriticalBounds:
    """A critical limit as the rules take it."""
    return CriticalBounds(
        str(row.id), row.version, row.state, row.low, row.high, row.low_inclusive, high_inclusive=row.high_inclusive
    )
