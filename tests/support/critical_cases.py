"""What the laboratory still has to tell, read straight from the table."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.lis.critical.model import CLOSED, CriticalCase


def open_cases(session: Session) -> list[CriticalCase]:
    """Cases nobody read back yet, oldest first."""
    found = select(CriticalCase).where(CriticalCase.state.not_in(CLOSED)).order_by(CriticalCase.detected_at)
    return list(session.scalars(found))
