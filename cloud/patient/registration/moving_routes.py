"""Another time for a booking, another session for a stopped one, and the visit as a file for the phone's calendar."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.config import settings
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.ids import new_id
from cloud.patient.identity.access import Patient
from cloud.patient.registration import moving, numbers, taking, words
from cloud.patient.registration.asked import MINE, an_id, my_booking, router, segment
from cloud.patient.registration.calendar import Visit, calendar_file
from cloud.web.i18n import gettext as _
from cloud.web.pages import render

Id = Annotated[str, Form(max_length=40)]


@router.get(f"{MINE}/{{booking_id}}/change")
def change_page(
    request: Request,
    patient: Patient,
    session: Transaction,
    booking_id: str,
    clinic: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """The sessions it may move to; of the chosen one (`clinic`) its segments."""
    line = my_booking(session, patient, booking_id, "booking.open")
    offered = taking.to_change_to(session, line)
    chosen = next((each for each in offered if clinic and each.clinic.id == an_id(clinic)), None)
    if chosen is not None:
        taking.look_at_his(session, chosen.clinic)
    context = {
        "line": line,
        "booking": line.booking,
        "offered": offered,
        "chosen": chosen,
        "segments": numbers.segments(session, chosen.clinic.id) if chosen else [],
        "key": str(new_id()),
        "words": words,
    }
    return render(request, "patient/registration/change.html", context)


@router.post(f"{MINE}/{{booking_id}}/change")
def change(
    patient: Patient,
    session: Transaction,
    booking_id: str,
    clinic: Id,
    key: Id,
    at: Annotated[str, Form(alias="segment", max_length=40)] = "",
) -> Response:
    line = my_booking(session, patient, booking_id, "booking.change")
    made = moving.change(
        session,
        line.booking.id,
        an_id(clinic),
        from_at=segment(at),
        by=patient.subject.actor,
        key=f"{patient.account_id}:{an_id(key)}",
    )
    return RedirectResponse(f"{MINE}/{made.id}", status_code=303)


@router.post(f"{MINE}/{{booking_id}}/rebook")
def rebook(patient: Patient, session: Transaction, booking_id: str, clinic: Id, key: Id) -> Response:
    line = my_booking(session, patient, booking_id, "booking.rebook")
    made = moving.rebook(
        session,
        line.booking.id,
        an_id(clinic),
        by=patient.subject.actor,
        key=f"{patient.account_id}:{an_id(key)}",
    )
    return RedirectResponse(f"{MINE}/{made.id}", status_code=303)


@router.get(f"{MINE}/{{booking_id}}/visit.ics")
def visit(patient: Patient, session: Transaction, booking_id: str) -> Response:
    booking = my_booking(session, patient, booking_id, "booking.calendar").booking
    if booking.state != "confirmed":
        return RedirectResponse(f"{MINE}/{booking.id}", status_code=303)  # its page says how it stands
    known = settings()
    text = calendar_file(
        Visit(
            uid=f"{booking.id}@xinglin",
            made_at=clock.now(),
            from_at=booking.from_at,
            to_at=booking.to_at,
            summary=_("就诊：{hospital}").format(hospital=known.hospital_name),
            description=_("请按时段到诊区报到。凭证号 {number}").format(number=booking.number),
            link=f"{known.public_url.rstrip('/')}{MINE}/{booking.id}",
            changes=booking.changes,
        )
    )
    headers = {
        "Content-Disposition": f'attachment; filename="visit-{booking.number}.ics"',
        "Cache-Control": "private, no-store",
    }
    return Response(text, media_type="text/calendar; charset=utf-8", headers=headers)
