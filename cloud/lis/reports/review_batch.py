"""The batch page: what of the queue would be done and why not the rest, then what became of each."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit.db import Transaction
from cloud.kit.errors import Forbidden, Invalid
from cloud.lis.reports import batch
from cloud.lis.reports.review_page import Filtered, queue_side, words
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

router = APIRouter(prefix="/staff/lis/review/batch")
Reviewer = Annotated[CurrentStaff, Depends(require("result.review"))]


def _act(act: str, staff: CurrentStaff) -> str:
    if act not in (batch.REVIEW, batch.RELEASE):
        raise Invalid("batch.act", N_("没有这种批量操作。"))
    if act == batch.RELEASE and not staff.may("result.release"):
        raise Forbidden("forbidden", N_("您没有这项操作的权限，请联系管理员。"))
    return act


@router.get("")
def preview(request: Request, session: Transaction, staff: Reviewer, filtered: Filtered, act: str = "") -> Response:
    """Everything of the queue looked at, sorted into what a batch takes and what it leaves."""
    side = queue_side(session, staff, filtered)
    found = batch.outlook(session, side["waiting"].rows, by=staff, act=_act(act, staff))
    context = {
        **side,
        **words(),
        "act": act,
        "taken": [each for each in found if each.refusal is None],
        "left": [(each.row, message_of(each.refusal)) for each in found if each.refusal is not None],
        "done": None,
    }
    return render(request, "lis/reports/review_batch.html", context)


@router.post("")
def run(
    request: Request,
    staff: Reviewer,
    filtered: Filtered,
    act: Annotated[str, Form()],
    specimen: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Each ticked specimen in a transaction of its own; a row that is refused stops no other."""
    done = batch.run([_ticked(each) for each in specimen or []], by=staff, act=_act(act, staff))
    context = {
        **words(),
        "filtered": filtered,
        "act": act,
        "done": [(each, message_of(each.refusal) if each.refusal else "") for each in done],
        "count": sum(each.refusal is None for each in done),
    }
    return render(request, "lis/reports/review_batch.html", context)


def _ticked(text: str) -> tuple[uuid.UUID, int]:
    identity, _, version = text.partition(":")
    try:
        return uuid.UUID(identity), int(version)
    except ValueError:
        raise Invalid("batch.form", N_("表单不完整，请刷新页面后重新勾选。")) from None
