"""Booking on the phone: departments, doctors, times, the number, its voucher. Works without any script."""

from __future__ import annotations

import uuid
from datetime import timedelta
from itertools import groupby
from typing import Annotated

from barcode import Code128
from fastapi import Form, Query
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.ids import new_id
from cloud.patient.identity import account, looked
from cloud.patient.identity.access import CurrentPatient, Patient
from cloud.patient.identity.account import log_access
from cloud.patient.paying import purposes
from cloud.patient.paying.payer import payer_of
from cloud.patient.paying.purposes import Purpose
from cloud.patient.registration import (
    asked,
    limits,
    moving,
    moving_routes,
    numbers,
    reading,
    service,
    settled,
    staff_routes,
    taking,
    waiting,
    words,
)
from cloud.patient.registration.asked import MINE, an_id, my_booking, router
from cloud.patient.registration.model import AtHis, Booking
from cloud.patient.registration.rules import may_cancel_by_phone
from cloud.people import access
from cloud.web import rate
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

BOOK = "/p/book"
TRIES = (30, timedelta(minutes=10))
"""Holds that one account may ask for; a person books far fewer."""

router.include_router(staff_routes.router)
assert moving_routes  # its pages stand in the same router


def _path_of(_session: Session, subject_id: uuid.UUID) -> str:
    return f"{MINE}/{subject_id}"


def _about(session: Session, subject_id: uuid.UUID) -> str:
    booking = session.get(Booking, subject_id)
    return "" if booking is None else f"{clock.local(booking.from_at):%Y-%m-%d %H:%M}"


purposes.register(Purpose(service.PURPOSE, N_("挂号费"), _path_of, _about))
looked.things("booking", lambda persons: select(Booking.id).where(Booking.person_id.in_(persons)))


# ---------------------------------------------------------------------- choosing


