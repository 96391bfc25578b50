"""Staff pages of what sessions are published from: the weekly timetable, holidays, release times and usual values."""

from __future__ import annotations

import uuid
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital import holidays, patterns, release, service, timetable, typed, words
from cloud.hospital.patterns import PatternWish
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound, XinglinError
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

ROOT = "/staff/hospital/schedule"
router = APIRouter(prefix=ROOT, include_in_schema=False)

Reader = Annotated[CurrentStaff, Depends(require("schedule.read"))]
Editor = Annotated[CurrentStaff, Depends(require("schedule.edit"))]
Text = Annotated[str, Form(max_length=200)]

TIMES = [f"{half}_{end}" for half in ("morning", "afternoon", "evening") for end in ("starts", "ends")]
FEES = ("fee_chief", "fee_associate", "fee_attending", "fee_resident", "fee_general")


# ---------------------------------------------------------------------- the weekly timetable


@router.get("/timetable")
def timetable_page(request: Request, session: Transaction, staff: Reader, department: str = "") -> Response:
    return _timetable(request, session, department, {})


def _timetable(
    request: Request, session: Session, department: str, form: dict[str, str], problem: str = "", status: int = 200
) -> Response:
    bookable = timetable.departments_for_booking(session)
    chosen = service.department_by_code(session, department) or (bookable[0] if bookable else None)
    today = clock.today()
    lines = patterns.patterns_on(session, today, date.max, department_id=chosen.id) if chosen else []
    proposed = {"valid_from": today.isoformat(), "weeks": "every", "kind": "general", "capacity": "20", "segment": "30"}
    context = {
        "department": chosen,
        "departments": bookable,
        "lines": lines,
        "by_weekday": {day: [each for each in lines if each.weekday == day] for day in range(1, 8)},
        "doctors": timetable.doctors_of(session, chosen.id) if chosen else [],
        "usual": release.settings_of(session),
        "form": {**dict.fromkeys(("doctor", "weekday", "half", "starts", "ends", "fee", "place", "valid_to"), ""),
                 **proposed, **form},
        "today": today,
        "problem": problem,
        "w": words,
    }  # fmt: skip
    return render(request, "hospital/timetable.html", context, status)


@router.post("/timetable")
def add_line(
    request: Request,
    session: Transaction,
    staff: Editor,
    department: Text = "",
    doctor: Text = "",
    weekday: Text = "",
    half: Text = "",
    starts: Text = "",
    ends: Text = "",
    kind: Text = "",
    fee: Text = "",
    capacity: Text = "",
    segment: Text = "",
    place: Text = "",
    weeks: Text = "every",
    valid_from: Text = "",
    valid_to: Text = "",
) -> Response:
    form = {
        "doctor": doctor, "weekday": weekday, "half": half, "starts": starts, "ends": ends, "kind": kind, "fee": fee,
        "capacity": capacity, "segment": segment, "place": place, "weeks": weeks, "valid_from": valid_from,
        "valid_to": valid_to,
    }  # fmt: skip
    try:
        with session.begin_nested():
            patterns.add_pattern(session, _line(session, department, form), by=staff.actor)
    except XinglinError as refusal:
        return _timetable(request, session, department, form, message_of(refusal), refusal.status)
    return RedirectResponse(f"{ROOT}/timetable?department={department}", status_code=303)


def _line(session: Session, department: str, form: dict[str, str]) -> PatternWish:
    chosen = service.department_by_code(session, department)
    if chosen is None:
        raise NotFound("hospital.department", N_("没有这个科室。"))
    doctor_id = typed.some_id(form["doctor"])
    starts, ends = typed.hours(session, form["half"], form["starts"], form["ends"])
    return PatternWish(
        department_id=chosen.id,
        doctor_id=doctor_id,
        weekday=typed.number(form["weekday"], N_("星期")),
        half=form["half"],
        starts=starts,
        ends=ends,
        kind=form["kind"],
        fee_fen=typed.fee(session, form["fee"], doctor_id),
        capacity=typed.number(form["capacity"], N_("号数")),
        segment_minutes=typed.number(form["segment"], N_("时段（分钟）")),
        place=form["place"].strip(),
        weeks=form["weeks"],
        valid_from=typed.day(form["valid_from"], N_("启用日期")),
        valid_to=typed.optional_day(form["valid_to"], N_("停用日期")),
    )


@router.post("/timetable/{pattern_id}/end")
def end_line(
    request: Request,
    session: Transaction,
    staff: Editor,
    pattern_id: uuid.UUID,
    department: Text = "",
    last_day: Text = "",
    reason: Text = "",
) -> Response:
    try:
        with session.begin_nested():
            last = typed.day(last_day, N_("停用日期"))
            patterns.end_pattern(session, pattern_id, last_day=last, by=staff.actor, reason=reason)
    except XinglinError as refusal:
        return _timetable(request, session, department, {}, message_of(refusal), refusal.status)
    return RedirectResponse(f"{ROOT}/timetable?department={department}", status_code=303)


