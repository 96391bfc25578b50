"""The director's page of what waits for approval: what changed is shown, one line or many are approved or sent back."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.lis.catalog import approving, forms, guards, kinds, words
from cloud.lis.catalog.approving import Waiting
from cloud.lis.catalog.kinds import Kind
from cloud.lis.catalog.model import Test
from cloud.lis.catalog.page_of_test import PAGE
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

router = APIRouter()
Reader = Annotated[CurrentStaff, Depends(require("catalog.read"))]
Approver = Annotated[CurrentStaff, Depends(require("catalog.approve"))]
SHOWN = 100
"""Lines on one page; a new catalogue is approved section by section."""

worklist.add(
    N_("待批准的字典变更"),
    N_("项目、区间、界限与通道的变更"),
    f"{PAGE}/approvals",
    permission="catalog.approve",
    position=430,
    count=approving.count_waiting,
    topic="catalog",
)


@router.get("/approvals")
def approvals(request: Request, session: Transaction, staff: Reader, kind: str = "", changed: bool = False) -> Response:
    """`changed`: only what somebody changed, without the drafts that came with the product."""
    lines = approving.waiting(session)
    counts = Counter(each.kind for each in lines)
    if kind:
        lines = [each for each in lines if each.kind == kind]
    if changed:
        lines = [each for each in lines if each.change is not None]
    shown = lines[:SHOWN]
    context = {
        "lines": [(each, _differences(session, each), each.edited_by == staff.actor) for each in shown],
        "total": len(lines),
        "more": len(lines) - len(shown),
        "counts": counts,
        "kind": kind,
        "changed": changed,
        "words": words,
    }
    return render(request, "lis/catalog/approvals.html", context)


def _differences(session: Session, line: Waiting) -> list[forms.Difference]:
    kind = kinds.get(line.kind)
    return forms.differences(session, kind, line.before, line.after) if kind is not None else []


@router.post("/approvals")
def decide(
    session: Transaction,
    staff: Approver,
    verdict: Annotated[str, Form()],
    lines: Annotated[list[str] | None, Form()] = None,
    reason: Annotated[str, Form(max_length=200)] = "",
    kind: Annotated[str, Form()] = "",
    changed: Annotated[bool, Form()] = False,
) -> Response:
    """All of the chosen lines or none: the first that cannot be is named. A line is ``kind:id:stamp``."""
    chosen = [_line(each) for each in lines or []]
    if not chosen:
        raise Invalid("approvals.nothing", N_("请至少选择一条变更。"))
    for found, row_id, stamp in chosen:
        guards.ask(session, staff, guards.APPROVE, found, session.get(found.table, row_id))
        if verdict == "approve":
            approving.approve(session, found, row_id, by=staff.actor, name=staff.name, seen=stamp)
        elif verdict == "refuse":
            approving.refuse(session, found, row_id, by=staff.actor, name=staff.name, reason=reason, seen=stamp)
        else:
            raise Invalid("approvals.verdict", N_("请选择批准或退回。"))
    shown = urlencode({"kind": kind} | ({"changed": "true"} if changed else {}))
    return RedirectResponse(f"{PAGE}/approvals?{shown}", status_code=303)


def _line(text: str) -> tuple[Kind, uuid.UUID, str]:
    name, _colon, rest = text.partition(":")
    row_id, _second, stamp = rest.partition(":")
    kind = kinds.get(name)
    try:
        found = uuid.UUID(row_id)
    except ValueError:
        kind = None
    if kind is None:
        raise Conflict("approvals.line", N_("页面已过期，请刷新后重新核对。"))
    return kind, found, stamp


@router.post("/{name}/{row_id}/approve")
def approve(session: Transaction, staff: Approver, name: str, row_id: uuid.UUID) -> Response:
    """One row from its test's page."""
    kind = kinds.get(name)
    if kind is None:
        raise NotFound("band_unknown", N_("没有这条记录。"))
    guards.ask(session, staff, guards.APPROVE, kind, session.get(kind.table, row_id))
    row = approving.approve(session, kind, row_id, by=staff.actor, name=staff.name)
    return RedirectResponse(back_of(session, kind, row), status_code=303)


@router.post("/{name}/{row_id}/take-back")
def take_back(
    session: Transaction,
    staff: Annotated[CurrentStaff, Depends(require("catalog.edit"))],
    name: str,
    row_id: uuid.UUID,
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Whoever made a change takes it back before it is decided."""
    kind = kinds.get(name)
    if kind is None:
        raise NotFound("band_unknown", N_("没有这条记录。"))
    why = reason.strip() or "撤回"
    row = approving.refuse(session, kind, row_id, by=staff.actor, name=staff.name, reason=why, only_own=True)
    return RedirectResponse(back_of(session, kind, row), status_code=303)


def back_of(session: Session, kind: Kind, row: object) -> str:
    test_id = kind.test_id(row)
    if test_id is not None:
        return f"{PAGE}/tests/{session.get_one(Test, test_id).code}"
    code: Sequence[str] = getattr(row, "code", "")
    return f"{PAGE}/{kind.name}s/{code}" if code else PAGE
