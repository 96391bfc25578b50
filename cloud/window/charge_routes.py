"""The pages of all bills: a list to search, and how one bill came about, was paid, done and given back."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.people.access import Subject
from cloud.people.rules import display_name
from cloud.staff.access import CurrentStaff, require
from cloud.staff.naming import names_of
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.window import charges, executing
from cloud.window.charges import PAGE_SIZE, Wanted
from cloud.window.wording import ITEM_STATES, KINDS, REFUND_STAGES, STANDINGS

PAGE = "/staff/bills"
router = APIRouter(prefix=PAGE, include_in_schema=False)
Reader = Annotated[CurrentStaff, Depends(require("money.read"))]

navigation.add(N_("账单查询"), PAGE, permission="money.read", group=N_("收费"), position=645, key="g 2")


@router.get("")
def listed(
    request: Request,
    session: Transaction,
    staff: Reader,
    q: str = "",
    day: str = "",
    state: str = "",
    department: str = "",
    page: int = 1,
) -> Response:
    wanted = Wanted(q[:64], clock.typed_day(day), state if state in charges.STATES else "", department)
    shown = min(max(1, page), 2000)
    rows, total = charges.listed(session, Subject.staff(staff), wanted, page=shown)
    if len(rows) == total == 1 and rows[0].charge.number == q.strip():
        return RedirectResponse(f"{PAGE}/{rows[0].charge.id}", status_code=303)
    context = {
        "rows": rows,
        "total": total,
        "page": shown,
        "pages": -(-total // PAGE_SIZE),
        "wanted": wanted,
        "states": charges.STATES,
        "departments": executing.departments(session),
        "kinds": KINDS,
        "standings": STANDINGS,
        "named": staff.may("patient.read"),
        "display_name": display_name,
        "today": clock.today(),
    }
    return render(request, "window/charges.html", context)


@router.get("/{charge_id}")
def one(request: Request, session: Transaction, staff: Reader, charge_id: uuid.UUID) -> Response:
    story = charges.story(session, Subject.staff(staff), charge_id)
    if story is None:
        raise NotFound("charge.unknown", N_("没有这张账单。"))
    actors = [each.by for each in story.steps]
    actors += [each.executed_by for each in story.items if each.executed_by]
    context = {
        "story": story,
        "names": names_of(session, actors),
        "kinds": KINDS,
        "standings": STANDINGS,
        "item_states": ITEM_STATES,
        "refund_stages": REFUND_STAGES,
        "named": staff.may("patient.read"),
        "display_name": display_name,
    }
    return render(request, "window/charge_story.html", context)
