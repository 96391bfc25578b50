"""Actors of the audit trail (``staff:<id>``) as the names of people."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.staff.model import StaffAccount


def names_of(session: Session, actors: Iterable[str | None]) -> dict[str, str]:
    """actor -> name, of those that are members of staff; one question for all."""
    ids = {uuid.UUID(each[6:]) for each in actors if each and re.fullmatch(r"staff:[0-9a-f-]{36}", each)}
    if not ids:
        return {}
    rows = session.execute(select(StaffAccount.id, StaffAccount.name).where(StaffAccount.id.in_(ids)))
    return {f"staff:{key}": name for key, name in rows}
