"""The report list, a report, and its PDF on the phone."""

from __future__ import annotations

import uuid

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from cloud.config import settings
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import NotFound
from cloud.lis.catalog.words import SPECIMENS
from cloud.lis.reports.model import Report
from cloud.lis.reports.view import ReportView
from cloud.patient.identity import account, looked
from cloud.patient.identity.access import CurrentPatient, Patient
from cloud.patient.identity.account import log_access
from cloud.patient.reports import service
from cloud.patient.reports.rules import indicators
from cloud.people.access import display_name
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

router = APIRouter(include_in_schema=False)
looked.things("report", lambda persons: select(Report.id).where(Report.person_id.in_(persons)))


@router.get("/p/reports")
def report_list(request: Request, patient: Patient, session: Transaction) -> Response:
    context = {
        "reports": service.readable(session, patient.subject),
        "waiting": service.waiting(session, patient.subject),
        "bound": bool(account.persons(session, patient.account_id)),
    }
    return render(request, "patient/reports/list.html", context)


@router.get("/p/reports/{report_id}")
def report_page(request: Request, patient: Patient, session: Transaction, report_id: str) -> Response:
    view = _opened(session, patient, report_id)
    _log(session, patient, view, "report.open")
    lines = indicators(view.items)
    context = {
        "report": view,
        "content": view.content,
        "patient_shown": display_name(view.content.patient_name),
        "indicators": lines,
        "specimen_types": SPECIMENS,
        "without_range": sum(each.explanation.tone == "plain" for each in lines),
        "outstanding": [each for each in lines if each.stands_out],
        "with_sentences": settings().environment != "production" or all(_approved(each) for each in lines),
    }
    return render(request, "patient/reports/report.html", context)


@router.get("/p/reports/{report_id}/pdf")
def report_pdf(patient: Patient, session: Transaction, report_id: str) -> Response:
    try:
        view, content = service.open_pdf(session, patient.subject, _id(report_id))
    except NotFound:
        _refused(patient, report_id, "report.pdf")
        raise
    _log(session, patient, view, "report.pdf")
    headers = {
        "Content-Disposition": f'inline; filename="report-{view.content.accession}.pdf"',
        "Cache-Control": "no-store",
    }
    return Response(content, media_type="application/pdf", headers=headers)


def _opened(session: Session, patient: CurrentPatient, report_id: str) -> ReportView:
    try:
        return service.open_report(session, patient.subject, _id(report_id))
    except NotFound:
        _refused(patient, report_id, "report.open")
        raise


def _id(text: str) -> uuid.UUID:
    """An address that is no id answers like one that is unknown."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。")) from None


def _refused(patient: CurrentPatient, target: str, act: str) -> None:
    """Logged in a unit of work of its own: the request's is rolled back by the refusal."""
    with begin() as session:
        log_access(session, patient.account_id, act=act, target=target, person_id=None, allowed=False)


def _log(session: Session, patient: CurrentPatient, view: ReportView, act: str) -> None:
    log_access(session, patient.account_id, act=act, target=view.report_id, person_id=view.person_id, allowed=True)


def _approved(each: object) -> bool:
    return getattr(getattr(each, "explanation", None), "state", "") == "approved"
