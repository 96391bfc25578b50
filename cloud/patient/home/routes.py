"""``/p``: who is bound, the newest reports, where to go. Reads only."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit.db import Transaction
from cloud.patient.identity import account
from cloud.patient.identity.access import Patient
from cloud.patient.reports import service as reports
from cloud.web.pages import render

NEWEST = 3

router = APIRouter(include_in_schema=False)


@router.get("/p")
def home(request: Request, patient: Patient, session: Transaction) -> Response:
    persons = account.persons(session, patient.account_id)
    context = {
        "me": next((each for each in persons if each.relation == "self"), None),
        "reports": reports.readable(session, patient.subject)[:NEWEST],
        "waiting": len(reports.waiting(session, patient.subject)),
    }
    return render(request, "patient/home/home.html", context)
