"""Screening each report that goes out, is changed or recalled; each minute the deadlines move."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.kit.events import on
from cloud.kit.jobs import job
from cloud.kit.live import announce
from cloud.lis.infectious import opening
from cloud.lis.reports.events import ReportRecalled, ReportReleased


@on(ReportReleased, "infectious.screen")
def screen(session: Session, event: ReportReleased) -> None:
    opening.screen(session, event.aggregate_id)


@on(ReportRecalled, "infectious.screen_recalled")
def screen_recalled(session: Session, event: ReportRecalled) -> None:
    opening.screen(session, event.aggregate_id)


@job("infectious.tick", every="*/5 * * * *")
def tick(session: Session) -> None:
    """Deadlines pass without anybody doing anything: open pages look again."""
    announce(session, opening.TOPIC)
