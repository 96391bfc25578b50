"""Turnaround's pages: the work in hand with the time that is left, statistics, late reports, targets."""

from __future__ import annotations

import uuid
from datetime import time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital import service as hospital
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import XinglinError
from cloud.lis.catalog import service as catalog
from cloud.lis.catalog.words import SECTIONS
from cloud.lis.turnaround import board, causes, reading, shifts, targets, wording
from cloud.lis.turnaround.model import CAUSE_NAMES
from cloud.lis.turnaround.points import POINT_NAMES, SPANS, STARTS, Point, Span, span_of
from cloud.lis.turnaround.reading import Wanted
from cloud.people.access import Subject
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/turnaround"
SHOWN = 200
router = APIRouter(prefix=PAGE)

Reader = Annotated[CurrentStaff, Depends(require("turnaround.read"))]
Finder = Annotated[CurrentStaff, Depends(require(causes.NAME_CAUSE))]
Setter = Annotated[CurrentStaff, Depends(require(targets.SET))]

navigation.add(N_("周转时间"), PAGE, permission="turnaround.read", group=N_("检验"), position=345, key="g t")
worklist.add(
    N_("周转时间预警"),
    N_("已超时或预计超时的标本"),
    PAGE,
    permission="turnaround.read",
    position=297,
    count=board.warned_count,
    topic=targets.TOPIC,
    urgent=True,
)


# ---------------------------------------------------------------------- work in hand


@router.get("")
def live_page(request: Request, session: Transaction, staff: Reader, section: str = "", priority: str = "") -> Response:
    return render(request, "lis/turnaround/board.html", _board(session, staff, section, priority))


@router.get("/part")
def live_part(request: Request, session: Transaction, staff: Reader, section: str = "", priority: str = "") -> Response:
    """The part of the board that changes by itself."""
    return render(request, "lis/turnaround/board_part.html", _board(session, staff, section, priority))


def _board(session: Transaction, staff: CurrentStaff, section: str, priority: str) -> dict[str, Any]:
    rows = [
        each
        for each in board.board(session)
        if (not section or section in each.times.sections) and (not priority or each.times.priority == priority)
    ]
    shown = rows[:SHOWN]
    named = board.named(session, Subject.staff(staff), shown)
    return {
        "rows": [each for each in shown if each.times.specimen_id in named],
        "named": named,
        "counts": wording.counts(rows),
        "beyond": len(rows) - len(shown),
        "section": section if section in SECTIONS else "",
        "priority": priority,
        "sections": SECTIONS,
        "w": wording,
        "now": clock.now(),
    }


# ---------------------------------------------------------------------- statistics


@router.get("/statistics")
def statistics_page(request: Request, session: Transaction, staff: Reader) -> Response:
    asked = request.query_params
    wanted, problem = _wanted(session, asked)
    whole = reading.overall(session, wanted)
    reach = max(5.0, (whole.summary.p90 if whole.summary else 0.0) * 1.5)
    group = asked.get("group", "section")
    context = {
        "wanted": wanted,
        "problem": problem,
        "whole": whole,
        "bars": wording.drawn(reading.bars(session, wanted, reach)),
        "spans": reading.by_span(session, wanted),
        "group": group if group in wording.GROUPS else "section",
        "groups": wording.GROUPS,
        "parts": reading.by_group(session, wanted, group) if wanted.hours is None else [],
        "odd": reading.odd_ones(session, wanted, 50),
        "from_day": clock.local(wanted.since).date(),
        "to_day": clock.local(wanted.until - timedelta(days=1)).date(),
        "points": POINT_NAMES,
        "span_options": [(each.key, _(each.name)) for each in SPANS],
        "departments": hospital.departments(session),
        "sections": SECTIONS,
        "asked": asked,
        "w": wording,
        "working": shifts.hours(session),
        "address": request.url.query,
    }
    return render(request, "lis/turnaround/statistics.html", context)


@router.get("/statistics.csv")
def statistics_csv(request: Request, session: Transaction, staff: Reader) -> Response:
    """The same figures as a table for a spreadsheet."""
    wanted, _problem = _wanted(session, request.query_params)
    group = request.query_params.get("group", "section")
    text = wording.as_csv(reading.by_span(session, wanted), reading.by_group(session, wanted, group), group)
    headers = {"Content-Disposition": 'attachment; filename="turnaround.csv"', "Cache-Control": "no-store"}
    return Response(text.encode("utf-8-sig"), media_type="text/csv; charset=utf-8", headers=headers)


