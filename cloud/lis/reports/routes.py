"""Pages of reports: the review page, released reports with their versions, PDF, recall and disclosure."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import Conflict
from cloud.lis.reports import (
    amend_routes,
    comparing,
    form_routes,
    listing,
    review_acts,
    review_batch,
    review_routes,
    service,
    settings_routes,
)
from cloud.lis.reports.model import ReportState
from cloud.lis.results import queue
from cloud.lis.results.attempt import attempt
from cloud.people.access import Subject, person
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

router = APIRouter()
pages = APIRouter(prefix="/staff/lis/reports")

Reader = Annotated[CurrentStaff, Depends(require("report.read"))]
Amender = Annotated[CurrentStaff, Depends(require("report.amend"))]

navigation.add(N_("结果审核"), "/staff/lis/review", permission="result.read", group=N_("检验"), position=300, key="g r")
navigation.add(
    N_("检验报告"), "/staff/lis/reports", permission="report.read", group=N_("检验"), position=340, key="g p"
)
worklist.add(
    N_("待技术审核"),
    N_("有结果等待初审的标本"),
    "/staff/lis/review?stage=review",
    permission="result.review",
    position=300,
    count=queue.waiting_count,
    topic="results",
)
worklist.add(
    N_("待医学审核"),
    N_("已初审、等待发布的标本"),
    "/staff/lis/review?stage=release",
    permission="result.release",
    position=301,
    count=queue.medical_count,
    topic="results",
)


@pages.get("")
def reports_page(request: Request, session: Transaction, staff: Reader, q: str = "", day: str = "") -> Response:
    """Released reports of a day, or of a scanned barcode, a name or a medical record number."""
    found = listing.find(session, Subject.staff(staff), text=q, day=day)
    return render(request, "lis/reports/reports.html", {"found": found, "q": q, "day": listing.day_of(day).isoformat()})


@pages.get("/{report_id}")
def report_page(
    request: Request, session: Transaction, staff: Reader, report_id: uuid.UUID, version: int | None = None
) -> Response:
    """The version in force, or an older one by its number."""
    return _report_page(request, session, staff, report_id, version=version)


def _report_page(
    request: Request,
    session: Transaction,
    staff: CurrentStaff,
    report_id: uuid.UUID,
    problem: str = "",
    status: int = 200,
    version: int | None = None,
) -> Response:
    view = service.released(session, report_id, version)
    person(session, Subject.staff(staff), view.person_id)
    context = {
        "view": view,
        "versions": service.versions(session, report_id),
        "copies": service.copies(session, report_id),
        "disclosure": service.disclosable(session, report_id),
        "problem": problem,
    }
    return render(request, "lis/reports/report.html", context, status)


@pages.get("/{report_id}/compare")
def compare_page(
    request: Request, session: Transaction, staff: Reader, report_id: uuid.UUID, old: int = 0, new: int = 0
) -> Response:
    """Two versions side by side; the one in force and the one before it unless told otherwise."""
    view = service.released(session, report_id, new or None)
    person(session, Subject.staff(staff), view.person_id)
    before = service.released(session, report_id, old or max(view.version - 1, 1))
    context = {"after": view, "before": before, "lines": comparing.lines(before, view)}
    return render(request, "lis/reports/compare.html", context)


@pages.get("/{report_id}/pdf")
def report_pdf(
    session: Transaction, staff: Reader, report_id: uuid.UUID, version: int | None = None, bilingual: bool | None = None
) -> Response:
    """A copy, kept in the trail. An old version says so on its face; of a recalled report only by its number, for those
    who amend.
    """
    view = service.released(session, report_id, version)
    person(session, Subject.staff(staff), view.person_id)
    if view.state == ReportState.RECALLED and not (version and staff.may("report.amend")):
        raise Conflict("report.recalled", N_("这份报告已召回，不能打印。"))
    made = service.copy(session, report_id, by=staff, version=version, bilingual=bilingual)
    name = f"{view.content.accession}-{made.version}.pdf"
    headers = {"Content-Disposition": f'inline; filename="{name}"', "Cache-Control": "no-store"}
    return Response(made.data, media_type="application/pdf", headers=headers)


@pages.post("/{report_id}/recall")
def recall(
    request: Request,
    session: Transaction,
    staff: Amender,
    report_id: uuid.UUID,
    version: Annotated[int | None, Form()] = None,
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Of the version that the page showed; a newer one in the meantime is looked at first."""
    _, refusal = attempt(session, lambda: service.recall(session, report_id, by=staff, reason=reason, version=version))
    if refusal is not None:
        return _report_page(request, session, staff, report_id, message_of(refusal), refusal.status)
    return RedirectResponse(f"/staff/lis/reports/{report_id}", status_code=303)


@pages.post("/{report_id}/disclose")
def disclose(
    request: Request, session: Transaction, staff: Amender, report_id: uuid.UUID, note: Annotated[str, Form()] = ""
) -> Response:
    """A clinician told the patient: the sensitive report may be read."""
    _, refusal = attempt(session, lambda: service.disclose(session, report_id, by=staff, note=note))
    if refusal is not None:
        return _report_page(request, session, staff, report_id, message_of(refusal), refusal.status)
    return RedirectResponse(f"/staff/lis/reports/{report_id}", status_code=303)


router.include_router(pages)
router.include_router(amend_routes.router)
router.include_router(settings_routes.router)
router.include_router(form_routes.router)
router.include_router(review_batch.router)
router.include_router(review_routes.router)
router.include_router(review_acts.router)
