"""Answers: pages of specimens (or of values of one test), newest first, found the way that touches the fewest rows.

Whatever is rare is looked up first (a patient, a doctor with few orders, a value few have); what is common is met soon
while walking back through time. So both are answered from an index and the page never counts the whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, text, tuple_
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.db import among
from cloud.lis.catalog.model import Panel, Test
from cloud.lis.instruments.model import Instrument
from cloud.lis.orders.model import Order, OrderItem
from cloud.lis.query.naming import MOST_PERSONS, persons_of, specimen_of
from cloud.lis.query.rules import Question
from cloud.lis.reports.model import Report
from cloud.lis.results.model import Result
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person

SHOWN = 50
FEW = 2_000
"""Up to so many rows are fetched by their ids and sorted; more of them are met soon on the way back in time."""
LONGEST = "5s"
"""A question that takes longer is ended by the database; the page asks for a shorter period."""
_ENDED_IN_TIME = text(f"SET LOCAL statement_timeout = '{LONGEST}'")
_FLAGS: dict[str, ColumnElement[bool]] = {
    "abnormal": Result.flag.not_in(["", "N"]),
    "critical": Result.critical.expression,
}


@dataclass(frozen=True, slots=True)
class Hit:
    """One line of the answer; of one test's value where the question names a test."""

    specimen: Specimen
    person: Person
    order: Order
    department: str
    panels: str
    abnormal: int
    critical: int
    report_id: uuid.UUID | None
    at: datetime | None
    """The moment by which the answer is sorted."""
    result: Result | None = None
    instrument: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    hits: tuple[Hit, ...]
    after: str
    """What the next page begins behind; "" when this was the last."""
    test: Test | None = None
    too_many_persons: bool = False


@dataclass(frozen=True, slots=True)
class _Names:
    """What the codes and words of a question stand for; None: asked for and not there, so nothing is found."""

    persons: tuple[uuid.UUID, ...] | None
    specimen: uuid.UUID | None
    department: uuid.UUID | None
    instrument: uuid.UUID | None
    test: Test | None


class TooLong(Exception):
    """The database ended the question."""


def find(session: Session, subject: Subject, question: Question, *, after: str = "", limit: int = SHOWN) -> Answer:
    """A page of the answer. `after` is that of the page before."""
    persons = persons_of(session, subject, question.patient) if question.patient else None
    if persons is not None and len(persons) > MOST_PERSONS:
        return Answer((), "", too_many_persons=True)
    names = _Names(
        persons=None if persons is None else tuple(persons),
        specimen=specimen_of(session, question.barcode),
        department=session.scalar(select(Department.id).where(Department.code == question.department)),
        instrument=session.scalar(select(Instrument.id).where(Instrument.code == question.instrument)),
        test=session.scalar(select(Test).where(Test.code == question.test)) if question.test else None,
    )
    asked = (
        (question.patient, names.persons),
        (question.barcode, names.specimen),
        (question.department, names.department),
        (question.instrument, names.instrument),
        (question.test, names.test),
    )
    if any(word and not found for word, found in asked):
        return Answer((), "", names.test)
    session.execute(_ENDED_IN_TIME)
    by_value = names.test is not None
    query, moment, key = (_values if by_value else _specimens)(session, subject, question, names)
    if names.persons is None and names.specimen is None:
        # Many rows: in the index's own order, in which tubes that never came would stand first.
        query = query.where(moment.is_not(None)).order_by(moment.desc(), key.desc())
    else:
        query = query.order_by(moment.desc().nulls_last(), key.desc())
    query = query.limit(limit + 1)
    cursor = _read_cursor(after)
    if cursor is not None:
        few = names.persons is not None or names.specimen is not None
        query = query.where((_behind if few else _before)(moment, key, cursor))
    rows = session.execute(_whole(query, by_value)).all()
    shown = rows[:limit]
    following = ""
    if len(rows) > limit:
        last = shown[-1]
        following = _cursor(last.at, last.key)
    return Answer(_hits(session, shown, by_value), following, names.test)


# ---------------------------------------------------------------------- the two ways of asking