def _wanted(session: Transaction, asked: Any) -> tuple[Wanted, str]:
    """What an address asks for; what it cannot mean falls back to the last thirty days, with a word about it."""
    today = clock.today()
    first = clock.typed_day(asked.get("from")) or today - timedelta(days=29)
    last = clock.typed_day(asked.get("to")) or today
    problem = ""
    if first > last or (last - first).days >= reading.LONGEST_DAYS:
        first, last, problem = (
            today - timedelta(days=29),
            today,
            _("日期范围应从早到晚，且不超过一年；已改为最近 30 天。"),
        )
    department = hospital.department_by_code(session, asked["department"]) if asked.get("department") else None
    test = catalog.test_by_code(session, asked["test"].strip()) if asked.get("test", "").strip() else None
    if asked.get("test", "").strip() and test is None:
        problem = _("没有代码为“{code}”的项目，未按项目筛选。").format(code=asked["test"].strip()[:32])
    section = asked.get("section", "")
    return (
        Wanted(
            clock.day_begins(first),
            clock.day_begins(last + timedelta(days=1)),
            _span(asked),
            asked.get("priority", "")[:1],
            section if section in SECTIONS else "",
            department.id if department else None,
            test.id if test else None,
            shifts.hours(session) if asked.get("time") == "working" else None,
        ),
        problem,
    )


def _span(asked: Any) -> Span:
    return span_of(asked.get("span", ""))


# ---------------------------------------------------------------------- late ones


@router.get("/late")
def late_page(request: Request, session: Transaction, staff: Reader, day: str = "", days: int = 1) -> Response:
    return _late(request, session, day, days)


def _late(
    request: Request, session: Transaction, day: str, days: int, problem: str = "", status: int = 200
) -> Response:
    last = clock.typed_day(day) or clock.today()
    span = min(max(days, 1), 31)
    rows = causes.late_ones(
        session, clock.day_begins(last - timedelta(days=span - 1)), clock.day_begins(last + timedelta(days=1))
    )
    context = {
        "rows": rows,
        "counted": causes.counted(rows),
        "day": last,
        "days": span,
        "causes": CAUSE_NAMES,
        "points": POINT_NAMES,
        "sections": SECTIONS,
        "problem": problem,
        "w": wording,
    }
    return render(request, "lis/turnaround/late.html", context, status)


@router.post("/late/{specimen_id}/cause")
def name_cause(
    request: Request,
    session: Transaction,
    staff: Finder,
    specimen_id: uuid.UUID,
    cause: Annotated[str, Form()] = "",
    note: Annotated[str, Form(max_length=400)] = "",
    day: Annotated[str, Form()] = "",
    days: Annotated[int, Form()] = 1,
) -> Response:
    try:
        with session.begin_nested():
            causes.name_cause(session, specimen_id, cause=cause, note=note, by=staff)
    except XinglinError as refusal:
        return _late(request, session, day, days, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/late?day={clock.typed_day(day) or clock.today()}&days={days}", status_code=303)


# ---------------------------------------------------------------------- targets


@router.get("/targets")
def targets_page(request: Request, session: Transaction, staff: Reader) -> Response:
    return _targets(request, session)


def _targets(request: Request, session: Transaction, problem: str = "", status: int = 200) -> Response:
    rows = targets.history(session)
    current = {each.id for each in targets.in_force(session)}
    context = {
        "rows": rows,
        "current": current,
        "tests": catalog.tests_by_id(session, [each.test_id for each in rows if each.test_id]),
        "departments": hospital.departments(session),
        "department_names": {each.id: each.name for each in hospital.departments(session)},
        "starts": [(str(each), _(POINT_NAMES[each])) for each in STARTS],
        "points": {str(key): name for key, name in POINT_NAMES.items()},
        "sections": SECTIONS,
        "working": shifts.hours(session),
        "problem": problem,
        "w": wording,
    }
    return render(request, "lis/turnaround/targets.html", context, status)


@router.post("/targets")
def set_target(
    request: Request,
    session: Transaction,
    staff: Setter,
    priority: Annotated[str, Form()] = "",
    section: Annotated[str, Form()] = "",
    test: Annotated[str, Form()] = "",
    department: Annotated[str, Form()] = "",
    start: Annotated[str, Form()] = Point.RECEIVED,
    minutes: Annotated[str, Form()] = "",
    source: Annotated[str, Form(max_length=400)] = "",
) -> Response:
    try:
        with session.begin_nested():
            scope = targets.Scope(
                priority,
                wording.test_id(session, test),
                section,
                wording.department_id(session, department),
            )
            targets.set_target(session, scope, start=start, minutes=wording.minutes(minutes), source=source, by=staff)
    except XinglinError as refusal:
        return _targets(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/targets", status_code=303)


@router.post("/hours")
def set_hours(
    request: Request,
    session: Transaction,
    staff: Setter,
    opens: Annotated[time, Form()],
    closes: Annotated[time, Form()],
    days: Annotated[list[int] | None, Form()] = None,
    closed: Annotated[str, Form(max_length=4000)] = "",
    reason: Annotated[str, Form(max_length=400)] = "",
) -> Response:
    try:
        with session.begin_nested():
            shifts.set_hours(
                session, opens=opens, closes=closes, days=days or [], closed=closed, reason=reason, by=staff
            )
    except XinglinError as refusal:
        return _targets(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/targets", status_code=303)
