"""From stored limits and history to verdicts: loads in a few queries what `verification.rules` needs for many tests at
once.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar

from sqlalchemy import ARRAY, Uuid, any_, bindparam, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.kit import clock
from cloud.lis.catalog import rules as catalog_rules
from cloud.lis.catalog.model import CriticalLimit, ReferenceRange, Test
from cloud.lis.results.known import limits_of, ranges_of
from cloud.lis.results.model import Result, ResultState
from cloud.lis.specimens.model import Specimen
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


def background(session: Session, specimen: Specimen, tests: Iterable[Test]) -> Background:
    """Ranges, critical limits and previous released values of `tests` for the specimen's person."""
    found = list(tests)
    on = clock.local(specimen.collected_at or specimen.received_at or clock.now()).date()
    person = lineage(session, specimen.person_id)
    patient = Patient(person.person_ids, person.sex, catalog_rules.age_days(person.birth_date, on))
    ids = [each.id for each in found]
    ranges, limits = ranges_of(session, ids), limits_of(session, ids)
    today = clock.today()
    kinds = ("", specimen.specimen_type)
    chosen_ranges = {
        each: _applicable([row for row in ranges[each] if row.specimen_type in kinds], patient, today) for each in ids
    }
    chosen_limits = {each: _applicable(limits[each], patient, today) for each in ids}
    return Background(
        patient,
        on,
        {key: _bounds(row) for key, row in chosen_ranges.items() if row is not None},
        {key: _critical(row) for key, row in chosen_limits.items() if row is not None},
        previous_results(session, patient, ids, besides=specimen.id),
    )


B = TypeVar("B", ReferenceRange, CriticalLimit)


def _applicable(rows: Iterable[B], patient: Patient, on: date) -> B | None:
    return catalog_rules.applicable(rows, sex=patient.sex, age=patient.age_days, on=on)


def previous_results(
    session: Session, patient: Patient, test_ids: list[uuid.UUID], *, besides: uuid.UUID
) -> dict[uuid.UUID, Result]:
    """The newest released value of each test of this person in the catalogue's unit, from other specimens."""
    wanted = {"persons": list(patient.person_ids), "tests": test_ids, "besides": besides}
    rows = session.scalars(_PREVIOUS, wanted)
    return {each.test_id: each for each in rows}


_IDS = ARRAY(Uuid(as_uuid=True))
_PREVIOUS = (
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


def judged(test: Test, measured: Measured, known: Background) -> Verdict:
    """The verdict on one value against what is known."""
    before = known.previous.get(test.id)
    previous = None
    if before is not None:
        quantity = None if before.number is None else Quantity(before.number, before.comparator)
        previous = Previous(quantity, taken_at(before))
    return judge(
        measured,
        bounds=known.ranges.get(test.id),
        critical=known.criticals.get(test.id),
        delta=delta.limit_for(test.code, production=settings().environment == "production"),
        previous=previous,
    )


def taken_at(result: Result) -> datetime:
    """When the value was measured; when it arrived, where the instrument said nothing readable."""
    return result.observed_at or result.received_at


def range_text(bounds: Bounds | None) -> str:
    """The range as a report prints it: ``4.0-10.0``, ``<5``, ``阴性``."""
    if bounds is None:
        return ""
    if bounds.low is not None and bounds.high is not None:
        return f"{_plain(bounds.low)}-{_plain(bounds.high)}"
    if bounds.high is not None:
        return f"≤{_plain(bounds.high)}"
    if bounds.low is not None:
        return f"≥{_plain(bounds.low)}"
    return bounds.text


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bounds(row: ReferenceRange) -> Bounds:
    return Bounds(str(row.id), row.version, row.state, row.low, row.high, row.text)


def _critical(row: CriticalLimit) -> CriticalBounds:
    return CriticalBounds(str(row.id), row.version, row.state, row.low, row.high, row.inclusive)
