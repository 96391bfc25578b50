"""The catalogue as a workbook and back: what differs, what is wrong in which cell, and all of it applied or nothing.

What is not in the sheet stays as it is. Everything applied is a draft or a change that waits, with the change record
(origin "sheet"); who approves is another person, as for a change on a page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from cloud.kit.errors import Invalid, XinglinError
from cloud.lis.catalog import record, sheets, workbook
from cloud.lis.catalog.columns import NO, YES, Column, codes_kept
from cloud.lis.catalog.forms import Difference, differences
from cloud.lis.catalog.kinds import Kind
from cloud.lis.catalog.model import ApprovalState
from cloud.lis.catalog.record import Editor
from cloud.lis.catalog.sheets import OUT_OF_USE, Entry, Sheet, key_of
from cloud.lis.catalog.workbook import Page, ReadPage, ReadRow, cell_name
from cloud.lis.catalog.writing import COLUMNS, parsed, shown
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.refusals import message_of

FIELD_OF = {
    "catalog.bounds": "low",
    "catalog.ages": "age_max_days",
    "catalog.source": "source",
    "catalog.valid_from": "valid_from",
    "catalog.unit": "unit",
    "catalog.decimals": "decimals",
    "catalog.name": "name",
    "catalog.name_en": "name_en",
    "catalog.short_name": "short_name",
    "catalog.pinyin": "pinyin",
    "catalog.weeks": "gestation_min_weeks",
    "catalog.phase_of_men": "phase",
    "catalog.tests_unknown": "tests",
    "catalog.colour": "colour_hex",
    "catalog.volume": "volume_ml",
    "catalog.says_nothing": "low",
    "catalog.limit_says_nothing": "low",
    "catalog.goal": "tea_percent",
    "catalog.repeat": "repeat_after_hours",
    "channel_wrong": "factor",
    "channel_unit_missing": "unit",
    "channel_kind": "test_id",
}
"""Which cell a refusal is about; any other stands at the row's first cell."""


def exported(session: Session) -> bytes:
    """The whole catalogue as a workbook."""
    with codes_kept(session):
        return workbook.written([_page(session, each) for each in sheets.every()])


def _page(session: Session, sheet: Sheet) -> Page:
    columns = COLUMNS[sheet.kind.name]
    rows = []
    for entry in sheets.entries(session, sheet):
        texts = shown(session, sheet.kind, entry.values)
        out = YES if entry.values["state"] == ApprovalState.RETIRED else NO
        rows.append([*entry.identity, *(texts.get(each.field, "") for each in columns), out])
    numbers = {at for at, each in enumerate(columns, len(sheet.identity)) if each.widget == "number"}
    headings = [*sheet.identity, *(each.label for each in columns), OUT_OF_USE]
    return Page(sheet.title, headings, rows, frozenset(numbers))


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, where, and what to do about it."""

    sheet: str
    cell: str
    message: str


@dataclass(frozen=True, slots=True)
class Line:
    """One row that would be new or changed."""

    sheet: str
    number: int
    label: str
    fresh: bool
    differences: list[Difference]
    kind: Kind
    row: Any


@dataclass(slots=True)
class Outcome:
    """What an import does, or would do."""

    lines: list[Line] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unchanged: int = 0

    @property
    def digest(self) -> str:
        """Of everything that differs: what was looked at is what is applied."""
        said = [
            [each.sheet, each.number, each.fresh, [[d.label, d.before, d.after] for d in each.differences]]
            for each in self.lines
        ]
        return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()[:24]


def tried(session: Session, data: bytes, editor: Editor) -> Outcome:
    """What the workbook would change; nothing of it stays."""
    kept = session.begin_nested()
    try:
        return applied(session, data, editor)
    finally:
        kept.rollback()


def applied(session: Session, data: bytes, editor: Editor) -> Outcome:
    """Apply the workbook in the caller's transaction. The caller takes it back where there are faults."""
    outcome = Outcome()
    pages = {page.title: page for page in workbook.read(data)}
    known = {each.title: each for each in sheets.every()}
    for title in pages:
        if title not in known:
            message = _(N_("没有名为“{sheet}”的工作表，可用：{known}。")).format(sheet=title, known="、".join(known))
            outcome.faults.append(Fault(title, "", message))
    with codes_kept(session):
        for title, sheet in known.items():
            if title in pages:
                _Reader(session, sheet, pages[title], editor, outcome).read()
    return outcome


