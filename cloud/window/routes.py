"""The cashier's window: find the patient, take cash, print, refund; all of it without a mouse."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import paying
from cloud.billing.refunding import WHY
from cloud.kit import money
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid, XinglinError
from cloud.kit.ids import new_id
from cloud.lis.orders.lookup import numbers_of
from cloud.patient.registration.words import STATES as BOOKING_STATES
from cloud.payments import drawers, wording
from cloud.people.access import Subject, mask_id, mask_phone, person
from cloud.people.identity import person_ids
from cloud.staff import scan
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of
from cloud.window import (
    bookings,
    charge_routes,
    desk,
    executing_routes,
    finding,
    making_routes,
    receipt_routes,
    service,
)
from cloud.window.wording import ITEM_STATES, KINDS, REFUND_STAGES, STANDINGS

PAGE = "/staff/window"
router = APIRouter(include_in_schema=False)
router.include_router(receipt_routes.router)
router.include_router(charge_routes.router)
router.include_router(executing_routes.router)
router.include_router(making_routes.router)

Cashier = Annotated[CurrentStaff, Depends(require("money.collect"))]
Refunder = Annotated[CurrentStaff, Depends(require("money.refund"))]
Reason = Annotated[str, Form(max_length=200)]

navigation.add(N_("窗口收费"), PAGE, permission="money.collect", group=N_("窗口"), position=605, key="g $")


@router.get(PAGE)
def search(request: Request, session: Transaction, staff: Cashier, q: str = "") -> Response:
    """Scan or type; one patient found opens at once."""
    found = finding.persons(session, Subject.staff(staff), q)
    if len(found) == 1:
        return RedirectResponse(f"{PAGE}/persons/{found[0].id}", status_code=303)
    context = {
        "q": q,
        "found": found,
        "numbers": numbers_of(session, [each.id for each in found]),
        "mask_phone": mask_phone,
        "shift": drawers.open_of(session, staff.actor),
    }
    return render(request, "window/search.html", context)


@router.get(PAGE + "/persons/{person_id}")
def patient(request: Request, session: Transaction, staff: Cashier, person_id: uuid.UUID) -> Response:
    return _desk(request, session, staff, person_id)


def _desk(
    request: Request,
    session: Transaction,
    staff: CurrentStaff,
    person_id: uuid.UUID,
    problem: str = "",
    tendered: str = "",
    chosen: list[uuid.UUID] | None = None,
    status: int = 200,
) -> Response:
    who = person(session, Subject.staff(staff), person_id)
    context = {
        "person": who,
        "number": numbers_of(session, [who.id]).get(who.id, ""),
        "id_shown": mask_id(who.id_number),
        "phone_shown": mask_phone(who.phone),
        "desk": desk.of(session, person_ids(session, who.id)),
        "bookings": bookings.of(session, person_ids(session, who.id)),
        "booking_states": BOOKING_STATES,
        "key": str(new_id()),
        "problem": problem,
        "tendered": tendered,
        "chosen": chosen,
        "words": wording,
        "kinds": KINDS,
        "standings": STANDINGS,
        "item_states": ITEM_STATES,
        "refund_stages": REFUND_STAGES,
        "why": WHY,
    }
    return render(request, "window/patient.html", context, status)


@router.post(PAGE + "/persons/{person_id}/take")
def take(
    request: Request,
    session: Transaction,
    staff: Cashier,
    person_id: uuid.UUID,
    key: Annotated[str, Form(max_length=64)],
    charge: Annotated[list[uuid.UUID] | None, Form()] = None,
    expected: Annotated[int, Form()] = 0,
    tendered: Annotated[str, Form(max_length=14)] = "",
) -> Response:
    chosen = charge or []
    who = person(session, Subject.staff(staff), person_id)
    try:
        with session.begin_nested():
            done = service.take(
                session,
                who,
                chosen,
                by=staff.actor,
                key=f"window:{staff.id}:{key}",
                expected_fen=expected,
                tendered_fen=_fen(tendered) if tendered.strip() else expected,
            )
    except XinglinError as refusal:
        return _desk(request, session, staff, who.id, message_of(refusal), tendered, chosen, refusal.status)
    return RedirectResponse(f"{receipt_routes.PAGE}/{done.receipt.id}", status_code=303)


def _fen(text: str) -> int:
    try:
        found = money.fen(text)
    except ValueError:
        found = -1
    if found < 0:
        raise Invalid("cash.amount", N_("金额应为数字，最多两位小数。"))
    return found


@router.post(PAGE + "/persons/{person_id}/take-over")
def take_over(
    request: Request,
    session: Transaction,
    staff: Cashier,
    person_id: uuid.UUID,
    charge: Annotated[uuid.UUID, Form()],
    reason: Reason = "",
) -> Response:
    """The phone's open payment gives this bill up: it is paid here."""
    try:
        with session.begin_nested():
            paying.take_over(session, [charge], by=staff.actor, reason=reason)
    except XinglinError as refusal:
        return _desk(request, session, staff, person_id, message_of(refusal), status=refusal.status)
    return RedirectResponse(f"{PAGE}/persons/{person_id}", status_code=303)


