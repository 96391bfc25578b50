"""A patient's released values over time: a table of tests by tubes, and the course of single tests.

Files that were merged count as one person. What was amended stands as the report now says it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from cloud.kit import clock
from cloud.kit.db import among
from cloud.lis.catalog.model import Panel, Test
from cloud.lis.instruments.model import Instrument
from cloud.lis.orders.model import OrderItem
from cloud.lis.query.chart import Chart, Point, draw
from cloud.lis.reports.model import Report, ReportState
from cloud.lis.results.model import Result, ResultState
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject
from cloud.people.access import person as visible_person
from cloud.people.identity import person_ids
from cloud.people.model import Person

COLUMNS = 12
"""Tubes side by side."""
LOOKED_AT = 60
"""Reports taken from the newest back until so many columns are full."""
DRAWN = 400
"""Values of one test in a drawing, the newest."""
MOST_CHARTS = 6
_CELL = (
    Result.id, Result.specimen_id, Result.test_id, Result.order_item_id, Result.value_text, Result.number,
    Result.comparator, Result.unit, Result.flag, Result.critical, Result.range_text, Result.range_low,
    Result.range_high, Result.instrument_id, Result.observed_at, Result.received_at,
)  # fmt: skip
"""Without the decision and what else makes a row wide."""


@dataclass(frozen=True, slots=True)
class Column:
    """One tube."""

    specimen: Specimen
    report_id: uuid.UUID
    at: datetime
    recalled: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One test through the columns; None where the tube has no value of it."""

    test: Test
    cells: tuple[Result | None, ...]
    units: tuple[str, ...]
    """All units among the cells: more than one is marked."""
    means: tuple[str, ...]
    """All analyzers among the cells."""


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one panel."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Cumulative:
    person: Person
    files: int
    """How many files are this person."""
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    older: str
    """Where the next page begins; "" when nothing is older."""
    panels: tuple[tuple[str, str], ...]
    """Code and name of the panels among the reports looked at, for choosing."""


@dataclass(frozen=True, slots=True)
class Course:
    """One test over all the time."""

    test: Test
    points: tuple[Point, ...]
    chart: Chart | None
    other_units: tuple[str, ...]


def cumulative(
    session: Session, subject: Subject, person_id: uuid.UUID, *, before: datetime | None = None, panel: str = ""
) -> Cumulative:
    """The newest columns, or those before a moment. Raises `NotFound` for whom the subject may not see."""
    person = visible_person(session, subject, person_id)
    persons = person_ids(session, person.id)
    query = (
        select(Report, Specimen)
        .join(Specimen, Specimen.id == Report.specimen_id)
        .where(among(Report.person_id, persons))
        .order_by(Report.released_at.desc())
        .limit(LOOKED_AT + 1)
    )
    if before is not None:
        query = query.where(Report.released_at < before)
    found = session.execute(query).all()
    tubes = [
        Column(specimen, report.id, specimen.collected_at or specimen.received_at or report.released_at, recalled)
        for report, specimen in found[:LOOKED_AT]
        for recalled in [report.state == ReportState.RECALLED]
    ]
    belongs, names = _panels(session, [each.specimen.id for each in tubes])
    if panel:
        tubes = [each for each in tubes if panel in {code for code, _ in belongs.get(each.specimen.id, ())}]
    columns = tubes[:COLUMNS]
    shown = {each.specimen.id for each in columns}
    left = len(tubes) > COLUMNS or len(found) > LOOKED_AT
    last = next((report for report, specimen in reversed(found) if specimen.id in shown), None)
    return Cumulative(
        person=person,
        files=len(persons),
        columns=tuple(columns),
        groups=_groups(session, columns, panel, names),
        older=last.released_at.isoformat() if left and last is not None else "",
        panels=tuple(sorted({each for codes in belongs.values() for each in codes}, key=lambda each: each[1])),
    )


def _panels(
    session: Session, specimen_ids: Sequence[uuid.UUID]
) -> tuple[dict[uuid.UUID, set[tuple[str, str]]], dict[uuid.UUID, tuple[int, str, str]]]:
    """Panels of each tube, and of each test (place, code, name) the panel it was last ordered with."""
    belongs: dict[uuid.UUID, set[tuple[str, str]]] = {}
    names: dict[uuid.UUID, tuple[int, str, str]] = {}
    rows = session.execute(
        select(OrderItem.specimen_id, OrderItem.test_id, Panel.code, Panel.name, Panel.position)
        .join(Panel, Panel.id == OrderItem.panel_id)
        .where(among(OrderItem.specimen_id, specimen_ids))
    )
    for row in rows:
        belongs.setdefault(row.specimen_id, set()).add((row.code, row.name))
        names.setdefault(row.test_id, (row.position, row.code, row.name))
    return belongs, names


