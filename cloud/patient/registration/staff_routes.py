"""Staff pages of registration: the day's bookings, people who may not book by phone, what the hospital has settled."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from datetime import date, time
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.hospital import timetable
from cloud.hospital.model import ClinicSession
from cloud.kit import clock
from cloud.kit.db import Transaction, among
from cloud.kit.errors import Invalid, NotFound, XinglinError
from cloud.kit.ids import new_id
from cloud.patient.registration import ending, limits, reading, scalping, service, settled, words
from cloud.patient.registration.model import Booking, BookingBlock
from cloud.patient.registration.rules import is_voucher
from cloud.people.access import Subject, display_name, visible_to
from cloud.people.match import by_card
from cloud.people.model import Person
from cloud.staff import scan
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/registration"
SHOWN = 300
router = APIRouter(prefix=PAGE, include_in_schema=False)

Reader = Annotated[CurrentStaff, Depends(require("booking.read"))]
Handler = Annotated[CurrentStaff, Depends(require("booking.handle"))]
Settler = Annotated[CurrentStaff, Depends(require("booking.settle"))]
Cashier = Annotated[CurrentStaff, Depends(require("money.collect"))]
Refunder = Annotated[CurrentStaff, Depends(require("money.refund"))]
Text = Annotated[str, Form(max_length=200)]

navigation.add(N_("挂号管理"), PAGE, permission="booking.read", group=N_("门诊"), position=515, key="g O")

LABELS = {
    "hold_s": N_("未支付保留（秒）"),
    "open_per_person": N_("每人未就诊的号"),
    "per_department_day": N_("每人每科每天"),
    "per_doctor_day": N_("每人每医生每天"),
    "per_day": N_("每人每天"),
    "per_month": N_("每人每月（含已退）"),
    "cancel_before_minutes": N_("手机退号截止（就诊前分钟）"),
    "changes_per_booking": N_("每个号可改约次数"),
    "return_min_minutes": N_("退号放出最短（分钟）"),
    "return_max_minutes": N_("退号放出最长（分钟）"),
    "offer_minutes": N_("候补确认时限（分钟）"),
    "waiting_per_session": N_("每次出诊候补人数"),
    "no_shows": N_("爽约次数达到"),
    "no_show_days": N_("统计天数"),
    "blocked_days": N_("限制天数"),
    "choose_hours": N_("停诊后选择时限（小时）"),
}


def _voucher(session: Session, code: str, staff: CurrentStaff) -> str | None:
    """A voucher scanned anywhere leads to its booking."""
    if not is_voucher(code) or "booking.read" not in staff.permissions:
        return None
    found = session.scalar(select(Booking.id).where(Booking.number == code))
    return f"{PAGE}/{found}" if found is not None else None


scan.add("bookings", 90, _voucher)


@router.get("")
def bookings(
    request: Request, session: Transaction, staff: Reader, day: str = "", department: str = "", state: str = ""
) -> Response:
    chosen = clock.typed_day(day) or clock.today()
    wanted: list[ColumnElement[bool]] = [Booking.day == chosen]
    if state in words.STATES:
        wanted.append(Booking.state == state)
    found = next((each for each in timetable.departments_for_booking(session) if each.code == department), None)
    if found is not None:
        wanted.append(Booking.department_id == found.id)
    context = {
        "rows": _rows(session, staff, wanted),
        "counts": _counts(session, chosen),
        "day": chosen,
        "department": found.code if found else "",
        "state": state,
        "departments": timetable.departments_for_booking(session),
        "words": words,
    }
    return render(request, "patient/registration/staff_bookings.html", context)


def _rows(
    session: Session, staff: CurrentStaff, wanted: list[ColumnElement[bool]]
) -> list[tuple[Booking, ClinicSession, str]]:
    rows = session.execute(
        select(Booking, ClinicSession, Person.name)
        .join(ClinicSession, ClinicSession.id == Booking.clinic_session_id)
        .join(Person, Person.id == Booking.person_id)
        .where(*wanted, Booking.person_id.in_(visible_to(Subject.staff(staff), "book")))
        .order_by(Booking.from_at, Booking.clinic_session_id, Booking.seq)
        .limit(SHOWN)
    ).unique()
    return [(row[0], row[1], row[2]) for row in rows]


def _counts(session: Session, day: date) -> dict[str, int]:
    rows = session.execute(select(Booking.state, func.count()).where(Booking.day == day).group_by(Booking.state))
    return {row[0]: row[1] for row in rows}


# ---------------------------------------------------------------------- blocks


@router.get("/blocks")
def blocks(request: Request, session: Transaction, staff: Reader) -> Response:
    return _blocks(request, session, staff)


def _blocks(request: Request, session: Session, staff: CurrentStaff, problem: str = "", status: int = 200) -> Response:
    rows = session.execute(
        select(BookingBlock, Person.name)
        .join(Person, Person.id == BookingBlock.person_id)
        .where(BookingBlock.person_id.in_(visible_to(Subject.staff(staff), "book")))
        .order_by(BookingBlock.appeal_state != "open", BookingBlock.created_at.desc())
        .limit(SHOWN)
    ).all()
    context = {
        "rows": [(row[0], display_name(row[1])) for row in rows],
        "now": clock.now(),
        "problem": problem,
    }
    return render(request, "patient/registration/staff_blocks.html", context, status)


@router.post("/blocks")
def block(
    request: Request,
    session: Transaction,
    staff: Handler,
    card: Text,
    days: Annotated[int, Form(ge=1, le=730)],
    note: Text,
) -> Response:
    holder = by_card(session, card)
    if holder is None:
        return _blocks(request, session, staff, message_of(_no_card()), 404)
    limits.block(session, holder.id, days=days, note=note, by=staff.actor)
    return RedirectResponse(f"{PAGE}/blocks", status_code=303)


def _no_card() -> NotFound:
    return NotFound("card_unknown", N_("没有找到这张就诊卡，或者号码对应多份档案，请先核对档案。"))


@router.post("/blocks/{block_id}/lift")
def lift(session: Transaction, staff: Handler, block_id: uuid.UUID, why: Text) -> Response:
    limits.lift(session, block_id, why=why, by=staff.actor)
    return RedirectResponse(f"{PAGE}/blocks", status_code=303)


@router.post("/blocks/{block_id}/refuse")
def refuse(session: Transaction, staff: Handler, block_id: uuid.UUID, why: Text) -> Response:
    limits.refuse_appeal(session, block_id, why=why, by=staff.actor)
    return RedirectResponse(f"{PAGE}/blocks", status_code=303)


# ---------------------------------------------------------------------- what looks like a scalper

WATCHED = {
    "days": N_("最近天数"),
    "persons": N_("就诊人数达到"),
    "pairs": N_("转挂次数达到"),
    "pair_seconds": N_("退号后多少秒内算转挂"),
    "burst": N_("连续挂号达到"),
    "burst_seconds": N_("多少秒内算连续"),
}


@router.get("/watch")
def watch(
    request: Request,
    session: Transaction,
    staff: Handler,
    days: Annotated[int, Query(ge=1, le=365)] = 30,
    persons: Annotated[int, Query(ge=1, le=1000)] = 5,
    pairs: Annotated[int, Query(ge=1, le=1000)] = 2,
    pair_seconds: Annotated[int, Query(ge=1, le=86400)] = 60,
    burst: Annotated[int, Query(ge=2, le=1000)] = 4,
    burst_seconds: Annotated[int, Query(ge=1, le=86400)] = 60,
) -> Response:
    """Accounts that pass a threshold, with the persons they book for."""
    known = scalping.Thresholds(days, persons, pair_seconds, pairs, burst, burst_seconds)
    found = scalping.recent(session, days)
    rows = scalping.alarms(found, known)[:SHOWN]
    shown = {each.account for each in rows}
    of = {each.account: {one.person for one in found if one.account == each.account} for each in rows}
    everybody = {each.person for each in found if each.account in shown}
    may = visible_to(Subject.staff(staff), "book")
    names = {
        row[0]: display_name(row[1])
        for row in session.execute(
            select(Person.id, Person.name).where(among(Person.id, list(everybody)), Person.id.in_(may))
        )
    }
    context = {
        "rows": [(each, sorted(names[one] for one in of[each.account] if one in names)[:8]) for each in rows],
        "known": asdict(known),
        "labels": WATCHED,
    }
    return render(request, "patient/registration/staff_watch.html", context)


# ---------------------------------------------------------------------- settings


@router.get("/settings")
def settings_page(request: Request, session: Transaction, staff: Reader) -> Response:
    return _settings(request, session)


def _settings(request: Request, session: Session, problem: str = "", status: int = 200) -> Response:
    context = {"known": settled.of(session), "fields": settled.FIELDS, "labels": LABELS, "problem": problem}
    return render(request, "patient/registration/staff_settings.html", context, status)


@router.post("/settings")
def save(
    request: Request,
    session: Transaction,
    staff: Settler,
    name: Annotated[list[str], Form(max_length=40)],
    value: Annotated[list[str], Form(max_length=40)],
    remind_at: Annotated[str, Form(max_length=8)],
    marks_no_shows: Annotated[bool, Form()] = False,
) -> Response:
    """The fields of `settled.FIELDS` come as pairs of name and value."""
    wanted: dict[str, int | bool | time] = {"marks_no_shows": marks_no_shows}
    try:
        for each, typed in zip(name, value, strict=True):
            if each not in settled.FIELDS:
                raise ValueError(each)
            wanted[each] = int(typed)
        wanted["remind_at"] = time.fromisoformat(remind_at)
    except ValueError:
        return _settings(request, session, message_of(_not_a_number()), 422)
    try:
        settled.change(session, wanted, by=staff.actor, names=LABELS)
    except XinglinError as refusal:
        return _settings(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/settings", status_code=303)


def _not_a_number() -> Invalid:
    return Invalid("registration.not_a_number", N_("请填写整数和时间。"))


@router.get("/new")
def new_page(request: Request, session: Transaction, staff: Handler, department: str = "") -> Response:
    return _new(request, session, department)


def _new(request: Request, session: Session, department: str, problem: str = "", status: int = 200) -> Response:
    found = next((each for each in timetable.departments_for_booking(session) if each.code == department), None)
    context = {
        "departments": timetable.departments_for_booking(session),
        "department": found.code if found else "",
        "found": reading.upcoming(session, department_id=found.id) if found else [],
        "problem": problem,
        "key": str(new_id()),
        "words": words,
    }
    return render(request, "patient/registration/staff_new.html", context, status)


@router.post("/new")
def book(
    request: Request,
    session: Transaction,
    staff: Handler,
    card: Text,
    clinic: Annotated[uuid.UUID, Form()],
    key: Annotated[str, Form(max_length=40)],
    department: Text = "",
) -> Response:
    """At the window, by the patient's card; limits on phones do not hold here."""
    holder = by_card(session, card)
    if holder is None:
        return _new(request, session, department, message_of(_no_card()), 404)
    wish = service.HoldWish(
        clinic_session_id=clinic,
        person_id=holder.id,
        account_id=None,
        by=staff.actor,
        key=f"{staff.actor}:{key}",
    )
    made = service.hold(session, wish)
    return RedirectResponse(f"{PAGE}/{made.id}", status_code=303)


