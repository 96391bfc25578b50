"""Tubes that an instrument asked about and that got no order: put on again when their order comes, or closed."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Transaction
from cloud.kit.errors import XinglinError
from cloud.lis.worklists import unanswered, words
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/worklists/unanswered"
router = APIRouter(prefix=PAGE)

Bench = Annotated[CurrentStaff, Depends(require(unanswered.RIGHT))]

navigation.add(N_("未应答标本"), PAGE, permission=unanswered.RIGHT, group=N_("检验"), position=325, key="g n")
worklist.add(
    N_("未应答标本"),
    N_("仪器询问时没有医嘱的标本"),
    PAGE,
    permission=unanswered.RIGHT,
    position=325,
    count=unanswered.open_count,
    topic=unanswered.TOPIC,
)


@router.get("")
def page(request: Request, session: Transaction, staff: Bench) -> Response:
    return render(request, "lis/worklists/unanswered.html", _list(session))


@router.get("/list")
def part(request: Request, session: Transaction, staff: Bench) -> Response:
    """The part of the page that changes."""
    return render(request, "lis/worklists/unanswered_list.html", _list(session))


def _list(session: Session) -> dict[str, object]:
    open_, closed = unanswered.listed(session)
    again = unanswered.again_count(session)
    return {"open": open_, "closed": closed, "again": again, "words": words}


@router.get("/{row_id}")
def close_page(request: Request, session: Transaction, staff: Bench, row_id: uuid.UUID) -> Response:
    """The form is a page of its own: it must not change while somebody writes into it."""
    return render(request, "lis/worklists/unanswered_close.html", _one(session, row_id))


@router.post("/{row_id}/close")
def close(
    request: Request, session: Transaction, staff: Bench, row_id: uuid.UUID, why: Annotated[str, Form()] = ""
) -> Response:
    try:
        unanswered.close(session, row_id, by=staff, reason=why)
    except XinglinError as refusal:
        context = {**_one(session, row_id), "problem": message_of(refusal)}
        return render(request, "lis/worklists/unanswered_close.html", context, refusal.status)
    return RedirectResponse(PAGE, status_code=303)


def _one(session: Session, row_id: uuid.UUID) -> dict[str, object]:
    return {"row": unanswered.one(session, row_id), "words": words}
