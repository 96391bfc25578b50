"""``/p`` and ``/p/today``: what waits for the patient, the newest reports, where to go. Reads only."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.patient.home import day
from cloud.patient.identity import account
from cloud.patient.identity.access import Patient
from cloud.web.pages import render

NEWEST = 3

router = APIRouter(include_in_schema=False)


@router.get("/p")
def home(request: Request, patient: Patient, session: Transaction) -> Response:
    persons = account.persons(session, patient.account_id)
    found = day.newest(session, patient)
    entries = day.entries(session, patient, found, clock.today())
    context = {
        "me": next((each for each in persons if each.relation == "self"), None),
        "next": day.next_of(entries),
        "count": {kind: day.count_of(entries, kind, clock.today()) for kind in ("visit", "bill", "refund")},
        "reports": found.readable[:NEWEST],
        "waiting": len(found.waiting),
    }
    return render(request, "patient/home/home.html", context)


@router.get("/p/today")
def today(request: Request, patient: Patient, session: Transaction) -> Response:
    entries = day.entries(session, patient, day.newest(session, patient), clock.today())
    context = {
        "today": clock.today(),
        "days": day.by_days(entries, clock.today()),
        "next": day.next_of(entries),
        "bound": bool(account.persons(session, patient.account_id)),
    }
    return render(request, "patient/home/today.html", context)
