"""May this person do this act to these tests today? For slices that stand below the one that knows (`lis.authority`).

Who stands above it calls `cloud.lis.authority.service.require_authority` itself: it is the same function.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from typing import Protocol

from sqlalchemy.orm import Session


class Person(Protocol):
    """`cloud.staff.access.CurrentStaff` is one."""

    @property
    def id(self) -> uuid.UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def permissions(self) -> Collection[str]: ...


class Check(Protocol):
    def __call__(self, session: Session, by: Person, act: str, tests: Iterable[str] = ()) -> None: ...


_checks: list[Check] = []


def answered_by(check: Check) -> Check:
    """Register who knows (at import)."""
    _checks[:] = [check]
    return check


def require_authority(session: Session, by: Person, act: str, tests: Iterable[str] = ()) -> None:
    """Raises `Forbidden` with a sentence for the person; `tests` are codes of the catalogue, none: an act on no test.

    A program that never loaded the slice that knows is wrongly put together and may not go on.
    """
    if not _checks:
        raise LookupError("nobody answers for authority: load cloud.lis.authority.service first")
    _checks[0](session, by, act, tests)
