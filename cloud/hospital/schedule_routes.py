"""Staff pages of the schedule: the week, one session with all that can be done to it, a session added by hand."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital import history, release, schedules, service, timetable, typed, weeks, words
from cloud.hospital.booked import booked
from cloud.hospital.schedules import SessionWish
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound, XinglinError
from cloud.kit.ids import new_id
from cloud.kit.jobs import enqueue
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/hospital/schedule"
router = APIRouter(prefix=PAGE, include_in_schema=False)

Reader = Annotated[CurrentStaff, Depends(require("schedule.read"))]
Editor = Annotated[CurrentStaff, Depends(require("schedule.edit"))]
Stopper = Annotated[CurrentStaff, Depends(require("schedule.stop"))]
Text = Annotated[str, Form(max_length=200)]

navigation.add(N_("出诊安排"), PAGE, permission="schedule.read", group=N_("门诊"), position=510, key="g Y")


def _week_of(session: Session, week: str, department: str) -> dict[str, Any]:
    monday = weeks.monday_of(clock.typed_day(week) or clock.today())
    chosen = service.department_by_code(session, department) if department else None
    shown = weeks.department_week(session, chosen, monday) if chosen else weeks.hospital_week(session, monday)
    return {
        "week": shown,
        "monday": monday,
        "today": clock.today(),
        "now": clock.now(),
        "department": chosen,
        "departments": timetable.departments_for_booking(session),
        "before": monday - timedelta(days=7),
        "after": monday + timedelta(days=7),
        "w": words,
    }


@router.get("")
def week_page(
    request: Request, session: Transaction, staff: Reader, week: str = "", department: str = "", done: str = ""
) -> Response:
    return render(request, "hospital/week.html", {**_week_of(session, week, department), "done": done})


@router.get("/part")
def week_part(request: Request, session: Transaction, staff: Reader, week: str = "", department: str = "") -> Response:
    """The part of the week that changes by itself."""
    return render(request, "hospital/week_part.html", _week_of(session, week, department))


@router.post("/publish")
def publish_ahead(session: Transaction, staff: Editor, week: Text = "", department: Text = "") -> Response:
    """Publish from the timetable now instead of tonight."""
    enqueue(session, "hospital.publish_ahead", by=staff.actor)
    return RedirectResponse(f"{PAGE}?week={week}&department={department}&done=publishing", status_code=303)


# ---------------------------------------------------------------------- a session by hand


@router.get("/new")
def new_page(
    request: Request, session: Transaction, staff: Editor, department: str = "", day: str = "", doctor: str = ""
) -> Response:
    return _new(request, session, {"department": department, "day": day, "doctor": doctor})


def _new(request: Request, session: Session, form: dict[str, str], problem: str = "", status: int = 200) -> Response:
    usual = release.settings_of(session)
    chosen = service.department_by_code(session, form.get("department", ""))
    proposed = {
        "half": "morning", "kind": "general", "starts": "", "segment": "30",
        "ends": "", "capacity": "20", "fee": "", "place": "", "doctor": "", "day": "",
    }  # fmt: skip
    context = {
        "form": {**proposed, **{name: value for name, value in form.items() if value}},
        "department": chosen,
        "departments": timetable.departments_for_booking(session),
        "doctors": timetable.doctors_of(session, chosen.id) if chosen else [],
        "usual": usual,
        "problem": problem,
        "w": words,
    }
    return render(request, "hospital/session_new.html", context, status)


@router.post("/new")
def add_session(
    request: Request,
    session: Transaction,
    staff: Editor,
    department: Text = "",
    doctor: Text = "",
    day: Text = "",
    half: Text = "",
    starts: Text = "",
    ends: Text = "",
    kind: Text = "",
    fee: Text = "",
    capacity: Text = "",
    segment: Text = "",
    place: Text = "",
) -> Response:
    form = {
        "department": department, "doctor": doctor, "day": day, "half": half, "starts": starts, "ends": ends,
        "kind": kind, "fee": fee, "capacity": capacity, "segment": segment, "place": place,
    }  # fmt: skip
    try:
        with session.begin_nested():
            row = schedules.publish(session, _wish(session, form), by=staff.actor)
    except XinglinError as refusal:
        return _new(request, session, form, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/{row.id}", status_code=303)


def _wish(session: Session, form: dict[str, str]) -> SessionWish:
    chosen = service.department_by_code(session, form["department"])
    if chosen is None:
        raise NotFound("hospital.department", N_("没有这个科室。"))
    on, doctor_id = typed.day(form["day"], N_("日期")), typed.some_id(form["doctor"])
    starts, ends = typed.hours(session, form["half"], form["starts"], form["ends"])
    return SessionWish(
        code=f"M{new_id().hex}",
        department_id=chosen.id,
        doctor_id=doctor_id,
        day=on,
        half=form["half"],
        starts_at=release.at_hospital(on, starts),
        ends_at=release.at_hospital(on, ends),
        kind=form["kind"],
        fee_fen=typed.fee(session, form["fee"], doctor_id),
        capacity=typed.number(form["capacity"], N_("号数")),
        segment_minutes=typed.number(form["segment"], N_("时段（分钟）")),
        place=form["place"].strip(),
    )


# ---------------------------------------------------------------------- one session


@router.get("/{session_id}")
def session_page(request: Request, session: Transaction, staff: Reader, session_id: uuid.UUID) -> Response:
    return _one(request, session, session_id)


def _one(request: Request, session: Session, session_id: uuid.UUID, problem: str = "", status: int = 200) -> Response:
    row = timetable.session_by_id(session, session_id)
    if row is None:
        raise NotFound("hospital.session", N_("没有这个出诊。"))
    colleagues = timetable.doctors_of(session, row.department_id)
    context = {
        "row": row,
        "stand": booked(session, [row.id]).get(row.id),
        "colleagues": [each for each in colleagues if each.id not in (row.doctor_id, row.substitute_id)],
        "history": history.of(session, "clinic_session", row.id),
        "over": row.ends_at <= clock.now(),
        "released": row.release_at <= clock.now(),
        "monday": weeks.monday_of(row.day),
        "local": clock.local,
        "problem": problem,
        "w": words,
    }
    return render(request, "hospital/session.html", context, status)


@router.post("/{session_id}/change")
def change_session(
    request: Request,
    session: Transaction,
    staff: Editor,
    session_id: uuid.UUID,
    version: Annotated[int, Form()],
    starts: Text = "",
    ends: Text = "",
    fee: Text = "",
    capacity: Text = "",
    segment: Text = "",
    release_at: Text = "",
    place: Text = "",
    reason: Text = "",
) -> Response:
    def act() -> None:
        row = timetable.session_by_id(session, session_id)
        if row is None:
            raise NotFound("hospital.session", N_("没有这个出诊。"))
        schedules.change(
            session,
            session_id,
            by=staff.actor,
            reason=reason,
            version=version,
            starts_at=release.at_hospital(row.day, typed.of_day(starts, N_("出诊开始"))),
            ends_at=release.at_hospital(row.day, typed.of_day(ends, N_("出诊结束"))),
            fee_fen=typed.fen(fee, N_("挂号费（元）")),
            capacity=typed.number(capacity, N_("号数")),
            segment_minutes=typed.number(segment, N_("时段（分钟）")),
            release_at=_unless_same(row.release_at, release_at),
            place=place.strip(),
        )

    return _acted(request, session, session_id, act)


def _unless_same(before: Any, text: str) -> Any:
    """A form shows minutes; what it leaves as it was keeps its seconds."""
    typed_at = typed.moment(text, N_("放号时间"))
    return before if before.replace(second=0, microsecond=0) == typed_at else typed_at


@router.post("/{session_id}/stop")
def stop_session(
    request: Request,
    session: Transaction,
    staff: Stopper,
    session_id: uuid.UUID,
    version: Annotated[int, Form()],
    why: Text = "",
) -> Response:
    return _acted(
        request,
        session,
        session_id,
        lambda: schedules.stop(session, session_id, by=staff.actor, why=why, version=version),
    )


@router.post("/{session_id}/substitute")
def substitute(
    request: Request,
    session: Transaction,
    staff: Stopper,
    session_id: uuid.UUID,
    version: Annotated[int, Form()],
    doctor: Text = "",
    why: Text = "",
) -> Response:
    """`doctor` empty: the doctor comes after all."""
    return _acted(
        request,
        session,
        session_id,
        lambda: schedules.substitute(
            session, session_id, typed.some_id(doctor), by=staff.actor, why=why, version=version
        ),
    )


@router.post("/{session_id}/booking")
def booking(
    request: Request,
    session: Transaction,
    staff: Editor,
    session_id: uuid.UUID,
    version: Annotated[int, Form()],
    to: Text = "",
    why: Text = "",
) -> Response:
    """Close it for booking, or open it again."""
    verb = schedules.reopen if to == "open" else schedules.close
    return _acted(
        request, session, session_id, lambda: verb(session, session_id, by=staff.actor, why=why, version=version)
    )


def _acted(request: Request, session: Session, session_id: uuid.UUID, act: Any) -> Response:
    try:
        with session.begin_nested():
            act()
    except XinglinError as refusal:
        return _one(request, session, session_id, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/{session_id}", status_code=303)
