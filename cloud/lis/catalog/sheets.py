"""The sheets of the catalogue's workbook: which rows stand in each, and by what a row is known again.

A slice above adds its own (`cloud.lis.instruments.versions`: channels). Of ranges, limits and goals the newest version
in use stands in the sheet; of a row with a change that waits, what it will say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.errors import Invalid
from cloud.lis.catalog import content, kinds
from cloud.lis.catalog.changes import CatalogChange
from cloud.lis.catalog.kinds import Kind
from cloud.lis.catalog.model import ApprovalState, Test
from cloud.web.i18n import mark as N_

OUT_OF_USE = "停用"
"""The last column of every sheet: "是" takes the row out of use."""
Identity = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One sheet. `identity`: headings of the columns that name a row and are never changed."""

    kind: Kind
    title: str
    identity: Identity
    named: Callable[[Session, Any], Identity]
    """The identity of a row."""
    fixed: Callable[[Session, Identity], dict[str, Any]]
    """Columns of a new row that nobody types otherwise; raises `Invalid` for an identity nobody knows."""
    order: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as the sheet shows it."""

    identity: Identity
    row: Any
    values: dict[str, Any]
    """With what a waiting change will make of it; ``state`` too."""

    def key(self, kind: Kind) -> tuple[Any, ...]:
        return key_of(kind, self.identity, self.values)


def key_of(kind: Kind, identity: Identity, values: dict[str, Any]) -> tuple[Any, ...]:
    """By what a row is found again: its names, and of a band for whom it is."""
    return (*identity, *(values.get(name) for name in kind.key if name != "test_id"))


_sheets: list[Sheet] = []


def add(sheet: Sheet) -> Sheet:
    _sheets.append(sheet)
    return sheet


def every() -> list[Sheet]:
    return list(_sheets)


def entries(session: Session, sheet: Sheet) -> list[Entry]:
    """Every row of a sheet, in the order it is written."""
    table, kind = sheet.kind.table, sheet.kind
    wanted = select(table).order_by(*sheet.order)
    if kind.rows_are_versions:
        wanted = wanted.where(table.state != ApprovalState.RETIRED)
    open_ones = select(CatalogChange).where(
        CatalogChange.kind == kind.name, CatalogChange.state.in_(("waiting", "approved"))
    )
    waiting = {each.subject_id: each.after for each in session.scalars(open_ones)}
    found: dict[tuple[Any, ...], Entry] = {}
    for row in session.scalars(wanted):
        values = kinds.content(session, kind, row) | {"state": str(row.state)} | waiting.get(row.id, {})
        entry = Entry(sheet.named(session, row), row, values)
        known = found.get(entry.key(kind))
        if known is None or known.row.version < row.version:
            found[entry.key(kind)] = entry
    return list(found.values())


def _code(_session: Session, row: Any) -> Identity:
    return (row.code,)


def _new_code(_session: Session, identity: Identity) -> dict[str, Any]:
    return {"code": identity[0]}


def _of_test(session: Session, row: Any) -> Identity:
    return (session.get_one(Test, row.test_id).code,)


def _its_test(session: Session, identity: Identity) -> dict[str, Any]:
    found = session.scalar(select(Test.id).where(Test.code == identity[0]))
    if found is None:
        raise Invalid("sheet.test", N_("没有代码为“{typed}”的检验项目。"), typed=identity[0])
    return {"test_id": found}


for _kind, _title in ((content.TUBE, "试管"), (content.TEST, "检验项目"), (content.PANEL, "组合")):
    add(Sheet(_kind, _title, ("代码",), _code, _new_code, (_kind.table.position, _kind.table.code)))
for _kind, _title in ((content.RANGE, "参考区间"), (content.LIMIT, "危急值界限"), (content.GOAL, "质量目标")):
    add(Sheet(_kind, _title, ("项目代码",), _of_test, _its_test, (_kind.table.id,)))
