"""Approving and refusing what somebody else changed (must: who edits does not approve), and applying it on its day."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from cloud.kit import audit, clock
from cloud.kit.errors import Conflict, Forbidden, Invalid, NotFound
from cloud.lis.catalog import kinds
from cloud.lis.catalog.changes import CatalogChange, ChangeState
from cloud.lis.catalog.kinds import Kind
from cloud.lis.catalog.model import ApprovalState
from cloud.lis.catalog.record import open_change, stamp
from cloud.web.i18n import mark as N_


@dataclass(frozen=True, slots=True)
class Waiting:
    """One line of the approvals page."""

    kind: str
    row_id: uuid.UUID
    label: str
    before: dict[str, Any] | None
    after: dict[str, Any]
    change: CatalogChange | None
    """None: a draft that came with the product and that nobody touched."""
    edited_by: str | None
    stamp: str
    """What was seen: an approval of anything newer is refused."""


def waiting(session: Session, kind: Kind | None = None) -> list[Waiting]:
    """Everything that waits for the director: changes first (oldest first), then untouched drafts."""
    wanted = select(CatalogChange).where(CatalogChange.state == ChangeState.WAITING).order_by(CatalogChange.made_at)
    if kind is not None:
        wanted = wanted.where(CatalogChange.kind == kind.name)
    changes = list(session.scalars(wanted))
    found = [
        Waiting(each.kind, each.subject_id, each.label, each.before, each.after, each, each.made_by, str(each.id))
        for each in changes
    ]
    changed = {(each.kind, each.subject_id) for each in changes}
    for one in [kind] if kind is not None else kinds.every():
        drafts = session.scalars(select(one.table).where(one.table.state == ApprovalState.DRAFT).order_by(one.table.id))
        for row in drafts:
            if (one.name, row.id) not in changed:
                said = kinds.content(session, one, row)
                label = one.label(session, row)
                found.append(Waiting(one.name, row.id, label, None, said, None, row.edited_by, stamp(row, None)))
    return found


def count_waiting(session: Session) -> int:
    """How many lines the approvals page has."""
    total = session.scalar(
        select(func.count()).select_from(CatalogChange).where(CatalogChange.state == ChangeState.WAITING)
    )
    open_ids = select(CatalogChange.subject_id).where(CatalogChange.state == ChangeState.WAITING)
    for one in kinds.every():
        drafts = select(func.count()).select_from(one.table).where(one.table.state == ApprovalState.DRAFT)
        total = (total or 0) + (session.scalar(drafts.where(one.table.id.not_in(open_ids))) or 0)
    return total or 0


def approve(
    session: Session, kind: Kind, row_id: uuid.UUID, *, by: str, name: str = "", seen: str | None = None
) -> Any:
    """Approve what waits of one row; gives the row. `seen`: the stamp of what the page showed.

    Raises `Forbidden` for the person who made the change, `Conflict` when there is nothing to approve any more or it is
    not what was seen.
    """
    row = session.get(kind.table, row_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("band_unknown", N_("没有这条记录。"))
    change = open_change(session, kind, row_id)
    if change is not None and change.state == ChangeState.APPROVED:
        raise Conflict("catalog.change_due", N_("这条记录已有一项批准的变更等待生效，生效之前不能再改。"))
    if change is None and row.state != ApprovalState.DRAFT:
        raise Conflict("band_not_draft", N_("这条记录已不是草案，可能已由他人批准。请刷新页面。"))
    if seen is not None and seen != stamp(row, change):
        raise Conflict("catalog.newer", N_("页面打开之后内容又有变更，请刷新页面重新核对。"))
    if by in (row.edited_by if row.state == ApprovalState.DRAFT else None, change.made_by if change else None):
        raise Forbidden("catalog.own_change", N_("修改人不能批准自己的修改，请由另一位有批准权限的人员批准。"))
    if change is not None:
        _decide(session, change, ChangeState.APPROVED, by, name, "")
    before = {"state": str(row.state)} | (dict(change.before or {}) if change else {})
    if row.state == ApprovalState.DRAFT:
        _approve_draft(session, kind, row, by)
        if change is not None:
            _applied(session, change)
    elif change is not None and change.valid_from <= clock.today():
        apply(session, kind, row, change)
    after = {"state": str(row.state), "version": row.version}
    after |= dict(change.after) if change else kinds.content(session, kind, row)
    audit.record(
        session,
        actor=by,
        action=f"catalog.{kind.name}.approve",
        aggregate=(f"catalog_{kind.name}", str(row_id)),
        before=before,
        after=after,
    )
    return row


def _approve_draft(session: Session, kind: Kind, row: Any, by: str) -> None:
    row.state, row.approved_by, row.approved_at = ApprovalState.APPROVED, by, clock.now()
    session.flush()
    if kind.rows_are_versions:
        _end_older(session, kind, row)


def _end_older(session: Session, kind: Kind, row: Any) -> None:
    """Older versions of the band hold until the new one does: its day when that is to come, else today."""
    table = kind.table
    ends = max(row.valid_from, clock.today())
    session.execute(
        update(table)
        .where(
            *(getattr(table, name).is_not_distinct_from(getattr(row, name)) for name in kind.key),
            table.version < row.version,
            or_(table.valid_to.is_(None), table.valid_to > ends),
        )
        .values(valid_to=func.greatest(ends, table.valid_from)),
        execution_options={"synchronize_session": False},
    )


def apply(session: Session, kind: Kind, row: Any, change: CatalogChange) -> None:
    """Write an approved change into its row: the next version."""
    kinds.fill(session, kind, row, change.after)
    if "state" in change.after:
        row.state = change.after["state"]
    kind.check(session, row)
    row.version += 1
    row.edited_by, row.approved_by, row.approved_at = change.made_by, change.decided_by, change.decided_at
    _applied(session, change)


def apply_due(session: Session) -> int:
    """Apply the approved changes whose day has come; gives their number."""
    due = session.scalars(
        select(CatalogChange)
        .where(CatalogChange.state == ChangeState.APPROVED, CatalogChange.valid_from <= clock.today())
        .order_by(CatalogChange.made_at)
        .with_for_update(skip_locked=True)
    )
    done = 0
    for change in due:
        kind = kinds.get(change.kind)
        row = session.get(kind.table, change.subject_id, with_for_update=True) if kind else None
        if kind is None or row is None:
            continue
        apply(session, kind, row, change)
        audit.record(
            session,
            actor="system",
            action=f"catalog.{kind.name}.apply",
            aggregate=(f"catalog_{kind.name}", str(row.id)),
            before=change.before,
            after=change.after,
        )
        done += 1
    return done


def refuse(
    session: Session,
    kind: Kind,
    row_id: uuid.UUID,
    *,
    by: str,
    name: str = "",
    reason: str,
    seen: str | None = None,
    only_own: bool = False,
) -> Any:
    """Send a change back: an approved row stays as it is, a draft says again what it said, a new one is retired.

    Who made the change may take it back themselves (`only_own`: nobody else's).
    """
    if not reason.strip():
        raise Invalid("catalog.refusal_reason", N_("请写明退回的原因。"))
    row = session.get(kind.table, row_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("band_unknown", N_("没有这条记录。"))
    change = open_change(session, kind, row_id)
    if change is None or change.state != ChangeState.WAITING:
        raise Conflict("catalog.nothing_waits", N_("这条记录没有待批准的变更。"))
    if seen is not None and seen != stamp(row, change):
        raise Conflict("catalog.newer", N_("页面打开之后内容又有变更，请刷新页面重新核对。"))
    if only_own and change.made_by != by:
        raise Forbidden("catalog.not_own", N_("只能撤回自己的修改。"))
    _decide(session, change, ChangeState.REFUSED, by, name, reason.strip())
    if row.state == ApprovalState.DRAFT:
        if change.before is None or kind.rows_are_versions:
            row.state = ApprovalState.RETIRED
        else:
            kinds.fill(session, kind, row, change.before)
    audit.record(
        session,
        actor=by,
        action=f"catalog.{kind.name}.refuse",
        aggregate=(f"catalog_{kind.name}", str(row_id)),
        before=change.after,
        after=change.before,
        reason=reason.strip(),
    )
    return row


def _decide(session: Session, change: CatalogChange, state: ChangeState, by: str, name: str, reason: str) -> None:
    taken_back = state == ChangeState.REFUSED and by == change.made_by
    moved = session.execute(
        update(CatalogChange)
        .where(CatalogChange.id == change.id, CatalogChange.state == ChangeState.WAITING)
        .values(
            state=state,
            decided_by=None if taken_back else by,
            decided_by_name=name or by,
            decided_at=clock.now(),
            decided_reason=reason or None,
        )
        .returning(CatalogChange.id)
    ).first()
    if moved is None:
        raise Conflict("catalog.decided", N_("这项变更刚刚已由他人处理，请刷新页面。"))
    session.refresh(change)


def _applied(session: Session, change: CatalogChange) -> None:
    change.state, change.applied_at = ChangeState.APPLIED, clock.now()
    session.flush()
