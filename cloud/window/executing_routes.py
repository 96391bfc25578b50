"""The executing department's desk: scan the patient, see what is paid, say what was done, or take it back."""

from __future__ import annotations

import uuid
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import execution
from cloud.hospital.service import department_by_code
from cloud.kit.db import Transaction
from cloud.kit.errors import XinglinError
from cloud.lis.orders.lookup import numbers_of
from cloud.people.access import Subject, mask_phone, person
from cloud.people.identity import person_ids
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of
from cloud.window import executing, finding
from cloud.window.wording import KINDS

PAGE = "/staff/executing"
OWED = "/staff/executing/owed"
router = APIRouter(include_in_schema=False)
Executor = Annotated[CurrentStaff, Depends(require("charge.execute"))]
Collector = Annotated[CurrentStaff, Depends(require("money.collect"))]
Code = Annotated[str, Form(max_length=64)]

navigation.add(N_("执行登记"), PAGE, permission="charge.execute", group=N_("窗口"), position=606, key="g L")
navigation.add(N_("已执行未缴费"), OWED, permission="money.collect", group=N_("窗口"), position=607, key="g U")


@router.get(PAGE)
def search(request: Request, session: Transaction, staff: Executor, q: str = "", department: str = "") -> Response:
    """Scan or type; one patient found opens at once."""
    found = finding.persons(session, Subject.staff(staff), q)
    if len(found) == 1:
        return RedirectResponse(_page(found[0].id, department), status_code=303)
    context = {
        "q": q,
        "found": found,
        "numbers": numbers_of(session, [each.id for each in found]),
        "mask_phone": mask_phone,
        "departments": executing.departments(session),
        "department": department,
    }
    return render(request, "window/executing.html", context)


@router.get(OWED)
def owed(request: Request, session: Transaction, staff: Collector) -> Response:
    """Bills that were worked on and nobody has paid."""
    found = executing.owed(session, Subject.staff(staff))
    return render(request, "window/owed.html", {"owed": found, "kinds": KINDS})


def _page(person_id: uuid.UUID, department: str) -> str:
    return f"{PAGE}/{person_id}" + (f"?{urlencode({'department': department})}" if department else "")


@router.get(PAGE + "/{person_id}")
def tasks(
    request: Request, session: Transaction, staff: Executor, person_id: uuid.UUID, department: str = ""
) -> Response:
    return _tasks(request, session, staff, person_id, department)


def _tasks(
    request: Request,
    session: Transaction,
    staff: CurrentStaff,
    person_id: uuid.UUID,
    department: str,
    problem: str = "",
    status: int = 200,
) -> Response:
    subject = Subject.staff(staff)
    who = person(session, subject, person_id)
    place = department_by_code(session, department) if department else None
    context = {
        "person": who,
        "number": numbers_of(session, [who.id]).get(who.id, ""),
        "tasks": executing.of(session, subject, person_ids(session, who.id), place.id if place else None),
        "department": place.code if place else "",
        "place": place,
        "kinds": KINDS,
        "problem": problem,
    }
    return render(request, "window/executing_person.html", context, status)


@router.post(PAGE + "/{person_id}/done")
def done(
    request: Request,
    session: Transaction,
    staff: Executor,
    person_id: uuid.UUID,
    item: Annotated[list[uuid.UUID] | None, Form()] = None,
    department: Code = "",
) -> Response:
    """All of the chosen items or none; who is refused sees why."""
    who = person(session, Subject.staff(staff), person_id)
    place = department_by_code(session, department) if department else None
    try:
        with session.begin_nested():
            mine = executing.ours(session, person_ids(session, who.id), item or [])
            execution.execute(session, mine, by=staff.actor, department_id=place.id if place else None)
    except XinglinError as refusal:
        return _tasks(request, session, staff, who.id, department, message_of(refusal), refusal.status)
    return RedirectResponse(_page(who.id, department), status_code=303)


@router.post(PAGE + "/{person_id}/undo")
def undo(
    request: Request,
    session: Transaction,
    staff: Executor,
    person_id: uuid.UUID,
    item: Annotated[uuid.UUID, Form()],
    reason: Annotated[str, Form(max_length=200)] = "",
    department: Code = "",
) -> Response:
    """It was not done after all, or its goods came back: the money can be refunded again."""
    who = person(session, Subject.staff(staff), person_id)
    try:
        with session.begin_nested():
            mine = executing.undoable(session, person_ids(session, who.id), item)
            execution.undo(session, mine, by=staff.actor, reason=reason)
    except XinglinError as refusal:
        return _tasks(request, session, staff, who.id, department, message_of(refusal), refusal.status)
    return RedirectResponse(_page(who.id, department), status_code=303)
