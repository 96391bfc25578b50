"""The work queues of the review page: specimens with values that wait: critical first, then stat, then the oldest.

The technical queue has what somebody still has to review, the medical one what is reviewed whole and waits for its
release, the third what a person put on hold.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, cast

from sqlalchemy import CTE, Row, Select, case, func, or_, select, true
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.db import among
from cloud.lis.catalog.model import Test
from cloud.lis.instruments.model import Instrument
from cloud.lis.orders.model import ItemState, Order, OrderItem, Priority
from cloud.lis.results.model import OPEN_STATES, Result, ResultSheet, ResultState
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person

SHOWN = 200
"""A longer queue is cut here; the page says how many wait in all."""
CLOSED_SPECIMENS = (SpecimenState.REJECTED, SpecimenState.CANCELLED)
UNFINISHED = (ItemState.ORDERED, ItemState.COLLECTED, ItemState.RECEIVED)
STAGES = ("review", "release", "hold")
KINDS = ("stat", "critical", "held", "rerun", "clean")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What part of the queue is looked at; empty: everything."""

    section: str = ""
    stage: str = ""
    instrument: str = ""
    """Code of the analyzer that measured one of the values."""
    department: str = ""
    """Code of the ordering department."""
    kind: str = ""
    hours: int = 0
    """Waiting for so long at least."""
    mine: uuid.UUID | None = None
    """Only tubes on which this person typed or reviewed a value that waits, or which they put on hold."""


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
    rerun: int
    """Values that are being measured again."""
    since: datetime
    sections: tuple[str, ...]
    hold_reason: str | None = None
    hold_by_name: str | None = None

    @property
    def to_review(self) -> bool:
        return self.reviewed < self.open

    @property
    def clean(self) -> bool:
        """Nothing that a person has to look at one by one: what a batch may take."""
        return not (self.critical or self.held or self.missing or self.rerun or self.hold_reason)


@dataclass(frozen=True, slots=True)
class Queue:
    """The rows shown, and how many wait in each stage of what is looked at."""

    rows: list[Waiting]
    total: int
    counts: dict[str, int] = field(default_factory=dict)


def look(session: Session, subject: Subject, wanted: Wanted) -> Queue:
    """The queue as `wanted`, at most `SHOWN` rows of it. Two statements, however long it is."""
    found = session.execute(_grouped(subject, wanted)).all()
    staged = {stage: [row for row in found if stage_of(row) == stage] for stage in STAGES}
    rows = staged[wanted.stage] if wanted.stage in STAGES else found
    if wanted.kind:
        rows = [row for row in rows if _of_kind(row, wanted.kind)]
    counts = {stage: len(each) for stage, each in staged.items()} | {"": len(found)}
    return Queue(_described(session, subject, rows[:SHOWN]), len(rows), counts)


def waiting(session: Session, subject: Subject, *, section: str = "", stage: str = "") -> list[Waiting]:
    """The rows of a section (or all), of one stage or any."""
    return look(session, subject, Wanted(section=section, stage=stage)).rows


def waiting_of(session: Session, subject: Subject, specimen_id: uuid.UUID) -> Waiting | None:
    """One specimen as it waits now; None where nothing waits, or the person may not be seen."""
    row = session.execute(_grouped(subject, specimen_id=specimen_id)).one_or_none()
    return _described(session, subject, [row])[0] if row is not None else None


def stage_of(row: Waiting | Row[Any]) -> str:
    """The stage in which a specimen waits."""
    if row.hold_reason is not None:
        return "hold"
    return "review" if row.reviewed < row.open else "release"


def _of_kind(row: Row[Any], kind: str) -> bool:
    if kind == "stat":
        return bool(row.stat)
    if kind == "critical":
        return bool(row.critical)
    if kind == "held":
        return bool(row.held)
    if kind == "rerun":
        return bool(row.rerun)
    return not (row.critical or row.held or row.rerun or row.hold_reason)


