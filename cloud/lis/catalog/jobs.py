"""Periodic work: approved changes that were dated ahead take effect on their day."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.kit.jobs import job
from cloud.lis.catalog import approving


@job("lis.catalog.apply_due", every="1 * * * *")
def apply_due(session: Session) -> None:
    approving.apply_due(session)
