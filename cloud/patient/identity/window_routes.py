"""The window's page: scan the card, type the phone's short code, look at the document, bind."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit.db import Transaction
from cloud.kit.errors import Conflict, Invalid, NotFound
from cloud.patient.identity import window
from cloud.patient.identity.rules import GUARDIAN, RELATIONS
from cloud.people.access import Subject, mask_id, mask_phone
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/window/bind"

router = APIRouter(include_in_schema=False)
navigation.add(N_("绑定患者手机"), PAGE, permission="patient.bind", group=N_("窗口"), position=610, key="g w")

Cashier = Annotated[CurrentStaff, Depends(require("patient.bind"))]
Typed = Annotated[str, Form(max_length=40)]


@router.get(PAGE)
def scan_page(request: Request, staff: Cashier) -> Response:
    return render(request, "patient/identity/window.html", {"found": None, "done": None})


@router.post(PAGE + "/check")
def check(request: Request, staff: Cashier, session: Transaction, card: Typed, code: Typed) -> Response:
    """Show whom card and code name; nothing is bound yet."""
    try:
        found = window.look(session, Subject.staff(staff), card=card, code=code)
    except (NotFound, Conflict) as refusal:  # the patient stands there: the form stays, with what was typed
        typed = {"found": None, "done": None, "card": card, "code": code, "problem": message_of(refusal)}
        return render(request, "patient/identity/window.html", typed, refusal.status)
    context = {
        "found": found,
        "done": None,
        "card": card,
        "code": code,
        "id_shown": mask_id(found.person.id_number),
        "phone_shown": mask_phone(found.person.phone),
    }
    return render(request, "patient/identity/window.html", context)


@router.post(PAGE)
def bind(
    request: Request,
    staff: Cashier,
    session: Transaction,
    card: Typed,
    code: Typed,
    relation: Annotated[str, Form()],
    document_seen: Annotated[bool, Form()] = False,
) -> Response:
    if relation not in (*RELATIONS, GUARDIAN):
        raise Invalid("relation_unknown", N_("请选择与患者的关系。"))
    if not document_seen:
        raise Invalid("document_not_seen", N_("请先核对身份证件，并勾选“已核对证件”。"))
    done = window.bind_at_window(session, Subject.staff(staff), card=card, code=code, relation=relation)
    return render(request, "patient/identity/window.html", {"found": None, "done": done})