# ---------------------------------------------------------------------- one booking


@router.get("/{booking_id}")
def booking_page(request: Request, session: Transaction, staff: Reader, booking_id: uuid.UUID) -> Response:
    return _booking(request, session, staff, booking_id)


def _booking(
    request: Request,
    session: Session,
    staff: CurrentStaff,
    booking_id: uuid.UUID,
    problem: str = "",
    status: int = 200,
) -> Response:
    rows = _rows(session, staff, [Booking.id == booking_id])
    if not rows:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    booking, clinic, patient = rows[0]
    context = {
        "booking": booking,
        "clinic": clinic,
        "patient": patient,
        "words": words,
        "problem": problem,
        "today": clock.today(),
        "now": clock.now(),
        "in_cash": ending.paid_in_cash(session, booking),
    }
    return render(request, "patient/registration/staff_booking.html", context, status)


@router.post("/{booking_id}/arrive")
def arrive(request: Request, session: Transaction, staff: Handler, booking_id: uuid.UUID) -> Response:
    service.arrived(session, booking_id, by=staff.actor)
    return RedirectResponse(f"{PAGE}/{booking_id}", status_code=303)


@router.post("/{booking_id}/no-show")
def no_show(session: Transaction, staff: Handler, booking_id: uuid.UUID) -> Response:
    service.no_show(session, booking_id, by=staff.actor)
    return RedirectResponse(f"{PAGE}/{booking_id}", status_code=303)


