"""What keeps an account from letting go of a person: slices above say so at import.

hindrances.register(Hindrance("bookings", WHAT_TO_DO, holds))
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy.orm import Session

from cloud.kit.errors import Conflict


@dataclass(frozen=True, slots=True)
class Hindrance:
    """`todo` (Chinese, marked with ``N_``) tells the patient what to finish, and where. `holds`: whether this account
    has something open for these persons (one person's files)."""

    name: str
    todo: str
    holds: Callable[[Session, uuid.UUID, Collection[uuid.UUID]], bool]


_registered: dict[str, Hindrance] = {}


def register(hindrance: Hindrance) -> None:
    """Called at import of the slice's `jobs`, which every program loads."""
    _registered[hindrance.name] = hindrance


def check(session: Session, account_id: uuid.UUID, persons: Collection[uuid.UUID]) -> None:
    """Raises `Conflict` with what to do about the first that holds."""
    for each in _registered.values():
        if each.holds(session, account_id, persons):
            raise Conflict(f"unbind.{each.name}", each.todo)
