"""The review page: queue, one specimen's results, what stands behind each value. What it does is in `review_acts`."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.lis.reports.review_page import Filtered, queue_of, queue_side, sheet_of, show, specimen_of, words
from cloud.lis.results import queue as queues
from cloud.lis.results.detail import detail
from cloud.lis.results.model import ResultAttachment
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject, person
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

router = APIRouter(prefix="/staff/lis/review")

Reader = Annotated[CurrentStaff, Depends(require("result.read"))]


@router.get("")
def page(
    request: Request,
    session: Transaction,
    staff: Reader,
    filtered: Filtered,
    code: str = "",
    after: uuid.UUID | None = None,
    released: uuid.UUID | None = None,
) -> Response:
    """The queue with the specimen of the scanned `code`, or the one that comes after `after`, or none."""
    if code.strip():
        found = specimens.find(session, code)
        if found is not None:
            return RedirectResponse(f"/staff/lis/review/{found.id}{filtered.query}", status_code=303)
        problem = NotFound(
            "barcode_unknown", N_("没有条码为 {barcode} 的标本。请核对条码后重新扫描。"), barcode=code.strip()[:40]
        )
        return show(request, session, staff, filtered, None, problem=problem)
    specimen = None
    if after is not None:
        following = queues.next_of(queue_of(session, staff, filtered), after)
        specimen = session.get(Specimen, following.specimen_id) if following else None
    return show(request, session, staff, filtered, specimen, released=released)


@router.get("/queue")
def queue_part(
    request: Request, session: Transaction, staff: Reader, filtered: Filtered, current: uuid.UUID | None = None
) -> Response:
    """The queue alone, fetched again when results arrive."""
    context = {**queue_side(session, staff, filtered), "current": current}
    return render(request, "lis/reports/review_queue.html", {**context, **words()})


@router.get("/attachments/{attachment_id}")
def attachment(session: Transaction, staff: Reader, attachment_id: uuid.UUID) -> Response:
    """A picture that came with a result; only pictures are shown, never anything a browser would run."""
    found = session.get(ResultAttachment, attachment_id)
    if found is None or found.media_type not in ("image/png", "image/jpeg", "image/bmp") or not found.data:
        raise NotFound("attachment.none", N_("没有这张图。"))
    specimen = session.get_one(Specimen, found.specimen_id)
    person(session, Subject.staff(staff), specimen.person_id)
    return Response(found.data, media_type=found.media_type, headers={"Cache-Control": "private, max-age=3600"})


@router.get("/{specimen_id}")
def specimen_page(
    request: Request, session: Transaction, staff: Reader, filtered: Filtered, specimen_id: uuid.UUID
) -> Response:
    return show(request, session, staff, filtered, specimen_of(session, specimen_id))


@router.get("/{specimen_id}/sheet")
def sheet_part(
    request: Request, session: Transaction, staff: Reader, filtered: Filtered, specimen_id: uuid.UUID
) -> Response:
    """The specimen's side alone, fetched again when its results change."""
    context = sheet_of(session, staff, specimen_of(session, specimen_id))
    return render(request, "lis/reports/review_sheet.html", {**context, **words(), "filtered": filtered})


@router.get("/{specimen_id}/tests/{test_id}")
def detail_part(
    request: Request, session: Transaction, staff: Reader, specimen_id: uuid.UUID, test_id: uuid.UUID
) -> Response:
    """What stands behind the value of the selected line; fetched as the selection moves."""
    specimen = specimen_of(session, specimen_id)
    person(session, Subject.staff(staff), specimen.person_id)
    context = {"detail": detail(session, specimen, test_id), **words()}
    return render(request, "lis/reports/review_detail.html", context)