def _groups(
    session: Session, columns: Sequence[Column], panel: str, names: dict[uuid.UUID, tuple[int, str, str]]
) -> tuple[Group, ...]:
    rows = session.execute(
        select(Result, Test, Instrument.code.label("instrument"))
        .join(Test, Test.id == Result.test_id)
        .outerjoin(Instrument, Instrument.id == Result.instrument_id)
        .where(
            among(Result.specimen_id, [each.specimen.id for each in columns]),
            Result.chosen,
            Result.state == ResultState.RELEASED,
        )
        .options(load_only(*_CELL))
    ).all()
    place = {each.specimen.id: number for number, each in enumerate(columns)}
    cells: dict[uuid.UUID, list[Result | None]] = {}
    tests: dict[uuid.UUID, Test] = {}
    means: dict[uuid.UUID, dict[str, None]] = {}
    for row in rows:
        tests[row.Test.id] = row.Test
        cells.setdefault(row.Test.id, [None] * len(columns))[place[row.Result.specimen_id]] = row.Result
        means.setdefault(row.Test.id, {})[row.instrument or ""] = None
    grouped: dict[tuple[int, str], list[Row]] = {}
    for test_id, test in sorted(tests.items(), key=lambda each: (each[1].position, each[1].code)):
        position, code, name = names.get(test_id, (10**6, "", ""))
        if panel and code != panel:
            continue
        units = tuple(dict.fromkeys(each.unit or "" for each in cells[test_id] if each is not None))
        grouped.setdefault((position, name), []).append(
            Row(test, tuple(cells[test_id]), units, tuple(sorted(means[test_id])))
        )
    return tuple(Group(name, tuple(found)) for (_, name), found in sorted(grouped.items(), key=lambda each: each[0]))


def courses(session: Session, person_id: uuid.UUID, codes: Sequence[str]) -> list[Course]:
    """The drawings of these tests, over every file of the person, without recalled reports. Who asks has passed
    `cumulative` before.
    """
    persons = person_ids(session, person_id)
    tests = {each.code: each for each in session.scalars(select(Test).where(Test.code.in_(codes[:MOST_CHARTS])))}
    return [_course(session, persons, tests[code]) for code in codes[:MOST_CHARTS] if code in tests]


def _course(session: Session, persons: Sequence[uuid.UUID], test: Test) -> Course:
    rows = session.execute(
        select(Result, Instrument.code.label("instrument"))
        .outerjoin(Instrument, Instrument.id == Result.instrument_id)
        .where(
            among(Result.person_id, persons),
            Result.test_id == test.id,
            Result.chosen,
            Result.state == ResultState.RELEASED,
            Result.specimen_id.not_in(
                select(Report.specimen_id).where(Report.person_id.in_(persons), Report.state == ReportState.RECALLED)
            ),
        )
        .order_by(Result.received_at.desc())
        .limit(DRAWN)
        .options(load_only(*_CELL))
    ).all()
    points = tuple(
        Point(
            at=clock.local(each.observed_at or each.received_at),
            number=float(each.number),
            text=each.value_text,
            flag=each.flag,
            low=None if each.range_low is None else float(each.range_low),
            high=None if each.range_high is None else float(each.range_high),
            unit=each.unit or "",
            means=instrument or "",
        )
        for each, instrument in reversed(rows)
        if each.number is not None
    )
    newest = points[-1].unit if points else ""
    others = tuple(dict.fromkeys(each.unit for each in points if each.unit != newest))
    return Course(test, points, draw(points), others)


def telling_tests(groups: Sequence[Group]) -> list[str]:
    """What to draw when nobody chose: numeric tests with an abnormal value among the columns, the newest first; else
    the first ones.
    """
    rows = [row for group in groups for row in group.rows if sum(_drawn(each) for each in row.cells) > 1]
    marked = [row for row in rows if any(each is not None and each.flag not in ("", "N") for each in row.cells)]
    return [row.test.code for row in (marked or rows)][:4]


def _drawn(cell: Result | None) -> bool:
    return cell is not None and cell.number is not None
