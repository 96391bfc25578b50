"""Who asks, and may they: `require(permission)` is the one door to every staff page."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request

from cloud.kit.db import Transaction, begin
from cloud.kit.errors import Forbidden, Unauthenticated, XinglinError
from cloud.staff.model import StaffAccount
from cloud.staff.roles import PERMISSIONS, permissions_of
from cloud.staff.service import REALM
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.refusals import recognise_by
from cloud.web.sessions import find_session

SIGNED_IN_FOR = timedelta(hours=12)
IDLE_FOR = timedelta(hours=2)
CHANGE_PASSWORD = "/staff/password"  # noqa: S105  an address, not a secret


@dataclass(frozen=True, slots=True)
class CurrentStaff:
    """The person behind this request."""

    id: uuid.UUID
    login: str
    name: str
    roles: tuple[str, ...]
    permissions: frozenset[str]
    session_id: uuid.UUID
    must_change_password: bool = False

    @property
    def actor(self) -> str:
        """As the audit trail names them."""
        return f"staff:{self.id}"

    def may(self, permission: str) -> bool:
        return permission in self.permissions


def signed_in(request: Request, session: Transaction) -> CurrentStaff:
    """Whoever is signed in, whatever their rights. Raises `Unauthenticated`."""
    opened = find_session(session, request, realm=REALM, idle=IDLE_FOR)
    account = session.get(StaffAccount, opened.subject_id) if opened else None
    if opened is None or account is None or not account.active:
        raise Unauthenticated("not_signed_in", N_("请先登录。"))
    staff = CurrentStaff(
        id=account.id,
        login=account.login,
        name=account.name,
        roles=tuple(account.roles),
        permissions=permissions_of(account.roles),
        session_id=opened.id,
        must_change_password=account.must_change_password,
    )
    request.state.staff = staff
    if staff.must_change_password and request.url.path not in {CHANGE_PASSWORD, "/staff/sign-out"}:
        raise Forbidden("change_password", N_("请先修改初始密码：右上角姓名菜单 → 修改密码。"))
    return staff


@recognise_by
def _recognise(request: Request) -> None:
    """For the refusal of an address that no route answers; whoever is not signed in stays a stranger."""
    if request.url.path.startswith("/staff"):
        with suppress(XinglinError, SQLAlchemyError), begin() as session:
            signed_in(request, session)


def require(permission: str) -> Callable[..., CurrentStaff]:
    """A dependency: the person signed in, if they have `permission`; else `Unauthenticated` or `Forbidden`."""
    if permission not in PERMISSIONS:
        raise LookupError(f"there is no permission called {permission}; they stand in cloud.staff.roles")

    def check(staff: Annotated[CurrentStaff, Depends(signed_in)]) -> CurrentStaff:
        if permission not in staff.permissions:
            raise Forbidden(
                "no_permission",
                N_("您的账号没有“{permission}”的权限，需要时请联系管理员。"),
                permission=_(PERMISSIONS[permission]),
            )
        return staff

    check.permission = permission  # type: ignore[attr-defined]  # read by the contract test over all routes
    return check
