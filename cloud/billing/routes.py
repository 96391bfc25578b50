"""The hospital's decisions about bills, with who decided and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import policy
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid
from cloud.staff.access import CurrentStaff, require
from cloud.staff.naming import names_of
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/billing/settings"
router = APIRouter(include_in_schema=False)
Reader = Annotated[CurrentStaff, Depends(require("money.read"))]
Decider = Annotated[CurrentStaff, Depends(require("money.policy"))]

navigation.add(N_("收费规则"), PAGE, permission="money.read", group=N_("窗口"), position=690, key="g Z")


@router.get(PAGE)
def settings_page(request: Request, session: Transaction, staff: Reader) -> Response:
    past = policy.decisions(session)
    context = {
        "settings": policy.SETTINGS,
        "values": policy.values(session),
        "past": past,
        "names": names_of(session, {each.set_by for each in past}),
    }
    return render(request, "billing/settings.html", context)


@router.post(PAGE)
def decide(
    session: Transaction,
    staff: Decider,
    key: Annotated[str, Form(max_length=32)] = "",
    value: Annotated[str, Form(max_length=6)] = "",
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    text = value.strip()
    if text and not (text.isascii() and text.isdigit()):
        raise Invalid("policy_value", N_("设置的数值不正确。"))
    policy.set_value(session, key, int(text) if text else None, by=staff.actor, reason=reason)
    return RedirectResponse(PAGE, status_code=303)
