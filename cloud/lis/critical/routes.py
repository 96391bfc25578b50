"""Pages of critical values: the laboratory's list, the wall board, the ward's own screen, statistics, settings."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital import service as hospital
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid, XinglinError
from cloud.lis.critical import figures, ladder, overview, service, ward
from cloud.lis.critical.model import CLOSED, CriticalCase
from cloud.lis.results.attempt import attempt
from cloud.people.access import Subject
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE, WARD = "/staff/lis/critical", "/staff/ward/critical"
router = APIRouter()

Reader = Annotated[CurrentStaff, Depends(require("result.read"))]
Caller = Annotated[CurrentStaff, Depends(require("result.review"))]
Nurse = Annotated[CurrentStaff, Depends(require(ward.RECEIVE))]
Setter = Annotated[CurrentStaff, Depends(require(ladder.SET))]


def _open_count(session: Session) -> int:
    return session.scalar(select(func.count()).where(CriticalCase.state.not_in(CLOSED))) or 0


navigation.add(N_("危急值"), PAGE, permission="result.read", group=N_("检验"), position=310, key="g v")
navigation.add(N_("病区危急值"), WARD, permission=ward.RECEIVE, group=N_("病区"), position=120, key="g W")
worklist.add(
    N_("危急值待复述"),
    N_("电话通知病区并登记复述"),
    PAGE,
    permission="result.review",
    position=290,
    count=_open_count,
    topic="critical",
    urgent=True,
)
worklist.add(
    N_("病区危急值待接收"),
    N_("复述检验科报告的危急值"),
    WARD,
    permission=ward.RECEIVE,
    position=289,
    count=_open_count,
    topic="critical",
    urgent=True,
)


# ---------------------------------------------------------------------- the laboratory


@router.get(PAGE)
def page(request: Request, session: Transaction, staff: Reader) -> Response:
    return _page(request, session, staff)


def _page(request: Request, session: Session, staff: CurrentStaff, problem: str = "", status: int = 200) -> Response:
    subject = Subject.staff(staff)
    closed = overview.closed_lately(session, subject)
    context = {
        "unconfirmed": overview.unconfirmed(session, subject),
        "rows": overview.open_ones(session, subject),
        "closed": closed,
        "readers": overview.readers(session, [case.id for case, *_rest in closed]),
        "limits": ladder.limits(session),
        "problem": problem,
    }
    return render(request, "lis/critical/critical.html", context, status)


@router.post(f"{PAGE}/{{case_id}}/contact")
def contact(
    request: Request,
    session: Transaction,
    staff: Caller,
    case_id: uuid.UUID,
    outcome: Annotated[str, Form()],
    told: Annotated[str, Form()] = "",
    telephone: Annotated[str, Form()] = "",
    note: Annotated[str, Form()] = "",
) -> Response:
    """One attempt: who was told, and whether they read the values back."""
    _, refusal = attempt(
        session,
        lambda: service.record_contact(
            session, case_id, by=staff, told=told, outcome=outcome, telephone=telephone, note=note
        ),
    )
    if refusal is not None:
        return _page(request, session, staff, message_of(refusal), refusal.status)
    return RedirectResponse(PAGE, status_code=303)


@router.get(f"{PAGE}/board")
def board(request: Request, session: Transaction, staff: Reader) -> Response:
    """For a screen on the wall: large, without anything to press."""
    return render(request, "lis/critical/board.html", _board(session, staff))


@router.get(f"{PAGE}/board/part")
def board_part(request: Request, session: Transaction, staff: Reader) -> Response:
    return render(request, "lis/critical/board_part.html", _board(session, staff))


def _board(session: Session, staff: CurrentStaff) -> dict[str, Any]:
    subject = Subject.staff(staff)
    return {
        "unconfirmed": overview.unconfirmed(session, subject),
        "rows": overview.open_ones(session, subject),
        "limits": ladder.limits(session),
        "now": clock.now(),
    }


# ---------------------------------------------------------------------- the ward


@router.get(WARD)
def ward_page(request: Request, session: Transaction, staff: Nurse, department: str = "") -> Response:
    return _ward(request, session, staff, department)


@router.get(f"{WARD}/part")
def ward_part(request: Request, session: Transaction, staff: Nurse, department: str = "") -> Response:
    """How many wait: the page says so without disturbing what is being typed."""
    return render(request, "lis/critical/ward_count.html", _ward_context(session, staff, department))


def _ward_context(session: Session, staff: CurrentStaff, department: str) -> dict[str, Any]:
    chosen = hospital.department_by_code(session, department) if department else None
    subject = Subject.staff(staff)
    where = None if chosen is None else chosen.id
    return {
        "departments": hospital.departments(session),
        "department": chosen.code if chosen else "",
        "rows": overview.open_ones(session, subject, department_id=where),
        "closed": overview.closed_lately(session, subject, department_id=where),
    }


def _ward(
    request: Request, session: Session, staff: CurrentStaff, department: str, problem: str = "", status: int = 200
) -> Response:
    context = {**_ward_context(session, staff, department), "problem": problem}
    return render(request, "lis/critical/ward.html", context, status)


@router.post(f"{WARD}/{{case_id}}/read-back")
def read_back(
    request: Request,
    session: Transaction,
    staff: Nurse,
    case_id: uuid.UUID,
    value: Annotated[list[str] | None, Form()] = None,
    department: Annotated[str, Form()] = "",
) -> Response:
    try:
        with session.begin_nested():
            ward.read_back(session, case_id, value or [], by=staff)
    except XinglinError as refusal:
        return _ward(request, session, staff, department, message_of(refusal), refusal.status)
    return RedirectResponse(_ward_address(department), status_code=303)


@router.post(f"{WARD}/{{case_id}}/handled")
def handled(
    request: Request,
    session: Transaction,
    staff: Nurse,
    case_id: uuid.UUID,
    doctor: Annotated[str, Form(max_length=60)] = "",
    handling: Annotated[str, Form(max_length=400)] = "",
    department: Annotated[str, Form()] = "",
) -> Response:
    try:
        with session.begin_nested():
            ward.handled(session, case_id, doctor=doctor, handling=handling, by=staff)
    except XinglinError as refusal:
        return _ward(request, session, staff, department, message_of(refusal), refusal.status)
    return RedirectResponse(_ward_address(department), status_code=303)


def _ward_address(department: str) -> str:
    known = department if department.isascii() and department.replace("-", "").replace("_", "").isalnum() else ""
    return f"{WARD}?department={known}" if known else WARD


# ---------------------------------------------------------------------- statistics


@router.get(f"{PAGE}/statistics")
def statistics(request: Request, session: Transaction, staff: Reader) -> Response:
    today = clock.today()
    first = clock.typed_day(request.query_params.get("from")) or today - timedelta(days=29)
    last = clock.typed_day(request.query_params.get("to")) or today
    if first > last or (last - first).days > 366:
        first, last = today - timedelta(days=29), today
    limits = ladder.limits(session)
    cases = figures.in_period(session, clock.day_begins(first), clock.day_begins(last + timedelta(days=1)))
    context = {
        "whole": figures.of_cases(cases, limits.tell),
        "departments": figures.by_department(session, cases, limits.tell),
        "tests": figures.by_test(cases, limits.tell),
        "from_day": first,
        "to_day": last,
        "limits": limits,
    }
    return render(request, "lis/critical/statistics.html", context)


# ---------------------------------------------------------------------- settings


@router.get(f"{PAGE}/settings")
def settings_page(request: Request, session: Transaction, staff: Reader, department: str = "") -> Response:
    return _settings(request, session, department)


def _settings(request: Request, session: Session, department: str, problem: str = "", status: int = 200) -> Response:
    chosen = hospital.department_by_code(session, department) if department else None
    known = ladder.ladders(session)
    row = known.get(None if chosen is None else chosen.id)
    steps = [] if row is None else [ladder.Step(**each) for each in row.steps]
    context = {
        "limits": ladder.limits(session),
        "departments": hospital.departments(session),
        "department": chosen.code if chosen else "",
        "own": {each.id for each in hospital.departments(session) if known.get(each.id) and known[each.id].steps},
        "steps": steps,
        "blank": ladder.MOST_STEPS - len(steps),
        "row": row,
        "problem": problem,
    }
    return render(request, "lis/critical/settings.html", context, status)


@router.post(f"{PAGE}/settings/limits")
def set_limits(
    request: Request,
    session: Transaction,
    staff: Setter,
    confirm: Annotated[str, Form()] = "",
    tell: Annotated[str, Form()] = "",
    source: Annotated[str, Form(max_length=400)] = "",
) -> Response:
    try:
        with session.begin_nested():
            ladder.set_limits(session, confirm=_minutes(confirm), tell=_minutes(tell), source=source, by=staff)
    except XinglinError as refusal:
        return _settings(request, session, "", message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/settings", status_code=303)


@router.post(f"{PAGE}/settings/ladder")
def set_ladder(
    request: Request,
    session: Transaction,
    staff: Setter,
    department: Annotated[str, Form()] = "",
    after: Annotated[list[str] | None, Form()] = None,
    who: Annotated[list[str] | None, Form()] = None,
    telephone: Annotated[list[str] | None, Form()] = None,
    reason: Annotated[str, Form(max_length=400)] = "",
) -> Response:
    try:
        with session.begin_nested():
            chosen = hospital.department_by_code(session, department) if department else None
            steps = [
                ladder.Step(_minutes(minutes) or 0, name, number)
                for minutes, name, number in zip(after or [], who or [], telephone or [], strict=False)
                if minutes.strip() or name.strip() or number.strip()
            ]
            ladder.set_ladder(session, chosen.id if chosen else None, steps, reason=reason, by=staff)
    except XinglinError as refusal:
        return _settings(request, session, department, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/settings" + (f"?department={chosen.code}" if chosen else ""), status_code=303)


def _minutes(text: str) -> int | None:
    """Empty: none. Raises Invalid for what is no whole number."""
    said = text.strip()
    if not said:
        return None
    if not said.isascii() or not said.isdigit() or len(said) > 6:
        raise Invalid("critical.policy_minutes", N_("时限应在 1 到 1440 分钟之间。"))
    return int(said)