class _Reader:
    """One sheet on its way in."""

    def __init__(self, session: Session, sheet: Sheet, page: ReadPage, editor: Editor, outcome: Outcome) -> None:
        self.session, self.sheet, self.page = session, sheet, page
        self.editor, self.outcome = editor, outcome
        self.entries = {each.key(sheet.kind): each for each in sheets.entries(session, sheet)}
        self.columns: dict[int, Column] = {}
        self.identity: dict[int, int] = {}
        self.out_of_use: int | None = None

    @property
    def kind(self) -> Kind:
        return self.sheet.kind

    def read(self) -> None:
        if not self._headings():
            return
        seen: dict[tuple[Any, ...], int] = {}
        for row, identity, values in self._rows():
            key = key_of(self.kind, identity, values)
            if key in seen:
                self._fault(row, 0, _(N_("与第 {row} 行重复，请删去一行。")).format(row=seen[key]))
                continue
            seen[key] = row.number
            self._take(row, identity, values, self.entries.get(key))

    def _headings(self) -> bool:
        by_label = {each.label: each for each in COLUMNS[self.kind.name]}
        for at, heading in enumerate(self.page.headings):
            if heading in self.sheet.identity:
                self.identity[self.sheet.identity.index(heading)] = at
            elif heading in by_label:
                self.columns[at] = by_label[heading]
            elif heading == OUT_OF_USE:
                self.out_of_use = at
            elif heading:
                message = _(N_("没有名为“{heading}”的列，请改正或删去。")).format(heading=heading)
                self.outcome.faults.append(Fault(self.sheet.title, cell_name(at, 1), message))
                return False
        missing = [name for place, name in enumerate(self.sheet.identity) if place not in self.identity]
        for name in missing:
            message = _(N_("缺少“{heading}”列。")).format(heading=name)
            self.outcome.faults.append(Fault(self.sheet.title, "A1", message))
        return not missing

    def _rows(self) -> Iterator[tuple[ReadRow, tuple[str, ...], dict[str, Any]]]:
        """Rows that can be read; the others are faults."""
        for row in self.page.rows:
            cells = [*row.cells, *[""] * (workbook.MOST_COLUMNS - len(row.cells))]
            identity = tuple(cells[self.identity[place]] for place in range(len(self.sheet.identity)))
            if not all(identity):
                self._fault(row, self.identity[identity.index("")], _(N_("请填写代码，或删去这一行。")))
                continue
            typed = {each.field: cells[at] for at, each in self.columns.items()}
            values, wrong = parsed(self.session, self.kind, typed)
            for each in wrong:
                self._fault(row, self._at(each.column.field), message_of(each.refusal))
            if wrong:
                continue
            if self.out_of_use is not None and cells[self.out_of_use] in (YES, "yes", "1"):
                values["state"] = str(ApprovalState.RETIRED)
            yield row, identity, values

    def _take(self, row: ReadRow, identity: tuple[str, ...], values: dict[str, Any], known: Entry | None) -> None:
        if known is None and values.get("state") == ApprovalState.RETIRED:
            self.outcome.unchanged += 1
            return
        if known is not None:
            values = self._against(known, values)
            if not values:
                self.outcome.unchanged += 1
                return
        try:
            with self.session.begin_nested():
                made = self._write(identity, values, known)
        except XinglinError as refusal:
            self._fault(row, self._at(FIELD_OF.get(refusal.code, "")), message_of(refusal))
            return
        before = None if known is None else {name: known.values.get(name) for name in values}
        said = differences(self.session, self.kind, before, values)
        label = self.kind.label(self.session, made)
        self.outcome.lines.append(Line(self.sheet.title, row.number, label, known is None, said, self.kind, made))

    def _against(self, known: Entry, values: dict[str, Any]) -> dict[str, Any]:
        """What differs from what the row says, or will say when a waiting change is approved."""
        retired = known.values["state"] == ApprovalState.RETIRED
        if retired and self.out_of_use is not None and "state" not in values:
            values = values | {"state": str(ApprovalState.APPROVED)}
        return {name: value for name, value in values.items() if known.values.get(name) != value}

    def _write(self, identity: tuple[str, ...], values: dict[str, Any], known: Entry | None) -> Any:
        if known is None:
            fixed = self.sheet.fixed(self.session, identity)
            missing = [each.label for each in COLUMNS[self.kind.name] if each.required and not values.get(each.field)]
            if missing:
                raise Invalid("sheet.missing", N_("新行缺少：{columns}。"), columns="、".join(missing))
            return record.create(self.session, self.kind, values, self.editor, **fixed)
        pending = {name: value for name, value in known.values.items() if name in (self._pending(known) or {})}
        record.change(self.session, self.kind, known.row.id, pending | values, self.editor)
        return known.row

    def _pending(self, known: Entry) -> dict[str, Any] | None:
        """A change that waits of an approved row is gone on with, not lost."""
        waiting = record.open_change(self.session, self.kind, known.row.id)
        return waiting.after if waiting is not None and known.row.state != ApprovalState.DRAFT else None

    def _at(self, name: str) -> int:
        return next((at for at, each in self.columns.items() if each.field == name), 0)

    def _fault(self, row: ReadRow, at: int, message: str) -> None:
        self.outcome.faults.append(Fault(self.sheet.title, cell_name(at, row.number), message))
