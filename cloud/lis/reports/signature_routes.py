"""Page of the signatures as images: whose is on file, taking one in, withdrawing it."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, UploadFile
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.lis.reports import form_store
from cloud.lis.reports.model import SignatureImage
from cloud.lis.results.attempt import attempt
from cloud.staff import service as staff_accounts
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/report-forms/signatures"
router = APIRouter(prefix="/signatures")
Director = Annotated[CurrentStaff, Depends(require("catalog.approve"))]


@router.get("")
def page(request: Request, session: Transaction, staff: Director) -> Response:
    return _page(request, session)


def _page(request: Request, session: Session, problem: str = "", status: int = 200) -> Response:
    accounts = [each for each in staff_accounts.accounts(session) if each.active]
    on_file = form_store.signatures_of(session, [each.id for each in accounts])
    context = {"accounts": accounts, "on_file": on_file, "problem": problem}
    return render(request, "lis/reports/signatures.html", context, status)


@router.get("/{digest}")
def image(session: Transaction, staff: Director, digest: str) -> Response:
    found = session.scalars(select(SignatureImage).where(SignatureImage.sha256 == digest).limit(1)).first()
    if found is None or found.data is None:
        raise NotFound("attachment.none", N_("没有这张图。"))
    return Response(found.data, media_type=found.media_type, headers={"Cache-Control": "private, max-age=3600"})


@router.post("/{staff_id}")
def take(
    request: Request,
    session: Transaction,
    staff: Director,
    staff_id: uuid.UUID,
    file: Annotated[UploadFile | None, File()] = None,
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """The image for reports from now on; without a file the one on file is withdrawn."""
    data = file.file.read(form_store.LARGEST_SIGNATURE + 1) if file is not None and file.filename else None

    def put() -> SignatureImage:
        staff_accounts.account(session, staff_id)
        return form_store.set_signature(session, staff_id, data, by=staff.actor, reason=reason)

    _, refusal = attempt(session, put)
    if refusal is not None:
        return _page(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(PAGE, status_code=303)