# ---------------------------------------------------------------------- holidays


@router.get("/holidays")
def holidays_page(request: Request, session: Transaction, staff: Reader, year: int | None = None) -> Response:
    return _holidays(request, session, year)


def _holidays(request: Request, session: Session, year: int | None, problem: str = "", status: int = 200) -> Response:
    shown = year if year is not None and 2000 <= year <= 2100 else clock.today().year
    rows = holidays.holidays(session, date(shown, 1, 1), date(shown, 12, 31))
    context = {"year": shown, "rows": list(rows.values()), "problem": problem, "today": clock.today(), "w": words}
    return render(request, "hospital/holidays.html", context, status)


def _holiday_act(request: Request, session: Session, year: int, act: Any) -> Response:
    try:
        with session.begin_nested():
            act()
    except XinglinError as refusal:
        return _holidays(request, session, year, message_of(refusal), refusal.status)
    return RedirectResponse(f"{ROOT}/holidays?year={year}", status_code=303)


@router.post("/holidays/load")
def load_year(
    request: Request, session: Transaction, staff: Editor, year: Annotated[int, Form(ge=2000, le=2100)]
) -> Response:
    return _holiday_act(request, session, year, lambda: holidays.load_statutory(session, year, by=staff.actor))


@router.post("/holidays")
def set_holiday(
    request: Request, session: Transaction, staff: Editor, day: Text = "", name: Text = "", works_as: Text = ""
) -> Response:
    found = clock.typed_day(day)

    def act() -> None:
        on = typed.day(day, N_("日期"))
        as_weekday = typed.number(works_as, N_("当天")) if works_as else None
        holidays.set_day(session, on, name=name, works_as=as_weekday, by=staff.actor)

    return _holiday_act(request, session, found.year if found else clock.today().year, act)


@router.post("/holidays/{day}/remove")
def remove_holiday(request: Request, session: Transaction, staff: Editor, day: date) -> Response:
    return _holiday_act(request, session, day.year, lambda: holidays.remove_day(session, day, by=staff.actor))


# ---------------------------------------------------------------------- release times and usual values


@router.get("/release")
def release_page(request: Request, session: Transaction, staff: Reader) -> Response:
    return _release(request, session)


def _release(request: Request, session: Session, problem: str = "", status: int = 200) -> Response:
    own = release.departments_own(session)
    bookable = timetable.departments_for_booking(session)
    context = {
        "usual": release.settings_of(session),
        "own": [(each, own[each.id]) for each in service.departments(session) if each.id in own],
        "departments": bookable,
        "problem": problem,
        "w": words,
    }
    return render(request, "hospital/release.html", context, status)


async def _sent(request: Request) -> dict[str, str]:
    return {name: str(value) for name, value in (await request.form()).items()}


@router.post("/release")
def set_release(
    request: Request, session: Transaction, staff: Editor, form: Annotated[dict[str, str], Depends(_sent)]
) -> Response:
    try:
        with session.begin_nested():
            changes: dict[str, Any] = {
                "horizon_days": typed.number(form.get("horizon_days", ""), N_("提前生成（天）")),
                "release_days": typed.number(form.get("release_days", ""), N_("提前放号（天）")),
                "release_time": typed.of_day(form.get("release_time", ""), N_("放号时间")),
            }
            changes |= {name: typed.of_day(form.get(name, ""), N_("出诊时间")) for name in TIMES}
            changes |= {name: typed.fen(form.get(name, ""), N_("挂号费（元）")) for name in FEES}
            release.change_settings(session, by=staff.actor, **changes)
    except XinglinError as refusal:
        return _release(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(f"{ROOT}/release", status_code=303)


@router.post("/release/departments")
def set_department_release(
    request: Request, session: Transaction, staff: Editor, department: Text = "", days: Text = "", at: Text = ""
) -> Response:
    """`days` empty: the hospital's rule again."""
    try:
        with session.begin_nested():
            chosen = service.department_by_code(session, department)
            if chosen is None:
                raise NotFound("hospital.department", N_("没有这个科室。"))
            ahead = typed.number(days, N_("提前放号（天）")) if days.strip() else None
            of_day = typed.of_day(at, N_("放号时间")) if at.strip() else None
            release.set_department(session, chosen.id, days=ahead, of_day=of_day, by=staff.actor)
    except XinglinError as refusal:
        return _release(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(f"{ROOT}/release", status_code=303)