@router.get(BOOK)
def departments(
    request: Request, patient: Patient, session: Transaction, q: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    found = reading.departments(session, q)
    context = {
        "sections": found,
        "doctors": reading.doctors(session, q),
        "q": q,
        "words": words,
        "block": reading.blocks(session, patient.subject),
    }
    return render(request, "patient/registration/departments.html", context)


@router.get(f"{BOOK}/left")
def left(patient: Patient, session: Transaction, s: Annotated[list[str], Query(max_length=80)] = []) -> Response:  # noqa: B006
    """What is left of each session on the page, asked again while it is open."""
    ids = [an_id(each) for each in s]
    found = numbers.left(session, ids)
    return JSONResponse({str(each): found.get(each, 0) for each in ids}, headers={"Cache-Control": "no-store"})


@router.get(f"{BOOK}/departments/{{department_id}}")
def department(request: Request, patient: Patient, session: Transaction, department_id: str, day: str = "") -> Response:
    place = reading.department(session, an_id(department_id))
    found = reading.upcoming(session, department_id=place.id)
    days = sorted({each.clinic.day for each in found})
    wanted = clock.typed_day(day)
    chosen = (
        wanted
        if wanted in days
        else next((each.clinic.day for each in found if each.left and each.released), days[0] if days else None)
    )
    context = {
        "place": place,
        "days": [(each, sum(one.left for one in found if one.clinic.day == each and one.released)) for each in days],
        "chosen": chosen,
        "sittings": reading.by_doctor(found, chosen) if chosen else [],
        "words": words,
    }
    return render(request, "patient/registration/department.html", context)


@router.get(f"{BOOK}/doctors/{{doctor_id}}")
def doctor(request: Request, patient: Patient, session: Transaction, doctor_id: str) -> Response:
    who = reading.doctor(session, an_id(doctor_id))
    context = {"who": who, "found": reading.upcoming(session, doctor_id=who.id), "words": words}
    return render(request, "patient/registration/doctor.html", context)


@router.get(f"{BOOK}/sessions/{{clinic_id}}")
def times(request: Request, patient: Patient, session: Transaction, clinic_id: str) -> Response:
    clinic = reading.clinic(session, an_id(clinic_id))
    segments = numbers.segments(session, clinic.id)
    taking.look_at_his(session, clinic)
    context = {
        "clinic": clinic,
        "segments": segments,
        "left": sum(each[2] for each in segments),
        "open": clinic.bookable_at(clock.now()),
        "released": clinic.release_at <= clock.now(),
        "persons": _bookable_persons(session, patient),
        "key": str(new_id()),
        "words": words,
        "known": settled.of(session),
    }
    return render(request, "patient/registration/times.html", context)


def _bookable_persons(session: Session, patient: CurrentPatient) -> list[account.BoundPerson]:
    may = set(session.scalars(access.visible_to(patient.subject, "book")))
    return [each for each in account.persons(session, patient.account_id) if each.person_id in may]


@router.post(f"{BOOK}/sessions/{{clinic_id}}")
def hold(
    patient: Patient,
    session: Transaction,
    clinic_id: str,
    person: Annotated[str, Form(max_length=40)],
    key: Annotated[str, Form(max_length=40)],
    segment: Annotated[str, Form(max_length=40)] = "",
    takes_another: Annotated[bool, Form()] = False,
) -> Response:
    """Take a number and go to its page. The same submit again leads to the same booking."""
    at_most, within = TRIES
    with begin() as apart:
        rate.count(apart, act="patient.book", subject=str(patient.account_id), at_most=at_most, within=within)
    who = access.person_for(session, patient.subject, an_id(person), "book")
    wish = service.HoldWish(
        clinic_session_id=an_id(clinic_id),
        person_id=who.id,
        account_id=patient.account_id,
        by=patient.subject.actor,
        key=f"{patient.account_id}:{an_id(key)}",
        from_at=asked.segment(segment),
        takes_another=takes_another,
    )
    booking = service.hold(session, wish)
    log_access(session, patient.account_id, act="booking.hold", target=booking.id, person_id=who.id, allowed=True)
    return RedirectResponse(f"{MINE}/{booking.id}", status_code=303)


# ---------------------------------------------------------------------- my bookings


@router.get(MINE)
def my_bookings(request: Request, patient: Patient, session: Transaction) -> Response:
    found = reading.mine(session, patient.subject)
    open_states = ("held", "paying", "confirming", "confirmed", "cancelling", "stopped")
    context = {
        "open": sorted(
            (each for each in found if each.booking.state in open_states and each.booking.day >= clock.today()),
            key=lambda each: each.booking.from_at,
        ),
        "over": [each for each in found if each.booking.state not in open_states or each.booking.day < clock.today()],
        "waits": reading.waits(session, patient.subject),
        "blocks": reading.blocks(session, patient.subject),
        "words": words,
    }
    return render(request, "patient/registration/mine.html", context)


@router.get(f"{MINE}/{{booking_id}}")
def booking_page(request: Request, patient: Patient, session: Transaction, booking_id: str) -> Response:
    line = my_booking(session, patient, booking_id, "booking.open")
    booking = line.booking
    now = clock.now()
    refused = may_cancel_by_phone(
        now,
        booking.from_at,
        settled.of(session).cancel_before_minutes,
        free_to_cancel=booking.free_to_cancel,
        invoiced=booking.invoiced_at is not None,
    )
    under_way = moving.pending(session, booking.id)
    moves = booking.state in ("paying", "confirming", "cancelling", "moving") or booking.at_his == AtHis.LOCK
    context = {
        "line": line,
        "booking": booking,
        "clinic": line.clinic,
        "words": words,
        "refused": refused,
        "locking": booking.at_his == AtHis.LOCK and booking.state == "held",
        "moves": moves,
        "moving_to": under_way,
        "may_change": refused is None and booking.changes < settled.of(session).changes_per_booking,
        "seconds": max(0, int((booking.hold_until - now).total_seconds())),
        "own_payment": taking.payment_of(session, booking, patient.account_id),
        "others": taking.others(session, line) if booking.state == "stopped" else [],
        "key": str(new_id()),
    }
    return render(request, "patient/registration/booking.html", context)


@router.get(f"{MINE}/{{booking_id}}/barcode.svg")
def barcode(patient: Patient, session: Transaction, booking_id: str) -> Response:
    """Code 128 of the voucher's number (ISO/IEC 15417), with the quiet zone of ten modules on both sides."""
    line = reading.one(session, patient.subject, an_id(booking_id))
    bits = str(Code128(line.booking.number).build()[0])
    at, parts = 10, []
    for bit, run in groupby(bits):
        width = len(list(run))
        if bit == "1":
            parts.append(f"M{at} 0h{width}v60h-{width}z")
        at += width
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {at + 10} 60" preserveAspectRatio="none">'
        f'<rect width="100%" height="100%" fill="#fff"/><path d="{"".join(parts)}"/></svg>'
    )
    return Response(picture, media_type="image/svg+xml", headers={"Cache-Control": "private, max-age=3600"})


