"""The review page: queue, one specimen's results, every command by key, scanner and mouse. Refusals show in place."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.lis.reports import service as reports
from cloud.lis.reports.review_page import Filter, Filtered, queue_of, sheet_of, show, specimen_of, words
from cloud.lis.results import queue as queues
from cloud.lis.results import review
from cloud.lis.results.attempt import attempt
from cloud.lis.results.lines import desk
from cloud.lis.results.model import ResultAttachment
from cloud.lis.specimens import service as specimens
from cloud.lis.specimens.model import Specimen
from cloud.people.access import Subject
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

router = APIRouter(prefix="/staff/lis/review")

Reader = Annotated[CurrentStaff, Depends(require("result.read"))]
Reviewer = Annotated[CurrentStaff, Depends(require("result.review"))]
Releaser = Annotated[CurrentStaff, Depends(require("result.release"))]
Version = Annotated[int, Form()]
ResultId = Annotated[uuid.UUID, Form()]
Reason = Annotated[str, Form()]


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
    context = {"queue": queue_of(session, staff, filtered), "filtered": filtered, "current": current}
    return render(request, "lis/reports/review_queue.html", {**context, **words()})


@router.post("/batch")
def batch(
    request: Request,
    session: Transaction,
    staff: Reviewer,
    filtered: Filtered,
    act: Annotated[str, Form()],
    specimen: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Review or release every ticked specimen; each stands for itself, refusals are counted and named."""
    done, refused = 0, []
    for ticked in specimen or []:
        identity, _, version = ticked.partition(":")
        found = specimen_of(session, uuid.UUID(identity))
        _, refusal = attempt(session, _batch_verb(session, staff, found.id, int(version), act))
        if refusal is None:
            done += 1
        else:
            refused.append((found.accession, message_of(refusal)))
    return show(request, session, staff, filtered, None, batch={"act": act, "done": done, "refused": refused})


def _batch_verb(
    session: Session, staff: CurrentStaff, specimen_id: uuid.UUID, version: int, act: str
) -> Callable[[], object]:
    if act == "release":
        return lambda: reports.release(session, specimen_id, by=staff, version=version)
    return lambda: review.mark_reviewed(session, specimen_id, by=staff, version=version)


@router.get("/attachments/{attachment_id}")
def attachment(session: Transaction, staff: Reader, attachment_id: uuid.UUID) -> Response:
    """A picture that came with a result; only pictures are shown, never anything a browser would run."""
    found = session.get(ResultAttachment, attachment_id)
    if found is None or found.media_type not in ("image/png", "image/jpeg", "image/bmp") or not found.data:
        raise NotFound("attachment.none", N_("没有这张图。"))
    specimen = session.get_one(Specimen, found.specimen_id)
    desk(session, Subject.staff(staff), specimen)
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


@router.post("/{specimen_id}/review")
def mark_reviewed(
    request: Request,
    session: Transaction,
    staff: Reviewer,
    filtered: Filtered,
    specimen_id: uuid.UUID,
    version: Version,
) -> Response:
    """Technical review of everything that waits for it."""
    return _act(
        request,
        session,
        staff,
        filtered,
        specimen_id,
        lambda: review.mark_reviewed(session, specimen_id, by=staff, version=version),
    )


@router.post("/{specimen_id}/release")
def release(
    request: Request,
    session: Transaction,
    staff: Releaser,
    filtered: Filtered,
    specimen_id: uuid.UUID,
    version: Version,
    confirm_critical: Annotated[bool, Form()] = False,
    partial: Annotated[bool, Form()] = False,
) -> Response:
    """Release; then to the specimen that comes next."""
    following = queues.next_of(queue_of(session, staff, filtered), specimen_id)
    report, refusal = attempt(
        session,
        lambda: reports.release(
            session, specimen_id, by=staff, version=version, confirm_critical=confirm_critical, partial=partial
        ),
    )
    if refusal is not None or report is None:
        return show(request, session, staff, filtered, specimen_of(session, specimen_id), problem=refusal)
    onwards = f"&after={specimen_id}" if following is None or following.specimen_id == specimen_id else ""
    if following is not None and following.specimen_id != specimen_id:
        return RedirectResponse(
            f"/staff/lis/review/{following.specimen_id}{filtered.query}&released={report.id}", status_code=303
        )
    return RedirectResponse(f"/staff/lis/review{filtered.query}&released={report.id}{onwards}", status_code=303)


