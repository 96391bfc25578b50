"""The work in hand with the time that is left: late ones, those that will be late, and the rest, soonest due first."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.db import among
from cloud.lis.specimens.model import Specimen
from cloud.lis.turnaround import times
from cloud.lis.turnaround.histories import Histories, load
from cloud.lis.turnaround.points import Point
from cloud.lis.turnaround.prediction import Prediction, predict
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person

WARNED_SHARE = 0.5
"""Warned when at least half of the comparable specimens would be late."""


class Outlook(StrEnum):
    LATE = "late"
    WILL_BE_LATE = "will_be_late"
    IN_TIME = "in_time"
    UNKNOWN = "unknown"
    """A target, but too little history to say."""
    NO_TARGET = "no_target"


_ORDER = {each: number for number, each in enumerate(Outlook)}


@dataclass(frozen=True, slots=True)
class Row:
    """One open specimen."""

    times: times.Times
    outlook: Outlook
    due: datetime | None
    left_minutes: int | None
    """Until it is due; negative: late."""
    point: Point
    """Passed last."""
    waits_minutes: int
    """Since then."""
    expected: datetime | None
    late_share: float | None
    slow: bool
    """Waits at this point longer than nine of ten did."""


def outlook_of(each: times.Times, histories: Histories, now: datetime) -> Row | None:
    """None: it has passed no point at all."""
    point = each.last
    if point is None:
        return None
    since = each.at[point]
    elapsed = max(0.0, (now - since).total_seconds() / 60)
    history = histories.best(each.sections, each.priority, point)
    due = each.due
    prediction: Prediction | None = None
    if history is not None:
        left = None if due is None else (due - since).total_seconds() / 60
        prediction = predict(history, elapsed, left)
    outlook = _outlook(due, now, prediction)
    return Row(
        each,
        outlook,
        due,
        None if due is None else int((due - now).total_seconds() // 60),
        point,
        int(elapsed),
        None if prediction is None else since + timedelta(minutes=prediction.total),
        None if prediction is None else prediction.late,
        history is not None and elapsed > history.p90,
    )


def _outlook(due: datetime | None, now: datetime, prediction: Prediction | None) -> Outlook:
    if due is None:
        return Outlook.NO_TARGET
    if now > due:
        return Outlook.LATE
    if prediction is None or prediction.late is None:
        return Outlook.UNKNOWN
    return Outlook.WILL_BE_LATE if prediction.late >= WARNED_SHARE else Outlook.IN_TIME


def board(session: Session, now: datetime | None = None) -> list[Row]:
    """All open specimens, the late ones first, then by what is left."""
    moment = now or clock.now()
    histories = load(session)
    rows = [outlook_of(each, histories, moment) for each in times.open_specimens(session, moment)]
    return sorted(
        (each for each in rows if each is not None),
        key=lambda row: (_ORDER[row.outlook], row.left_minutes if row.left_minutes is not None else -row.waits_minutes),
    )


def warned_count(session: Session) -> int:
    """Late or going to be, for the home page's card."""
    return sum(row.outlook in (Outlook.LATE, Outlook.WILL_BE_LATE) for row in board(session))


@dataclass(frozen=True, slots=True)
class Named:
    """Whose specimen a row is about."""

    specimen: Specimen
    person: Person
    department: Department


def named(session: Session, subject: Subject, rows: Sequence[Row]) -> Mapping[uuid.UUID, Named]:
    """By specimen; without those whose patient the subject may not see."""
    departments = {
        each.id: each
        for each in session.scalars(
            select(Department).where(Department.id.in_({each.times.department_id for each in rows}))
        )
    }
    found = session.execute(
        select(Specimen, Person)
        .join(Person, Person.id == Specimen.person_id)
        .where(
            among(Specimen.id, [each.times.specimen_id for each in rows]),
            Specimen.person_id.in_(visible_to(subject)),
        )
        .options(load_only(Person.name, raiseload=True))  # the sealed columns need not be opened for a name
    )
    wanted = {each.times.specimen_id: departments[each.times.department_id] for each in rows}
    return {specimen.id: Named(specimen, person, wanted[specimen.id]) for specimen, person in found}
