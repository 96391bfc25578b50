"""The list of values that matched nothing: give them to their specimen, try again, or set them aside."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.lis.results import trial_routes, unmatched, wording
from cloud.lis.results.attempt import attempt
from cloud.people.access import Subject, visible_to
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/unmatched"
router = APIRouter()
pages = APIRouter(prefix=PAGE)

Matcher = Annotated[CurrentStaff, Depends(require("unmatched.match"))]
CodeEditor = Annotated[CurrentStaff, Depends(require("catalog.edit"))]
Ids = Annotated[list[uuid.UUID] | None, Form()]
Reason = Annotated[str, Form()]

navigation.add(N_("未匹配结果"), PAGE, permission="unmatched.match", group=N_("检验"), position=320, key="g u")
worklist.add(
    N_("未匹配结果"),
    N_("没有对应标本或项目的仪器结果"),
    PAGE,
    permission="unmatched.match",
    position=320,
    count=unmatched.waiting_count,
    topic="unmatched",
)


@pages.get("")
def page(request: Request, session: Transaction, staff: Matcher, reason: str = "", matched: int = 0) -> Response:
    return _page(request, session, staff, reason, matched=matched)


@pages.post("/match")
def match(
    request: Request,
    session: Transaction,
    staff: Matcher,
    row: Ids = None,
    barcode: Annotated[str, Form()] = "",
    why: Reason = "",
) -> Response:
    """Give the rows to the specimen with this barcode."""
    return _act(
        request,
        session,
        staff,
        lambda: unmatched.match(session, row or [], by=staff, reason=why, barcode=barcode.strip() or None),
    )


@pages.post("/dismiss")
def dismiss(request: Request, session: Transaction, staff: Matcher, row: Ids = None, why: Reason = "") -> Response:
    """Set the rows aside."""
    return _act(request, session, staff, lambda: unmatched.dismiss(session, row or [], by=staff, reason=why))


@pages.post("/message")
def declare_message(
    request: Request, session: Transaction, staff: CodeEditor, row: Annotated[uuid.UUID, Form()]
) -> Response:
    """This code is a message of the instrument and no test."""
    return _act(request, session, staff, lambda: unmatched.declare_message(session, row, by=staff))


def _act(request: Request, session: Session, staff: CurrentStaff, verb: Callable[[], object]) -> Response:
    done, refusal = attempt(session, verb)
    if refusal is not None:
        return _page(request, session, staff, "", problem=message_of(refusal), status=refusal.status)
    count = done[0] if isinstance(done, tuple) else done
    return RedirectResponse(f"{PAGE}?matched={count}", status_code=303)


def _page(
    request: Request,
    session: Session,
    staff: CurrentStaff,
    reason: str,
    *,
    problem: str = "",
    matched: int = 0,
    status: int = 200,
) -> Response:
    context = {
        "groups": unmatched.waiting(session, visible_to(Subject.staff(staff)), reason=reason),
        "counts": unmatched.counts(session),
        "reason": reason,
        "reasons": wording.UNMATCHED,
        "unmatched_text": wording.unmatched_text,
        "problem": problem,
        "matched": matched,
    }
    return render(request, "lis/results/unmatched.html", context, status)


router.include_router(pages)
router.include_router(trial_routes.router)
