"""Changing the catalogue: every change is recorded, and what is approved is never written over.

A draft is changed in place. Of an approved test, panel, tube or channel the change waits; of an approved range, limit
or goal a new version stands beside it as a draft. Who approves is `approving`. The functions never commit.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.lis.catalog import kinds
from cloud.lis.catalog.changes import CatalogChange, ChangeState
from cloud.lis.catalog.kinds import Kind, Values
from cloud.lis.catalog.model import ApprovalState
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Editor:
    """Who changes, as the audit trail and as a person names them, and why."""

    by: str
    name: str
    reason: str
    origin: str = "page"
    valid_from: date | None = None
    """From which day a change of an approved test, panel, tube or channel is to hold; none: as soon as approved."""


def create(session: Session, kind: Kind, values: Values, editor: Editor, **fixed: Any) -> Any:
    """A new row as a draft; `fixed` are columns nobody types (`test_id`, `code`). Of a band that has versions already
    it is the next version."""
    _reason(editor)
    row = kind.table(**{**_blank(kind), **fixed}, edited_by=editor.by)
    kinds.fill(session, kind, row, {name: value for name, value in values.items() if name != "tests"})
    kind.check(session, row)
    if kind.rows_are_versions:
        row.version = _next_version(session, kind, row)
    _store(session, kind, row)
    kinds.fill(session, kind, row, values)
    _write(session, kind, row, None, kinds.content(session, kind, row), editor, ChangeState.WAITING)
    return row


def _blank(kind: Kind) -> dict[str, Any]:
    """What columns say before anybody writes: a row is checked before the database gives it its defaults."""
    found = {"state": ApprovalState.DRAFT, "version": 1}
    for column in kind.table.__mapper__.columns:
        if isinstance(column.default, ScalarElementColumnDefault) and column.key not in found:
            found[column.key] = column.default.arg
        elif column.default is None and not column.nullable and column.type.python_type in (str, bool):
            found[column.key] = column.type.python_type()
    return found | ({"texts": []} if "texts" in kind.fields else {})


def change(
    session: Session, kind: Kind, row_id: uuid.UUID, values: Values, editor: Editor, *, seen: str | None = None
) -> CatalogChange | None:
    """Change a row as far as `values` differ from it; None when nothing does. `seen`: the stamp the form was made for.

    Raises `Invalid` for what may not stand so and `Conflict` for a row that is in use no more or changed meanwhile.
    """
    _reason(editor)
    row = session.get(kind.table, row_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("catalog.unknown", N_("没有这条记录。"))
    if row.state == ApprovalState.RETIRED and "state" not in values:
        raise Conflict("catalog.retired", N_("这条记录已停用，请先恢复。"))
    if seen is not None and seen != stamp(row, open_change(session, kind, row_id)):
        raise Conflict("catalog.newer", N_("页面打开之后内容又有变更，请刷新页面重新核对。"))
    was = kinds.content(session, kind, row) | {"state": str(row.state)}
    before, after = kinds.difference(was, {name: value for name, value in values.items() if name in was})
    waiting = _open(session, kind, row_id)
    if not after:
        if waiting is not None and row.state != ApprovalState.DRAFT:
            _supersede(session, waiting)
        return None
    if row.state == ApprovalState.DRAFT:
        return _in_place(session, kind, row, was, after, waiting, editor)
    if kind.rows_are_versions and "state" not in after:
        return _new_version(session, kind, row, before, after, editor)
    with session.no_autoflush:
        _try(session, kind, row, after)
    if waiting is not None:
        _supersede(session, waiting)
    return _write(session, kind, row, before, after, editor, ChangeState.WAITING)


def _in_place(
    session: Session, kind: Kind, row: Any, was: Values, after: Values, waiting: CatalogChange | None, editor: Editor
) -> CatalogChange:
    """A draft says something else now. What it said when it was last approved, or first written, stays "before"."""
    kinds.fill(session, kind, row, {name: value for name, value in after.items() if name != "tests"})
    kind.check(session, row)
    row.edited_by = editor.by
    if set(kind.key) & set(after):
        row.version = _next_version(session, kind, row)
    _store(session, kind, row)
    kinds.fill(session, kind, row, after)
    old = {name: was[name] for name in after}
    whole = dict(after)
    state = ChangeState.APPLIED if row.state == ApprovalState.RETIRED else ChangeState.WAITING
    if waiting is not None:
        fresh = waiting.before is None
        old = {} if fresh else {**old, **(waiting.before or {})}
        whole = {**waiting.after, **after}
        _supersede(session, waiting)
        if fresh:
            return _write(session, kind, row, None, whole, editor, state)
    return _write(session, kind, row, old, whole, editor, state)


def _new_version(
    session: Session, kind: Kind, row: Any, before: Values, after: Values, editor: Editor
) -> CatalogChange:
    """An approved band says something else: a draft beside it, which ends it when it is approved."""
    columns = [each.key for each in kind.table.__mapper__.columns]
    fixed = {"id", "created_at", "state", "version", "edited_by", "approved_by", "approved_at", "valid_to"}
    copied = {name: getattr(row, name) for name in columns if name not in fixed}
    draft = kind.table(**copied, state=ApprovalState.DRAFT, version=1, edited_by=editor.by)
    kinds.fill(session, kind, draft, after)
    kind.check(session, draft)
    draft.version = _next_version(session, kind, draft)
    _store(session, kind, draft)
    return _write(session, kind, draft, before, after, editor, ChangeState.WAITING)


def _try(session: Session, kind: Kind, row: Any, after: Values) -> None:
    """Whether the row could stand so; it is put back as it was."""
    if kind.check_values:
        kind.check_values(session, after)
    kept = {name: getattr(row, name) for name in after if hasattr(type(row), name)}
    try:
        kinds.fill(session, _columns_only(kind), row, after)
        kind.check(session, row)
    finally:
        for name, value in kept.items():
            setattr(row, name, value)


def _columns_only(kind: Kind) -> Kind:
    return Kind(kind.name, kind.table, kind.fields, kind.label, kind.test_id, kind.check, kind.key)


def _next_version(session: Session, kind: Kind, row: Any) -> int:
    table = kind.table
    same = [getattr(table, name).is_not_distinct_from(getattr(row, name)) for name in kind.key]
    return (session.scalar(select(func.max(table.version)).where(*same)) or 0) + 1


def _store(session: Session, kind: Kind, row: Any) -> None:
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError as error:
        label = getattr(row, "code", "") or kind.name
        raise Conflict("catalog.twice", N_("已有相同的记录：{label}。请改动那一条。"), label=label) from error


def stamp(row: Any, waiting: CatalogChange | None) -> str:
    """What a page showed: the change that waits, else the version of the row."""
    return str(waiting.id) if waiting is not None else f"v{row.version}"


def open_change(session: Session, kind: Kind, row_id: uuid.UUID) -> CatalogChange | None:
    """What waits for approval, or for its day, of a row."""
    return session.scalar(
        select(CatalogChange).where(
            CatalogChange.kind == kind.name,
            CatalogChange.subject_id == row_id,
            CatalogChange.state.in_((ChangeState.WAITING, ChangeState.APPROVED)),
        )
    )


def _open(session: Session, kind: Kind, row_id: uuid.UUID) -> CatalogChange | None:
    found = open_change(session, kind, row_id)
    if found is not None and found.state == ChangeState.APPROVED:
        raise Conflict("catalog.change_due", N_("这条记录已有一项批准的变更等待生效，生效之前不能再改。"))
    return found


def _supersede(session: Session, waiting: CatalogChange) -> None:
    moved = session.execute(
        update(CatalogChange)
        .where(CatalogChange.id == waiting.id, CatalogChange.state == ChangeState.WAITING)
        .values(state=ChangeState.SUPERSEDED)
        .returning(CatalogChange.id)
    ).first()
    if moved is None:
        raise Conflict("catalog.decided", N_("这项变更刚刚已由他人处理，请刷新页面。"))
    session.refresh(waiting)


def _write(
    session: Session, kind: Kind, row: Any, before: Values | None, after: Values, editor: Editor, state: ChangeState
) -> CatalogChange:
    made = CatalogChange(
        kind=kind.name,
        subject_id=row.id,
        label=kind.label(session, row),
        test_id=kind.test_id(row),
        before=None if before is None else dict(before),
        after=dict(after),
        reason=editor.reason.strip(),
        origin=editor.origin,
        valid_from=_valid_from(kind, row, editor),
        state=state,
        made_by=editor.by,
        made_by_name=editor.name,
        made_at=clock.now(),
    )
    session.add(made)
    session.flush()
    audit.record(
        session,
        actor=editor.by,
        action=f"catalog.{kind.name}.change",
        aggregate=(f"catalog_{kind.name}", str(row.id)),
        before=None if before is None else dict(before),
        after=dict(after),
        reason=editor.reason.strip(),
    )
    return made


def _valid_from(kind: Kind, row: Any, editor: Editor) -> date:
    if kind.rows_are_versions:
        found: date = row.valid_from
        return found
    return editor.valid_from or clock.today()


def _reason(editor: Editor) -> None:
    if not editor.reason.strip():
        raise Invalid("catalog.reason", N_("请写明变更原因。"))
