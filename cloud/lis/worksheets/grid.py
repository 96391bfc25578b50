"""A worksheet as its page shows it: tubes down, tests across, each cell with its value, flags and what it waits for."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Text, cast, func, select
from sqlalchemy.orm import Session

from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.results.choices import choices_of
from cloud.lis.results.double_entry import DoubleEntry, FirstEntry, first_entries
from cloud.lis.results.model import Result
from cloud.lis.results.typed import Choice
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.worksheets.model import Worksheet, WorksheetRow
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person


@dataclass(frozen=True, slots=True)
class Column:
    """A test of the sheet."""

    test: Test
    choices: tuple[Choice, ...]
    twice: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One test of one tube. `open`: it may be typed into."""

    specimen_id: uuid.UUID
    column: Column
    ordered: bool
    open: bool
    result: Result | None
    first: FirstEntry | None

    @property
    def name(self) -> str:
        return f"{self.specimen_id}:{self.column.test.id}"

    @property
    def seen(self) -> str:
        return str(self.result.id) if self.result else ""


@dataclass(frozen=True, slots=True)
class Row:
    position: int
    specimen: Specimen
    person: Person
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    sheet: Worksheet
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def missing(self) -> int:
        """Cells that wait for a value."""
        return sum(each.open and each.result is None for row in self.rows for each in row.cells)

    def cell(self, specimen_id: uuid.UUID, test_id: uuid.UUID) -> Cell | None:
        for row in self.rows:
            for each in row.cells:
                if (each.specimen_id, each.column.test.id) == (specimen_id, test_id):
                    return each
        return None


def grid(session: Session, subject: Subject, sheet: Worksheet, *, only: uuid.UUID | None = None) -> Grid:
    """The sheet (or only one tube's row), of the persons that may be seen."""
    columns = _columns(session, [uuid.UUID(each) for each in sheet.test_ids])
    query = (
        select(WorksheetRow.position, Specimen, Person)
        .join(Specimen, Specimen.id == WorksheetRow.specimen_id)
        .join(Person, Person.id == Specimen.person_id)
        .where(WorksheetRow.worksheet_id == sheet.id, Specimen.person_id.in_(visible_to(subject)))
        .order_by(WorksheetRow.position)
        .execution_options(populate_existing=True)
    )
    if only is not None:
        query = query.where(Specimen.id == only)
    found = session.execute(query).all()
    cells = _cells(session, sheet, columns, [row.Specimen for row in found])
    rows = tuple(Row(row.position, row.Specimen, row.Person, tuple(cells[row.Specimen.id])) for row in found)
    return Grid(sheet, columns, rows)


def _columns(session: Session, test_ids: Sequence[uuid.UUID]) -> tuple[Column, ...]:
    tests = {each.id: each for each in session.scalars(select(Test).where(Test.id.in_(test_ids)))}
    choices = choices_of(session, test_ids)
    twice = set(session.scalars(select(DoubleEntry.test_id).where(DoubleEntry.test_id.in_(test_ids))))
    return tuple(Column(tests[each], choices.get(each, ()), each in twice) for each in test_ids)


def _cells(
    session: Session, sheet: Worksheet, columns: Sequence[Column], specimens: Sequence[Specimen]
) -> dict[uuid.UUID, list[Cell]]:
    ids, tests = [each.id for each in specimens], [each.test.id for each in columns]
    items = {
        (item.specimen_id, item.test_id): (item, result)
        for item, result in session.execute(
            select(OrderItem, Result)
            .outerjoin(
                Result,
                (Result.order_item_id == OrderItem.id) & (Result.specimen_id == OrderItem.specimen_id) & Result.chosen,
            )
            .where(OrderItem.specimen_id.in_(ids), OrderItem.test_id.in_(tests), OrderItem.state != ItemState.CANCELLED)
            .execution_options(populate_existing=True)
        )
    }
    firsts = first_entries(session, ids)
    found: dict[uuid.UUID, list[Cell]] = {}
    for specimen in specimens:
        for column in columns:
            item, result = items.get((specimen.id, column.test.id), (None, None))
            open_ = (
                sheet.closed_at is None
                and item is not None
                and item.state in (ItemState.RECEIVED, ItemState.RESULTED)
                and specimen.state in (SpecimenState.RECEIVED, SpecimenState.DONE)
            )
            first = firsts.get((specimen.id, column.test.id))
            found.setdefault(specimen.id, []).append(Cell(specimen.id, column, item is not None, open_, result, first))
    return found


@dataclass(frozen=True, slots=True)
class Listed:
    """A worksheet in the list, with how many of its values are there."""

    sheet: Worksheet
    rows: int
    ordered: int
    entered: int


def listed(session: Session, *, closed: bool = False, limit: int = 60) -> list[Listed]:
    """Open worksheets (or the closed ones), the newest first."""
    query = select(Worksheet).order_by(Worksheet.created_at.desc()).limit(limit)
    query = query.where(Worksheet.closed_at.is_not(None) if closed else Worksheet.closed_at.is_(None))
    sheets = list(session.scalars(query))
    counts = {
        row.worksheet_id: row
        for row in session.execute(
            select(
                WorksheetRow.worksheet_id,
                func.count(func.distinct(WorksheetRow.specimen_id)).label("rows"),
                func.count(OrderItem.id).label("ordered"),
                func.count(Result.id).label("entered"),
            )
            .join(Worksheet, Worksheet.id == WorksheetRow.worksheet_id)
            .outerjoin(
                OrderItem,
                (OrderItem.specimen_id == WorksheetRow.specimen_id)
                & (OrderItem.state != ItemState.CANCELLED)
                & func.jsonb_exists(Worksheet.test_ids, cast(OrderItem.test_id, Text)),
            )
            .outerjoin(Result, (Result.order_item_id == OrderItem.id) & Result.chosen)
            .where(WorksheetRow.worksheet_id.in_([each.id for each in sheets]))
            .group_by(WorksheetRow.worksheet_id)
        )
    }
    return [
        Listed(each, *((row.rows, row.ordered, row.entered) if (row := counts.get(each.id)) else (0, 0, 0)))
        for each in sheets
    ]
