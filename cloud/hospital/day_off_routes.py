"""The staff page that stops a department's whole day: what it means first, then one act."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital import day_off, service, timetable, weeks, words
from cloud.hospital.schedule_model import HALVES
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound, XinglinError
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

WEEK = "/staff/hospital/schedule"
PAGE = f"{WEEK}/day-off"
router = APIRouter(prefix=PAGE, include_in_schema=False)
Stopper = Annotated[CurrentStaff, Depends(require("schedule.stop"))]
Text = Annotated[str, Form(max_length=200)]


@router.get("")
def page(
    request: Request, session: Transaction, staff: Stopper, department: str = "", day: str = "", half: str = ""
) -> Response:
    return _page(request, session, department, day, half)


def _page(
    request: Request, session: Session, department: str, day: str, half: str, problem: str = "", status: int = 200
) -> Response:
    chosen = service.department_by_code(session, department) if department else None
    on = clock.typed_day(day) or clock.today()
    wanted = half if half in HALVES else ""
    context = {
        "department": chosen,
        "departments": timetable.departments_for_booking(session),
        "day": on,
        "half": wanted,
        "plan": day_off.plan(session, chosen.id, on, wanted) if chosen else None,
        "monday": weeks.monday_of(on),
        "problem": problem,
        "w": words,
    }
    return render(request, "hospital/day_off.html", context, status)


@router.post("")
def stop(
    request: Request,
    session: Transaction,
    staff: Stopper,
    department: Text,
    day: Text,
    half: Text = "",
    why: Text = "",
    seen: Annotated[list[uuid.UUID], Form()] = [],  # noqa: B006
) -> Response:
    """`seen`: the sessions that the page showed."""
    chosen, on = service.department_by_code(session, department), clock.typed_day(day)
    if chosen is None or on is None:
        raise NotFound("hospital.department", N_("没有这个科室。"))
    try:
        with session.begin_nested():
            day_off.stop(session, chosen.id, on, half=half, seen=seen, by=staff.actor, why=why)
    except XinglinError as refusal:
        return _page(request, session, department, day, half, message_of(refusal), refusal.status)
    return RedirectResponse(f"{WEEK}?week={weeks.monday_of(on)}&department={chosen.code}&done=stopped", status_code=303)
