"""A form of any kind of the catalogue, as the templates draw it, and what comes back of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.errors import Invalid, XinglinError
from cloud.lis.catalog import guards, kinds, record
from cloud.lis.catalog.changes import CatalogChange
from cloud.lis.catalog.columns import NO, YES, Column
from cloud.lis.catalog.kinds import Kind
from cloud.lis.catalog.record import Editor
from cloud.lis.catalog.writing import COLUMNS, parsed, shown
from cloud.staff.access import CurrentStaff
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.refusals import message_of


@dataclass(frozen=True, slots=True)
class Field:
    """One field with what stands in it."""

    column: Column
    value: str
    options: list[tuple[str, str, bool]]
    """Key, word in the page's language, whether it is the one that stands there."""
    error: str = ""

    @property
    def ticked(self) -> bool:
        return self.value in ("yes", YES)


@dataclass(slots=True)
class Form:
    """A form for a new row (`row` None) or a change."""

    kind: Kind
    action: str
    title: str
    fields: list[Field]
    row: Any = None
    about: Any = None
    """Of a new range, limit or goal: something that names its test."""
    stamp: str = ""
    reason: str = ""
    code: str | None = None
    """A new row's code, where somebody types one."""
    problem: str = ""
    pending: bool = False
    """It shows a change that waits for approval already."""
    effective_from: str = ""
    """The day from which a change of an approved row that is no version of its own is to hold."""
    hidden: dict[str, str] = field(default_factory=dict)


def blank(session: Session, kind: Kind, action: str, title: str, given: Mapping[str, Any], **more: Any) -> Form:
    """For a new row; `given` are values to begin with."""
    start = {"valid_from": str(clock.today()), "orderable": True, **given}
    return Form(kind, action, title, _fields(session, kind, shown(session, kind, start)), **more)


def filled(session: Session, kind: Kind, row: Any, action: str, title: str) -> Form:
    """For a change: what the row says, with the change that waits already written over it."""
    waiting = record.open_change(session, kind, row.id)
    values = kinds.content(session, kind, row)
    if waiting is not None and row.state != "draft":
        values |= waiting.after
    return Form(
        kind,
        action,
        title,
        _fields(session, kind, shown(session, kind, values)),
        row,
        stamp=record.stamp(row, waiting),
        pending=waiting is not None and row.state != "draft",
        effective_from="" if row.state != "approved" or kind.rows_are_versions else str(_from(waiting)),
    )


def _from(waiting: CatalogChange | None) -> date:
    return waiting.valid_from if waiting is not None else clock.today()


def _fields(
    session: Session, kind: Kind, texts: Mapping[str, str], errors: Mapping[str, str] | None = None
) -> list[Field]:
    return [
        Field(
            each,
            texts.get(each.field, ""),
            _options(session, each, texts.get(each.field, "")),
            (errors or {}).get(each.field, ""),
        )
        for each in COLUMNS[kind.name]
    ]


def _options(session: Session, column: Column, value: str) -> list[tuple[str, str, bool]]:
    found = column.options(session) if column.options else []
    return [(key, _(word) if word else "—", value in (key, word)) for key, word in found]


def _day(typed: str) -> date | None:
    day = clock.typed_day(typed)
    if day is None and typed:
        raise Invalid("catalog.day", N_("“{typed}”不是日期，请写成 2026-01-31。"), typed=typed[:40])
    return day


Save = Callable[[dict[str, Any], Editor], Any]


def submit(session: Session, form: Form, typed: Mapping[str, str], staff: CurrentStaff, save: Save) -> bool:
    """Read what came back and save it; False with the form saying what is wrong, and what was typed kept."""
    given = {each.field: typed[each.field] for each in COLUMNS[form.kind.name] if each.field in typed}
    values, wrong = parsed(session, form.kind, given)
    form.reason = typed.get("reason", "")
    if form.code is not None:
        form.code = typed.get("code", "").strip()
    form.effective_from = typed.get("effective_from", form.effective_from)
    if not wrong:
        try:
            guards.ask(session, staff, guards.EDIT, form.kind, form.row or form.about)
            with session.begin_nested():
                save(values, Editor(staff.actor, staff.name, form.reason, valid_from=_day(form.effective_from)))
            return True
        except XinglinError as refusal:
            form.problem = message_of(refusal)
    errors = {each.column.field: message_of(each.refusal) for each in wrong}
    form.problem = form.problem or _(N_("有 {n} 处需要更正。")).format(n=len(errors))
    form.fields = _fields(session, form.kind, given, errors)
    return False


UNSAID = ("", NO, N_("不限"), "0")
"""What a new row's field says when it says nothing."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of a change."""

    label: str
    before: str
    after: str


_STATE = {"draft": N_("草案"), "approved": N_("在用"), "retired": N_("停用")}


def differences(
    session: Session, kind: Kind, before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> list[Difference]:
    """What a change says, in words; fields of a new row that say nothing are left out."""
    old, new = shown(session, kind, before or {}), shown(session, kind, after)
    found = [
        Difference(each.label, _worded(each, old.get(each.field, "")), _worded(each, new[each.field]))
        for each in COLUMNS[kind.name]
        if each.field in new and (before is not None or new[each.field] not in UNSAID)
    ]
    if "state" in after:
        found.append(
            Difference(N_("状态"), _(_STATE.get((before or {}).get("state", ""), "")), _(_STATE[after["state"]]))
        )
    return found


def _worded(column: Column, written: str) -> str:
    """A choice's word in the page's language."""
    return _(written) if written and column.widget in ("choice", "check") else written


def of_change(session: Session, change: CatalogChange) -> list[Difference]:
    kind = kinds.get(change.kind)
    return differences(session, kind, change.before, change.after) if kind is not None else []