@router.post(PAGE + "/persons/{person_id}/refund")
def refund(
    request: Request,
    session: Transaction,
    staff: Refunder,
    person_id: uuid.UUID,
    charge: Annotated[uuid.UUID, Form()],
    item: Annotated[list[uuid.UUID] | None, Form()] = None,
    route: Annotated[str, Form(max_length=10)] = "channel",
    reason: Reason = "",
) -> Response:
    try:
        with session.begin_nested():
            service.refund(session, charge, item or [], by=staff.actor, reason=reason, route=route)
    except XinglinError as refusal:
        return _desk(request, session, staff, person_id, message_of(refusal), status=refusal.status)
    return RedirectResponse(f"{PAGE}/persons/{person_id}#{charge}", status_code=303)


@router.post(PAGE + "/persons/{person_id}/bookings/{booking_id}/take")
def take_fee(
    request: Request,
    session: Transaction,
    staff: Cashier,
    person_id: uuid.UUID,
    booking_id: uuid.UUID,
    key: Annotated[str, Form(max_length=64)],
    tendered: Annotated[str, Form(max_length=14)] = "",
) -> Response:
    who = person(session, Subject.staff(staff), person_id)
    bookings.belongs(session, booking_id, person_ids(session, who.id))
    try:
        with session.begin_nested():
            receipt = bookings.take_fee(
                session,
                booking_id,
                by=staff.actor,
                key=f"window:{staff.id}:{key}",
                tendered_fen=_fen(tendered) if tendered.strip() else None,
            )
    except XinglinError as refusal:
        return _desk(request, session, staff, who.id, message_of(refusal), status=refusal.status)
    return RedirectResponse(f"{receipt_routes.PAGE}/{receipt.id}", status_code=303)


@router.post(PAGE + "/persons/{person_id}/bookings/{booking_id}/cancel")
def cancel_booking(
    request: Request,
    session: Transaction,
    staff: Refunder,
    person_id: uuid.UUID,
    booking_id: uuid.UUID,
    route: Annotated[str, Form(max_length=10)] = "channel",
    reason: Reason = "",
) -> Response:
    who = person(session, Subject.staff(staff), person_id)
    bookings.belongs(session, booking_id, person_ids(session, who.id))
    try:
        if route not in ("channel", "cash"):
            raise Invalid("refund.route", N_("现金退费只能在窗口办理。"))
        with session.begin_nested():
            bookings.cancel(session, booking_id, by=staff.actor, reason=reason, route=route)
    except XinglinError as refusal:
        return _desk(request, session, staff, who.id, message_of(refusal), status=refusal.status)
    return RedirectResponse(f"{PAGE}/persons/{person_id}", status_code=303)


def _scanned(session: Transaction, code: str, staff: CurrentStaff) -> str | None:
    """A card, bill or receipt scanned anywhere opens its patient at the cashier's window."""
    if not staff.may("money.collect") or not any(each.isdigit() for each in code):
        return None
    found = finding.persons(session, Subject.staff(staff), code)
    return f"{PAGE}/persons/{found[0].id}" if len(found) == 1 else None


scan.add("window", 650, _scanned)
