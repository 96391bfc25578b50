"""Editing and approving the catalogue asks for authority too, where the laboratory enforces it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from cloud.lis.authority.service import require_authority
from cloud.lis.catalog import guards
from cloud.staff.access import CurrentStaff


@guards.add
def authorised(session: Session, staff: CurrentStaff, act: str, codes: Iterable[str]) -> None:
    require_authority(session, staff, act, codes)
