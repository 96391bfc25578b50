"""The hospital's decisions about patients' accounts, with who decided and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid
from cloud.patient.identity import policy
from cloud.staff.access import CurrentStaff, require
from cloud.staff.naming import names_of
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/patients/rules"
router = APIRouter(include_in_schema=False)
Decider = Annotated[CurrentStaff, Depends(require("booking.settle"))]

navigation.add(N_("患者账号规则"), PAGE, permission="booking.settle", group=N_("窗口"), position=695)


@router.get(PAGE)
def rules_page(request: Request, session: Transaction, staff: Decider) -> Response:
    past = policy.decisions(session)
    context = {
        "settings": policy.SETTINGS,
        "values": policy.values(session),
        "past": past,
        "names": names_of(session, {each.set_by for each in past}),
    }
    return render(request, "patient/identity/rules.html", context)


@router.post(PAGE)
def decide(
    session: Transaction,
    staff: Decider,
    key: Annotated[str, Form(max_length=32)] = "",
    value: Annotated[str, Form(max_length=6)] = "",
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    text = value.strip()
    if not (text.isascii() and text.isdigit()):
        raise Invalid("policy_value", N_("设置的数值不正确。"))
    policy.set_value(session, key, int(text), by=staff.actor, reason=reason)
    return RedirectResponse(PAGE, status_code=303)
