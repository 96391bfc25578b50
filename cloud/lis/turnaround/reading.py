"""Statistics over the specimens of a period: any two points, by section, priority, department or hour."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, any_, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.expression import literal

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.lis.orders.model import OrderItem
from cloud.lis.specimens.model import Specimen
from cloud.lis.turnaround.hours import Hours
from cloud.lis.turnaround.model import SpecimenTimes
from cloud.lis.turnaround.points import IN_LABORATORY, SPANS, Point, Span
from cloud.lis.turnaround.statistics import Bar, Intervals, Summary, histogram, within

LONGEST_DAYS = 366


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which specimens: received in [since, until), narrowed."""

    since: datetime
    until: datetime
    span: Span = IN_LABORATORY
    priority: str = ""
    section: str = ""
    department_id: uuid.UUID | None = None
    test_id: uuid.UUID | None = None
    hours: Hours | None = None
    """Count working time instead of calendar time."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one group of specimens over one span."""

    label: str
    summary: Summary | None
    missing_start: int
    missing_end: int
    negative: int
    in_target: float | None
    """The share of those with a target that kept it, by the whole of the target's own span."""


_TIMES: dict[Point, InstrumentedAttribute[datetime | None]] = {
    each: getattr(SpecimenTimes, f"{each}_at") for each in Point
}


def _chosen(wanted: Wanted) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [
        SpecimenTimes.received_at >= wanted.since,
        SpecimenTimes.received_at < wanted.until,
    ]
    if wanted.priority:
        conditions.append(SpecimenTimes.priority == wanted.priority)
    if wanted.section:
        conditions.append(literal(wanted.section) == any_(SpecimenTimes.sections))
    if wanted.department_id is not None:
        conditions.append(SpecimenTimes.department_id == wanted.department_id)
    if wanted.test_id is not None:
        conditions.append(
            SpecimenTimes.specimen_id.in_(
                select(OrderItem.specimen_id).where(
                    OrderItem.test_id == wanted.test_id, OrderItem.cancelled_at.is_(None)
                )
            )
        )
    return and_(*conditions)


def _aggregates(span: Span) -> list[ColumnElement[Any]]:
    start, end = _TIMES[span.start], _TIMES[span.end]
    took = func.extract("epoch", end - start) / 60
    good = end >= start
    kept = SpecimenTimes.breached
    return [
        func.count().filter(good).label("count"),
        func.avg(took).filter(good).label("mean"),
        func.percentile_cont(0.5).within_group(took).filter(good).label("median"),
        func.percentile_cont(0.9).within_group(took).filter(good).label("p90"),
        func.min(took).filter(good).label("least"),
        func.max(took).filter(good).label("most"),
        func.coalesce(func.stddev_samp(took).filter(good), 0).label("sd"),
        func.count().filter(start.is_(None)).label("no_start"),
        func.count().filter(start.is_not(None), end.is_(None)).label("no_end"),
        func.count().filter(end < start).label("negative"),
        func.count().filter(kept.is_not(None)).label("judged"),
        func.count().filter(kept.is_(False)).label("kept"),
    ]


def _figures(label: str, row: Any) -> Figures:
    summary = None
    if row.count:
        numbers = (row.mean, row.median, row.p90, row.least, row.most, row.sd)
        summary = Summary(row.count, *(float(each) for each in numbers))
    share = row.kept / row.judged if row.judged else None
    return Figures(label, summary, row.no_start, row.no_end, row.negative, share)


def overall(session: Session, wanted: Wanted) -> Figures:
    """All of them together."""
    if wanted.hours is not None:
        return _worked("", list(_pairs(session, wanted)), wanted.hours, clock.hospital_zone())
    return _figures("", session.execute(select(*_aggregates(wanted.span)).where(_chosen(wanted))).one())


def by_span(session: Session, wanted: Wanted) -> list[tuple[Span, Figures]]:
    """Each named span of the road, for the same specimens."""
    return [(span, overall(session, replace(wanted, span=span))) for span in SPANS]


def by_group(session: Session, wanted: Wanted, group: str) -> list[Figures]:
    """By ``section`` (a specimen of two sections counts in both), ``priority``, ``department``, ``hour`` or ``day``."""
    key, joined = _key(group)
    statement: Select[Any] = select(key.label("key"), *_aggregates(wanted.span))
    if joined is not None:
        statement = statement.join_from(SpecimenTimes, joined[0], joined[1])
    rows = session.execute(statement.where(_chosen(wanted)).group_by(key).order_by(key))
    return [_figures(str(row.key), row) for row in rows]


def _key(group: str) -> tuple[ColumnElement[Any], tuple[Any, Any] | None]:
    local = func.timezone(str(clock.hospital_zone()), SpecimenTimes.received_at)
    if group == "section":
        parts = func.unnest(SpecimenTimes.sections).table_valued("section").render_derived(name="part")
        return parts.c.section, (parts, literal(value=True))
    if group == "department":
        return Department.name.expression, (Department, Department.id == SpecimenTimes.department_id)
    if group == "hour":
        return func.to_char(local, "HH24"), None
    if group == "day":
        return func.to_char(local, "YYYY-MM-DD"), None
    return SpecimenTimes.priority.expression, None


def _pairs(session: Session, wanted: Wanted) -> Iterator[tuple[datetime | None, datetime | None]]:
    rows = session.execute(select(_TIMES[wanted.span.start], _TIMES[wanted.span.end]).where(_chosen(wanted)))
    return ((start, end) for start, end in rows)


def _worked(
    label: str, pairs: Sequence[tuple[datetime | None, datetime | None]], hours: Hours, zone: tzinfo
) -> Figures:
    plain = Intervals.between(pairs)
    minutes = [hours.minutes(a, b, zone) for a, b in pairs if a is not None and b is not None and b >= a]
    return Figures(label, Summary.of(minutes), plain.no_start, plain.no_end, plain.negative, None)


def bars(session: Session, wanted: Wanted, reach: float) -> list[Bar]:
    """The histogram up to `reach` minutes."""
    zone = clock.hospital_zone()
    minutes = [
        wanted.hours.minutes(start, end, zone) if wanted.hours else (end - start).total_seconds() / 60
        for start, end in _pairs(session, wanted)
        if start is not None and end is not None and end >= start
    ]
    return histogram(minutes, reach)


def share_within(session: Session, wanted: Wanted, target: float) -> float | None:
    """The share that took no longer than `target` minutes."""
    return within(Intervals.between(_pairs(session, wanted)).minutes, target)


@dataclass(frozen=True, slots=True)
class Odd:
    """A specimen whose times cannot be right, or are not there."""

    specimen: Specimen
    start: datetime | None
    end: datetime | None


def odd_ones(session: Session, wanted: Wanted, limit: int = 200) -> list[Odd]:
    """Negative intervals of the span: errors in the data, to be looked at one by one."""
    start, end = _TIMES[wanted.span.start], _TIMES[wanted.span.end]
    rows = session.execute(
        select(Specimen, start, end)
        .join(SpecimenTimes, SpecimenTimes.specimen_id == Specimen.id)
        .where(_chosen(wanted), end < start)
        .order_by(SpecimenTimes.received_at.desc())
        .limit(limit)
    )
    return [Odd(*row) for row in rows]