@router.post("/{specimen_id}/rerun")
def rerun(
    request: Request,
    session: Transaction,
    staff: Reviewer,
    filtered: Filtered,
    specimen_id: uuid.UUID,
    version: Version,
    result_id: ResultId,
    withdraw: Annotated[bool, Form()] = False,
) -> Response:
    """Ask for a new measurement of one value, or take the request back."""
    verb = review.withdraw_rerun if withdraw else review.request_rerun
    return _act(
        request,
        session,
        staff,
        filtered,
        specimen_id,
        lambda: verb(session, specimen_id, by=staff, version=version, result_id=result_id),
    )


@router.post("/{specimen_id}/choose")
def choose(
    request: Request,
    session: Transaction,
    staff: Reviewer,
    filtered: Filtered,
    specimen_id: uuid.UUID,
    version: Version,
    result_id: ResultId,
    reason: Reason = "",
) -> Response:
    """Report another run."""
    return _act(
        request,
        session,
        staff,
        filtered,
        specimen_id,
        lambda: review.choose(session, specimen_id, by=staff, version=version, result_id=result_id, reason=reason),
    )


@router.post("/{specimen_id}/take-back")
def take_back(
    request: Request,
    session: Transaction,
    staff: Reviewer,
    filtered: Filtered,
    specimen_id: uuid.UUID,
    version: Version,
    result_id: ResultId,
    reason: Reason = "",
) -> Response:
    """Undo a technical review."""
    return _act(
        request,
        session,
        staff,
        filtered,
        specimen_id,
        lambda: review.take_back(session, specimen_id, by=staff, version=version, result_id=result_id, reason=reason),
    )


@router.post("/{specimen_id}/enter")
def enter(
    request: Request,
    session: Transaction,
    staff: Reviewer,
    filtered: Filtered,
    specimen_id: uuid.UUID,
    version: Version,
    test_id: Annotated[uuid.UUID, Form()],
    value: Annotated[str, Form()] = "",
    reason: Reason = "",
) -> Response:
    """A value typed by hand."""
    return _act(
        request,
        session,
        staff,
        filtered,
        specimen_id,
        lambda: review.enter(
            session, specimen_id, by=staff, version=version, test_id=test_id, value=value, reason=reason
        ),
    )


@router.post("/{specimen_id}/comment")
def comment(
    request: Request,
    session: Transaction,
    staff: Reviewer,
    filtered: Filtered,
    specimen_id: uuid.UUID,
    version: Version,
    text: Annotated[str, Form()] = "",
) -> Response:
    """The comment that the report prints."""
    return _act(
        request,
        session,
        staff,
        filtered,
        specimen_id,
        lambda: review.comment(session, specimen_id, by=staff, version=version, text=text),
    )


@router.post("/{specimen_id}/judge-again")
def judge_again(
    request: Request,
    session: Transaction,
    staff: Reviewer,
    filtered: Filtered,
    specimen_id: uuid.UUID,
    version: Version,
) -> Response:
    """Verdicts with the ranges of now."""
    return _act(
        request,
        session,
        staff,
        filtered,
        specimen_id,
        lambda: review.judge_again(session, specimen_id, by=staff, version=version),
    )


def _act(
    request: Request,
    session: Session,
    staff: CurrentStaff,
    filtered: Filter,
    specimen_id: uuid.UUID,
    verb: Callable[[], object],
) -> Response:
    """Do it and show the specimen again (303: a reload repeats nothing); a refusal shows why, with its status."""
    specimen = specimen_of(session, specimen_id)
    _, refusal = attempt(session, verb)
    if refusal is not None:
        return show(request, session, staff, filtered, specimen, problem=refusal)
    return RedirectResponse(f"/staff/lis/review/{specimen_id}{filtered.query}", status_code=303)