@router.post("/{booking_id}/cancel")
def cancel(session: Transaction, staff: Handler, booking_id: uuid.UUID, reason: Text) -> Response:
    """The way it was paid; what was paid in cash waits for its owner."""
    service.cancel(session, booking_id, staff.actor, reason)
    return RedirectResponse(f"{PAGE}/{booking_id}", status_code=303)


# ---------------------------------------------------------------------- cash, and booking at the window


@router.post("/{booking_id}/cash")
def take_cash(session: Transaction, staff: Cashier, booking_id: uuid.UUID) -> Response:
    service.pay_cash(session, booking_id, by=staff.actor)
    return RedirectResponse(f"{PAGE}/{booking_id}", status_code=303)


@router.post("/{booking_id}/cancel-cash")
def cancel_for_cash(session: Transaction, staff: Refunder, booking_id: uuid.UUID, reason: Text) -> Response:
    """Cancelled, and the money handed out of this cashier's drawer; or cash that waited is fetched."""
    found = session.get(Booking, booking_id)
    if found is not None and found.state == "cancelling":
        service.pay_out(session, booking_id, by=staff.actor, reason=reason)
    else:
        service.cancel(session, booking_id, staff.actor, reason, route="cash")
    return RedirectResponse(f"{PAGE}/{booking_id}", status_code=303)
