"""Who acts on results: a member of staff as the verbs need one."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Protocol

from cloud.kit.errors import Forbidden
from cloud.web.i18n import mark as N_


class Signatory(Protocol):
    """`cloud.staff.access.CurrentStaff` is one."""

    @property
    def id(self) -> uuid.UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def permissions(self) -> Collection[str]: ...


def authorise(by: Signatory, permission: str) -> None:
    """Refuse whoever lacks the right; the routes ask too, this holds for every other caller."""
    if permission not in by.permissions:
        raise Forbidden("forbidden", N_("您没有这项操作的权限，请联系管理员。"), permission=permission)


def actor(by: Signatory) -> str:
    """How the audit names them."""
    own: str = getattr(by, "actor", f"staff:{by.id}")
    return own
