"""What needs a person: cases about money, each closed once, with a reason."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import XinglinError
from cloud.payments import finding, service, wording
from cloud.payments.payment_routes import Accountant, Reader
from cloud.staff import worklist
from cloud.staff.naming import names_of
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/payments/cases"
router = APIRouter(prefix=PAGE, include_in_schema=False)

navigation.add(N_("资金异常"), PAGE, permission="money.read", group=N_("收费"), position=650, key="g C")
worklist.add(
    N_("资金异常待处理"),
    N_("渠道退不了的款、对不上的收款"),
    PAGE,
    permission="money.read",
    position=650,
    count=finding.open_cases,
    urgent=True,
)


@router.get("")
def cases(request: Request, session: Transaction, staff: Reader, show: str = "open", page: int = 1) -> Response:
    return _page(request, session, show == "closed", max(1, page))


def _page(
    request: Request, session: Transaction, closed: bool, page: int, problem: str = "", status: int = 200
) -> Response:
    found = finding.cases(session, closed=closed, page=page)
    context = {
        "found": found,
        "closed": closed,
        "page": page,
        "more": len(found) == finding.PAGE_SIZE,
        "open": finding.open_cases(session),
        "words": wording,
        "names": names_of(session, [case.closed_by for case, _payment, _refund in found]),
        "problem": problem,
    }
    return render(request, "payments/cases.html", context, status)


@router.post("/{case_id}/close")
def close(
    request: Request,
    session: Transaction,
    staff: Accountant,
    case_id: uuid.UUID,
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    try:
        with session.begin_nested():
            service.close_case(session, case_id, by=staff.actor, why=reason)
    except XinglinError as refusal:
        return _page(request, session, False, 1, message_of(refusal), refusal.status)
    return RedirectResponse(PAGE, status_code=303)