def _grouped(subject: Subject, wanted: Wanted | None = None, *, specimen_id: uuid.UUID | None = None) -> Select[Any]:
    """One light row for each specimen that waits, in the queue's order. Values are counted by tube before the tube is
    looked up: some hundred look-ups and not one for each value.
    """
    tubes = _by_tube(wanted or Wanted(), specimen_id).subquery("tubes")
    stat = Specimen.priority == Priority.STAT
    query = (
        select(
            Specimen.id.label("specimen_id"),
            stat.label("stat"),
            ResultSheet.version,
            ResultSheet.hold_reason,
            ResultSheet.hold_by_name,
            *(each for each in tubes.c if each.name != "tube_id"),
        )
        .join(Specimen, Specimen.id == tubes.c.tube_id)
        .join(ResultSheet, ResultSheet.specimen_id == Specimen.id)
        .where(Specimen.state.not_in(CLOSED_SPECIMENS), Specimen.person_id.in_(visible_to(subject)))
        .order_by(tubes.c.critical.desc(), stat.desc(), tubes.c.since, Specimen.id)
    )
    if wanted is not None and wanted.mine is not None:
        query = query.where(tubes.c.own | (ResultSheet.hold_by == wanted.mine))
    if wanted is not None and wanted.department:
        orders = (
            select(Order.id)
            .join(Department, Department.id == Order.department_id)
            .where(Department.code == wanted.department)
        )
        query = query.where(Specimen.order_id.in_(orders))
    return cast(Select[Any], query)


def _by_tube(wanted: Wanted, specimen_id: uuid.UUID | None) -> Select[Any]:
    """The open values of each tube, counted; only tubes with a value of the wanted section, analyzer and age."""
    values, items = _open_values(specimen_id)
    missing = func.count(case((items.c.state.in_(UNFINISHED), 1))).label("missing")
    lacks = select(items.c.specimen_id, missing).group_by(items.c.specimen_id).subquery("lacks")
    query = (
        _that_wait(
            select(
                values.c.specimen_id.label("tube_id"),
                func.count().label("open"),
                func.count(case((values.c.state == ResultState.REVIEWED, 1))).label("reviewed"),
                func.count(values.c.rerun_requested_at).label("rerun"),
                func.bool_or(values.c.critical).label("critical"),
                func.bool_or(values.c.held).label("held"),
                func.bool_or(values.c.flag.not_in(["", "N"])).label("abnormal"),
                func.min(values.c.received_at).label("since"),
                func.array_agg(values.c.section.distinct()).label("sections"),
                func.min(lacks.c.missing).label("missing"),
                *_own(values, wanted.mine),
            ),
            values,
            items,
        )
        .join(lacks, lacks.c.specimen_id == values.c.specimen_id)
        .group_by(values.c.specimen_id)
    )
    if wanted.section:
        query = query.having(func.bool_or(values.c.section == wanted.section))
    if wanted.instrument:
        named = select(Instrument.id).where(Instrument.code == wanted.instrument).scalar_subquery()
        query = query.having(func.bool_or(values.c.instrument_id == named))
    if wanted.hours > 0:
        query = query.having(func.min(values.c.received_at) <= clock.now() - timedelta(hours=wanted.hours))
    return query


def _own(values: CTE, mine: uuid.UUID | None) -> list[Any]:
    """Whether this person typed or reviewed one of the tube's values; no column where nobody asks."""
    if mine is None:
        return []
    own = or_(values.c.entered_by == mine, values.c.reviewed_by == mine)
    return [func.bool_or(func.coalesce(own, False)).label("own")]


def _described(session: Session, subject: Subject, rows: Sequence[Row[Any]]) -> list[Waiting]:
    """The rows with who and what they are."""
    ids = [row.specimen_id for row in rows]
    found = {
        row.id: row
        for row in session.execute(
            select(Specimen.id, Specimen.accession, Specimen.barcode, Person.name, Person.sex, Person.birth_date)
            .join(Person, Person.id == Specimen.person_id)
            .where(among(Specimen.id, ids), Specimen.person_id.in_(visible_to(subject)))
        )
    }
    return [_waiting(row, found[row.specimen_id]) for row in rows]


