"""Everybody's own page of where they are signed in: a workstation left open is closed from here."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import audit
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.staff.access import IDLE_FOR, CurrentStaff, signed_in
from cloud.staff.service import REALM
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.sessions import live_sessions, revoke_all, revoke_one

PAGE = "/staff/sessions"
router = APIRouter(prefix=PAGE)
Person = Annotated[CurrentStaff, Depends(signed_in)]


@router.get("")
def sessions_page(request: Request, session: Transaction, staff: Person) -> Response:
    found = live_sessions(session, realm=REALM, subject_id=staff.id, idle=IDLE_FOR)
    return render(request, "staff/sessions.html", {"found": found})


@router.post("/end-others")
def end_others(session: Transaction, staff: Person) -> Response:
    revoke_all(session, realm=REALM, subject_id=staff.id, but=staff.session_id)
    _note(session, staff, {"ended": "others"})
    return RedirectResponse(PAGE, status_code=303)


@router.post("/{session_id}/end")
def end(session: Transaction, staff: Person, session_id: uuid.UUID) -> Response:
    """One of the person's own; ending the present one is signing out."""
    if not revoke_one(session, session_id, realm=REALM, subject_id=staff.id):
        raise NotFound("no_session", N_("这个登录已经结束。"))
    _note(session, staff, {"ended": session_id})
    return RedirectResponse(PAGE, status_code=303)


def _note(session: Session, staff: CurrentStaff, what: dict[str, object]) -> None:
    audit.record(session, actor=staff.actor, action="staff.end_session", aggregate=("staff", staff.id), after=what)
