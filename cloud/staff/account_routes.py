"""The administrator's page: accounts made, disabled, reset, unlocked, their roles."""

from __future__ import annotations

import secrets
import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import XinglinError
from cloud.staff import service
from cloud.staff.access import CurrentStaff, require
from cloud.staff.roles import PERMISSIONS, ROLE_NAMES, ROLES
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

router = APIRouter(prefix="/staff/accounts")

Admin = Annotated[CurrentStaff, Depends(require("staff.admin"))]
PAGE = "/staff/accounts"
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""For passwords read out or written down: nothing that looks like something else."""

navigation.add(N_("账号与角色"), PAGE, permission="staff.admin", group=N_("系统"), position=910, key="g y")


@router.get("")
def accounts_page(request: Request, session: Transaction, admin: Admin) -> Response:
    return _page(request, session)


@router.post("")
def create(
    request: Request,
    session: Transaction,
    admin: Admin,
    login: Annotated[str, Form()],
    name: Annotated[str, Form()],
    roles: Annotated[list[str], Form()] = [],  # noqa: B006  FastAPI copies it
) -> Response:
    """The first password is made here, shown once, and changed by the person at the first sign-in."""
    password = _first_password()
    try:
        made = service.create_account(
            session, login=login, name=name, password=password, roles=roles, by=admin.actor, must_change_password=True
        )
    except XinglinError as refusal:
        return _page(request, session, problem=message_of(refusal), typed=(login, name, roles), status=refusal.status)
    return _page(request, session, shown=(made.login, password))


@router.post("/{account_id}/reset")
def reset(request: Request, session: Transaction, admin: Admin, account_id: uuid.UUID) -> Response:
    password = _first_password()
    service.reset_password(session, account_id, new=password, by=admin.actor)
    return _page(request, session, shown=(service.account(session, account_id).login, password))


@router.post("/{account_id}/unlock")
def unlock(session: Transaction, admin: Admin, account_id: uuid.UUID) -> Response:
    service.unlock(session, account_id, by=admin.actor)
    return RedirectResponse(PAGE, status_code=303)


@router.post("/{account_id}/active")
def set_active(session: Transaction, admin: Admin, account_id: uuid.UUID, active: Annotated[bool, Form()]) -> Response:
    service.set_active(session, account_id, active=active, by=admin.actor)
    return RedirectResponse(PAGE, status_code=303)


@router.post("/{account_id}/roles")
def set_roles(
    session: Transaction,
    admin: Admin,
    account_id: uuid.UUID,
    roles: Annotated[list[str], Form()] = [],  # noqa: B006
) -> Response:
    service.set_roles(session, account_id, roles=roles, by=admin.actor)
    return RedirectResponse(PAGE, status_code=303)


def _page(
    request: Request,
    session: Session,
    *,
    problem: str | None = None,
    typed: tuple[str, str, list[str]] = ("", "", []),
    shown: tuple[str, str] | None = None,
    status: int = 200,
) -> Response:
    context = {
        "accounts": service.accounts(session),
        "role_names": ROLE_NAMES,
        "rights": {role: [PERMISSIONS[each] for each in PERMISSIONS if each in ROLES[role]] for role in ROLES},
        "now": clock.now(),
        "problem": problem,
        "typed": typed,
        "shown": shown,
    }
    return render(request, "staff/accounts.html", context, status)


def _first_password() -> str:
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(3))