def _specimens(
    session: Session, subject: Subject, question: Question, names: _Names
) -> tuple[Select[Any], ColumnElement[Any], ColumnElement[Any]]:
    """By tube, at the moment that the question means."""
    moments: dict[str, ColumnElement[Any]] = {
        "received": Specimen.received_at.expression,
        "ordered": Order.ordered_at.expression,
        "released": Report.released_at.expression,
    }
    moment = moments[question.day]
    query = select(moment.label("at"), Specimen.id.label("key")).select_from(Specimen)
    query = query.where(*_within(moment, question))
    if question.day == "released":
        query = query.join(Report, Report.specimen_id == Specimen.id)
    if not subject.sees_all:
        query = query.where(Specimen.person_id.in_(visible_to(subject)))
    if names.persons is not None:
        query = query.where(among(Specimen.person_id, names.persons))
    query = _narrowed(session, query, question, names, ordered=question.day == "ordered")
    if names.instrument is not None or question.flag:
        of_tube: list[ColumnElement[bool]] = [Result.specimen_id == Specimen.id, Result.chosen.expression]
        if names.instrument is not None:
            of_tube.append(Result.instrument_id == names.instrument)
        if question.flag:
            of_tube.append(_flagged(question.flag))
        query = query.where(exists().where(and_(*of_tube)).correlate(Specimen))
        if question.flag in ("critical", "HH", "LL"):
            rare = select(Result.specimen_id).where(Result.critical, Result.chosen, *_persons_of(names))
            found = _few(session, rare.where(*_measured_in(question)))
            query = query if found is None else query.where(among(Specimen.id, found))
    return query, moment, Specimen.id.expression


def _values(
    session: Session, subject: Subject, question: Question, names: _Names
) -> tuple[Select[Any], ColumnElement[Any], ColumnElement[Any]]:
    """By value of one test, at the moment it was measured."""
    assert names.test is not None
    of_test: list[ColumnElement[bool]] = [Result.test_id == names.test.id, Result.chosen.expression]
    of_value: list[ColumnElement[bool]] = []
    if question.low is not None:
        of_value.append(Result.number >= question.low)
    if question.high is not None:
        of_value.append(Result.number <= question.high)
    moment, key = Result.received_at.expression, Result.id.expression
    keys = select(moment.label("at"), key.label("key"))
    query = cast(Select[Any], keys).where(*of_test, *of_value, *_within(moment, question))
    if not subject.sees_all:
        query = query.where(Result.person_id.in_(visible_to(subject)))
    if names.instrument is not None:
        query = query.where(Result.instrument_id == names.instrument)
    if question.flag:
        query = query.where(_flagged(question.flag))
    if names.persons is not None:
        query = query.where(among(Result.person_id, names.persons))
    rare: list[ColumnElement[bool]] = []
    if of_value:
        rare = [*of_test, Result.number.is_not(None), *of_value]
    elif question.flag in ("critical", "HH", "LL"):
        rare = [Result.critical.expression, *of_test, _flagged(question.flag)]
    if rare and names.persons is None:
        found = _few(session, select(Result.id).where(*rare, *_within(moment, question)))
        query = query if found is None else query.where(among(Result.id, found))
    of_tube = (names.specimen, question.state, question.priority, names.department, question.doctor)
    if any(of_tube):
        query = query.join(Specimen, Specimen.id == Result.specimen_id)
        query = _narrowed(session, query, question, names)
    return query, moment, key


def _whole(page: Select[Any], by_value: bool) -> Select[Any]:
    """The page's rows with everything that is shown of them: looked up for these few and not for all that fit."""
    rows = page.subquery("page")
    columns = (Specimen, Person, Order, Department.name.label("department"), Report.id.label("report_id"))
    whole = select(*columns, rows.c.at, rows.c.key).select_from(rows)
    if by_value:
        whole = (
            whole.add_columns(Result, Instrument.code.label("instrument"))
            .join(Result, Result.id == rows.c.key)
            .join(Specimen, Specimen.id == Result.specimen_id)
            .join(Person, Person.id == Result.person_id)
            .outerjoin(Instrument, Instrument.id == Result.instrument_id)
        )
    else:
        whole = whole.join(Specimen, Specimen.id == rows.c.key).join(Person, Person.id == Specimen.person_id)
    return (
        whole.join(Order, Order.id == Specimen.order_id)
        .join(Department, Department.id == Order.department_id)
        .outerjoin(Report, Report.specimen_id == Specimen.id)
        .order_by(rows.c.at.desc().nulls_last(), rows.c.key.desc())
    )


def _narrowed(
    session: Session, query: Select[Any], question: Question, names: _Names, *, ordered: bool = False
) -> Select[Any]:
    """What concerns the tube and its order, which is joined where it is asked for or `ordered` by."""
    if names.specimen is not None:
        query = query.where(Specimen.id == names.specimen)
    if question.state:
        query = query.where(Specimen.state == question.state)
    if question.priority:
        query = query.where(Specimen.priority == question.priority)
    of_order: list[ColumnElement[bool]] = []
    if names.department is not None:
        of_order.append(Order.department_id == names.department)
    if question.doctor:
        of_order.append(Order.ordered_by == question.doctor)
    if of_order and names.persons is None and names.specimen is None:
        found = _few(session, select(Order.id).where(*of_order, *_about(question)))
        if found is not None:
            query, of_order = query.where(among(Specimen.order_id, found)), []
    if of_order or ordered:
        query = query.join(Order, Order.id == Specimen.order_id).where(*of_order)
    return query