def _waiting(row: Row[Any], who: Any) -> Waiting:
    return Waiting(
        specimen_id=row.specimen_id,
        accession=who.accession,
        barcode=who.barcode,
        person_name=who.name,
        sex=who.sex,
        birth_date=who.birth_date,
        stat=row.stat,
        version=row.version,
        open=row.open,
        reviewed=row.reviewed,
        missing=row.missing,
        critical=row.critical,
        held=row.held,
        abnormal=row.abnormal,
        rerun=row.rerun,
        since=row.since,
        sections=tuple(row.sections),
        hold_reason=row.hold_reason,
        hold_by_name=row.hold_by_name,
    )


def _open_values(specimen_id: uuid.UUID | None = None) -> tuple[CTE, CTE]:
    """Every open value, and the tests of their tubes that are not cancelled: each set is read once and whole.

    Left to itself PostgreSQL expects a handful of open values and looks the test of every single one up.
    """
    query = select(
        Result.specimen_id,
        Result.order_item_id,
        Test.section,
        Result.instrument_id,
        Result.state,
        Result.critical,
        Result.held,
        Result.flag,
        Result.received_at,
        Result.rerun_requested_at,
        Result.entered_by,
        Result.reviewed_by,
    )
    query = query.join(Test, Test.id == Result.test_id).where(
        Result.chosen,
        ~Result.after_release,  # as the partial index says it: "IS false" does not match "NOT"
        Result.state.in_(OPEN_STATES),
    )
    if specimen_id is not None:
        query = query.where(Result.specimen_id == specimen_id)
    values = query.cte("open_values").prefix_with("MATERIALIZED")
    tubes = func.array(select(values.c.specimen_id).distinct().scalar_subquery())
    items = (
        select(OrderItem.id, OrderItem.specimen_id, OrderItem.state)
        .where(OrderItem.specimen_id == func.any(tubes), OrderItem.state != ItemState.CANCELLED)
        .cte("live_items")
        .prefix_with("MATERIALIZED")
    )
    return values, items


def _that_wait(query: Select[Any], values: CTE, items: CTE) -> Select[Any]:
    """Open values that a release can still take: none of a cancelled test nor of another tube's, which would wait for
    ever and hide the others (a rejected tube's are left out with the tube).
    """
    of = (items.c.id == values.c.order_item_id) & (items.c.specimen_id == values.c.specimen_id)
    return query.select_from(values).join(items, of)


def waiting_count(session: Session) -> int:
    """How many specimens wait for the technical review, for the home page."""
    return _count(session, ResultState.RECEIVED)


def medical_count(session: Session) -> int:
    """How many specimens have a value that waits for its release."""
    return _count(session, ResultState.REVIEWED)


def _count(session: Session, state: ResultState) -> int:
    """Tubes with a value in `state`: the first such value of a tube is enough, the others are not looked at."""
    opened = (Result.chosen, ~Result.after_release, Result.state.in_(OPEN_STATES))
    tubes = select(Result.specimen_id).where(*opened).distinct().subquery()
    one = (
        select(Result.id)
        .join(OrderItem, (OrderItem.id == Result.order_item_id) & (OrderItem.specimen_id == Result.specimen_id))
        .where(Result.specimen_id == tubes.c.specimen_id, *opened, Result.state == state)
        .where(OrderItem.state != ItemState.CANCELLED)
        .limit(1)
        .lateral()
    )
    found = select(func.count()).select_from(tubes).join(one, true())
    found = found.join(Specimen, Specimen.id == tubes.c.specimen_id).where(Specimen.state.not_in(CLOSED_SPECIMENS))
    return session.scalar(found) or 0


def next_of(queue: Sequence[Waiting], after: uuid.UUID | None) -> Waiting | None:
    """Who comes after a specimen in the queue; the first when it is not there any more."""
    ids = [each.specimen_id for each in queue]
    if after in ids and ids.index(after) + 1 < len(queue):
        return queue[ids.index(after) + 1]
    return queue[0] if queue else None
