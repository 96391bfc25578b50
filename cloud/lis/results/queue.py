"""The work queue of the review page: specimens with values that wait: critical first, then stat, then the oldest."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import Session

from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import ItemState, OrderItem, Priority
from cloud.lis.results.model import OPEN_STATES, Result, ResultSheet, ResultState
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person

T = TypeVar("T")
SHOWN = 200
"""A longer queue is cut here; the page says how many wait in all."""
CLOSED_SPECIMENS = (SpecimenState.REJECTED, SpecimenState.CANCELLED)
UNFINISHED = (ItemState.ORDERED, ItemState.COLLECTED, ItemState.RECEIVED)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One specimen of the queue."""

    specimen_id: uuid.UUID
    accession: str
    barcode: str
    person_name: str
    sex: str
    birth_date: date | None
    stat: bool
    version: int
    open: int
    reviewed: int
    missing: int
    critical: bool
    held: bool
    abnormal: bool
    since: datetime
    sections: tuple[str, ...]

    @property
    def to_review(self) -> bool:
        return self.reviewed < self.open

    @property
    def clean(self) -> bool:
        """Nothing that a person has to look at one by one: what a batch may take."""
        return not (self.critical or self.held or self.missing)


def waiting(session: Session, subject: Subject, *, section: str = "", stage: str = "") -> list[Waiting]:
    """The queue of a section (or all), of stage "review" (something unreviewed), "release" (all reviewed) or any."""
    missing = (
        select(func.count())
        .where(OrderItem.specimen_id == Specimen.id, OrderItem.state.in_(UNFINISHED))
        .correlate(Specimen)
        .scalar_subquery()
    )
    reviewed = func.count(case((Result.state == ResultState.REVIEWED, 1)))
    query = (
        _open(subject)
        .with_only_columns(
            Specimen,
            Person,
            ResultSheet.version,
            func.count().label("open"),
            reviewed.label("reviewed"),
            missing.label("missing"),
            func.bool_or(Result.critical).label("critical"),
            func.bool_or(Result.held).label("held"),
            func.bool_or(Result.flag.not_in(["", "N"])).label("abnormal"),
            func.min(Result.received_at).label("since"),
            func.array_agg(func.distinct(Test.section)).label("sections"),
        )
        .group_by(Specimen.id, Person.id, ResultSheet.version)
        .order_by(
            func.bool_or(Result.critical).desc(),
            (Specimen.priority == Priority.STAT).desc(),
            func.min(Result.received_at),
        )
        .limit(SHOWN)
    )
    if section:
        query = query.having(func.bool_or(Test.section == section))
    if stage == "review":
        query = query.having(reviewed < func.count())
    elif stage == "release":
        query = query.having(reviewed == func.count())
    return [_waiting(row) for row in session.execute(query)]


def _waiting(row: object) -> Waiting:
    specimen: Specimen = row.Specimen  # type: ignore[attr-defined]
    person: Person = row.Person  # type: ignore[attr-defined]
    return Waiting(
        specimen_id=specimen.id,
        accession=specimen.accession,
        barcode=specimen.barcode,
        person_name=person.name,
        sex=person.sex,
        birth_date=person.birth_date,
        stat=specimen.priority == Priority.STAT,
        version=row.version,  # type: ignore[attr-defined]
        open=row.open,  # type: ignore[attr-defined]
        reviewed=row.reviewed,  # type: ignore[attr-defined]
        missing=row.missing,  # type: ignore[attr-defined]
        critical=row.critical,  # type: ignore[attr-defined]
        held=row.held,  # type: ignore[attr-defined]
        abnormal=row.abnormal,  # type: ignore[attr-defined]
        since=row.since,  # type: ignore[attr-defined]
        sections=tuple(row.sections),  # type: ignore[attr-defined]
    )


def _open(subject: Subject) -> Select[Result]:
    return (
        _releasable(select(Result))
        .join(Person, Person.id == Specimen.person_id)
        .join(Test, Test.id == Result.test_id)
        .join(ResultSheet, ResultSheet.specimen_id == Specimen.id)
        .where(Specimen.person_id.in_(visible_to(subject)))
    )


def _releasable(query: Select[T]) -> Select[T]:
    """Open values that a release can still take: none of a rejected tube or a cancelled test, which would wait for
    ever and hide the others.
    """
    return (
        query.join(Specimen, Specimen.id == Result.specimen_id)
        .join(OrderItem, (OrderItem.id == Result.order_item_id) & (OrderItem.specimen_id == Result.specimen_id))
        .where(
            Result.chosen,
            Result.after_release.is_(False),
            Result.state.in_(OPEN_STATES),
            Specimen.state.not_in(CLOSED_SPECIMENS),
            OrderItem.state != ItemState.CANCELLED,
        )
    )


def waiting_count(session: Session) -> int:
    """How many specimens wait, for the home page."""
    found = session.scalar(_releasable(select(func.count(func.distinct(Result.specimen_id))).select_from(Result)))
    return found or 0


def next_of(queue: Sequence[Waiting], after: uuid.UUID | None) -> Waiting | None:
    """Who comes after a specimen in the queue; the first when it is not there any more."""
    ids = [each.specimen_id for each in queue]
    if after in ids and ids.index(after) + 1 < len(queue):
        return queue[ids.index(after) + 1]
    return queue[0] if queue else None