def _about(question: Question) -> list[ColumnElement[bool]]:
    """The orders that can belong to the period: placed at most a month before what came of them."""
    since, until = _moments(question)
    bounds: list[ColumnElement[bool]] = []
    if since is not None:
        bounds.append(Order.ordered_at >= since - timedelta(days=31))
    if until is not None:
        bounds.append(Order.ordered_at < until)
    return bounds


def _measured_in(question: Question) -> list[ColumnElement[bool]]:
    """The values that can belong to tubes of the period: measured after they came, and within a month."""
    since, until = _moments(question)
    bounds: list[ColumnElement[bool]] = []
    if since is not None:
        bounds.append(Result.received_at >= since - timedelta(days=31 * (question.day == "released")))
    if until is not None:
        bounds.append(Result.received_at < until + timedelta(days=31))
    return bounds


def _few(session: Session, ids: Select[Any]) -> list[uuid.UUID] | None:
    """All of `ids` if they are few; None where walking through time meets enough of them."""
    found = list(session.scalars(ids.limit(FEW + 1)))
    return found if len(found) <= FEW else None


def _flagged(flag: str) -> ColumnElement[bool]:
    return _FLAGS.get(flag, Result.flag == flag)


def _persons_of(names: _Names) -> list[ColumnElement[bool]]:
    return [] if names.persons is None else [among(Result.person_id, names.persons)]


# ---------------------------------------------------------------------- time and pages


def _moments(question: Question) -> tuple[datetime | None, datetime | None]:
    since, until = question.window
    return (
        clock.day_begins(since) if since else None,
        clock.day_begins(until + timedelta(days=1)) if until else None,
    )


def _within(moment: ColumnElement[Any], question: Question) -> list[ColumnElement[bool]]:
    since, until = _moments(question)
    bounds: list[ColumnElement[bool]] = []
    if since is not None:
        bounds.append(moment >= since)
    if until is not None:
        bounds.append(moment < until)
    return bounds


def _cursor(at: datetime | None, key: uuid.UUID) -> str:
    return f"{'' if at is None else at.isoformat()}~{key}"


def _read_cursor(after: str) -> tuple[datetime | None, uuid.UUID] | None:
    """What a page began behind; an address that somebody changed begins at the beginning."""
    at, _, key = after.partition("~")
    try:
        moment = datetime.fromisoformat(at) if at else None
        if moment is not None and moment.tzinfo is None:
            return None
        return moment, uuid.UUID(key)
    except ValueError:
        return None


def _behind(
    moment: ColumnElement[Any], key: ColumnElement[Any], cursor: tuple[datetime | None, uuid.UUID]
) -> ColumnElement[bool]:
    at, last = cursor
    if at is None:
        return and_(moment.is_(None), key < last)
    return or_(tuple_(moment, key) < tuple_(at, last), moment.is_(None))


def _before(
    moment: ColumnElement[Any], key: ColumnElement[Any], cursor: tuple[datetime | None, uuid.UUID]
) -> ColumnElement[bool]:
    """The same where no moment is missing."""
    return tuple_(moment, key) < tuple_(*cursor)


def _hits(session: Session, rows: Sequence[Any], by_value: bool) -> tuple[Hit, ...]:
    ids = [row.Specimen.id for row in rows]
    counted = {
        row.specimen_id: row
        for row in session.execute(
            select(
                Result.specimen_id,
                func.count().filter(Result.flag.not_in(["", "N"])).label("abnormal"),
                func.count().filter(Result.critical).label("critical"),
            )
            .where(among(Result.specimen_id, ids), Result.chosen)
            .group_by(Result.specimen_id)
        )
    }
    panels: dict[uuid.UUID, list[str]] = {}
    for specimen_id, name in session.execute(
        select(OrderItem.specimen_id, Panel.name)
        .join(Panel, Panel.id == OrderItem.panel_id)
        .where(among(OrderItem.specimen_id, ids))
        .group_by(OrderItem.specimen_id, Panel.name, Panel.position)
        .order_by(Panel.position)
    ):
        if specimen_id is not None:
            panels.setdefault(specimen_id, []).append(name)
    return tuple(
        Hit(
            specimen=row.Specimen,
            person=row.Person,
            order=row.Order,
            department=row.department,
            panels="、".join(panels.get(row.Specimen.id, ())),
            abnormal=counted[row.Specimen.id].abnormal if row.Specimen.id in counted else 0,
            critical=counted[row.Specimen.id].critical if row.Specimen.id in counted else 0,
            report_id=row.report_id,
            at=row.at,
            result=row.Result if by_value else None,
            instrument=(row.instrument or "") if by_value else "",
        )
        for row in rows
    )