@router.post(f"{MINE}/{{booking_id}}/pay")
def pay(patient: Patient, session: Transaction, booking_id: str) -> Response:
    line = my_booking(session, patient, booking_id, "booking.pay")
    payer = payer_of(session, patient.account_id)
    tries = "" if line.booking.payment_id is None else f":{line.booking.payment_id}"
    key = f"booking:{line.booking.id}:{patient.account_id}{tries}:{new_id()}"
    payment = service.pay_for(session, line.booking.id, payer, key=key)
    return RedirectResponse(f"/p/pay/{payment.id}", status_code=303)


@router.get(f"{MINE}/{{booking_id}}/cancel")
def cancel_page(request: Request, patient: Patient, session: Transaction, booking_id: str) -> Response:
    line = my_booking(session, patient, booking_id, "booking.open")
    context = {"line": line, "booking": line.booking, "clinic": line.clinic, "words": words}
    return render(request, "patient/registration/cancel.html", context)


@router.post(f"{MINE}/{{booking_id}}/cancel")
def cancel(
    patient: Patient,
    session: Transaction,
    booking_id: str,
    reason: Annotated[int, Form(ge=0, lt=len(words.REASONS))] = 0,
) -> Response:
    line = my_booking(session, patient, booking_id, "booking.cancel")
    service.cancel(session, line.booking.id, patient.subject.actor, _(words.REASONS[reason]))
    return RedirectResponse(f"{MINE}/{line.booking.id}", status_code=303)


# ---------------------------------------------------------------------- waiting list and appeals


@router.post(f"{BOOK}/sessions/{{clinic_id}}/wait")
def wait(
    patient: Patient, session: Transaction, clinic_id: str, person: Annotated[str, Form(max_length=40)]
) -> Response:
    who = access.person_for(session, patient.subject, an_id(person), "book")
    limits.take_turn(session, who.id)
    clinic = service.bookable(session, an_id(clinic_id))
    limits.check(session, who.id, clinic, by_phone=True)
    entry = waiting.join(session, clinic, person_id=who.id, account_id=patient.account_id)
    return RedirectResponse(f"/p/waiting/{entry.id}", status_code=303)


@router.get("/p/waiting/{entry_id}")
def waiting_page(request: Request, patient: Patient, session: Transaction, entry_id: str) -> Response:
    found = reading.waits(session, patient.subject, entry_id=an_id(entry_id))
    if not found:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    entry = found[0].entry
    context = {
        "waits": found[0],
        "number": waiting.offered_number(session, entry) if entry.state == "offered" else None,
        "booking": taking.taken_by(session, entry),
        "key": str(new_id()),
        "words": words,
    }
    return render(request, "patient/registration/waiting.html", context)


@router.post("/p/waiting/{entry_id}/take")
def take(patient: Patient, session: Transaction, entry_id: str, key: Annotated[str, Form(max_length=40)]) -> Response:
    booking = taking.take_offer(
        session, an_id(entry_id), account_id=patient.account_id, key=f"{patient.account_id}:{an_id(key)}"
    )
    return RedirectResponse(f"{MINE}/{booking.id}", status_code=303)


@router.post("/p/waiting/{entry_id}/leave")
def leave(patient: Patient, session: Transaction, entry_id: str) -> Response:
    waiting.leave(session, an_id(entry_id), account_id=patient.account_id)
    return RedirectResponse(MINE, status_code=303)


@router.post("/p/booking-blocks/{block_id}/appeal")
def appeal(
    patient: Patient, session: Transaction, block_id: str, words_: Annotated[str, Form(alias="words", max_length=500)]
) -> Response:
    mine = {row.id for row, _name in reading.blocks(session, patient.subject)}
    if an_id(block_id) not in mine:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    try:
        limits.appeal(session, an_id(block_id), words=words_, by=patient.subject.actor)
    except Conflict:
        return RedirectResponse(MINE, status_code=303)  # sent twice: the page shows what it says
    return RedirectResponse(MINE, status_code=303)
