"""Reactions: the PDF is made after the release, and the end of a hold on disclosure is told to whoever pushes."""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit.events import on
from cloud.kit.jobs import enqueue, job
from cloud.lis.critical import service as critical
from cloud.lis.critical.events import CriticalReadBack
from cloud.lis.reports import service
from cloud.lis.reports.events import ReportReleased
from cloud.lis.reports.model import Report


@on(ReportReleased, "reports.print")
def print_released(session: Session, event: ReportReleased) -> None:
    """Render the version's PDF once, so that nobody waits for it later."""
    service.pdf(session, event.aggregate_id, event.report_version)


@on(ReportReleased, "reports.schedule_disclosure")
def schedule_disclosure(session: Session, event: ReportReleased) -> None:
    """Where only the director's time limit holds a critical report back, look again when it ends."""
    waiting = service.disclosable(session, event.aggregate_id)
    if waiting.until is not None:
        enqueue(
            session,
            "reports.limit_passed",
            at=waiting.until,
            report_id=str(event.aggregate_id),
            report_version=event.report_version,
        )


@job("reports.limit_passed")
def limit_passed(session: Session, report_id: str, report_version: int) -> None:
    """The limit set by the director has passed without a read-back of this version."""
    report = session.get(Report, uuid.UUID(report_id))
    if report is None or report.version != report_version:
        return
    if critical.read_back_at(session, report.specimen_id) is None and service.disclosable(session, report.id).allowed:
        service.lifted(session, report, cause="limit")


@on(CriticalReadBack, "reports.read_back")
def read_back(session: Session, event: CriticalReadBack) -> None:
    """The ward knows now: the patient may."""
    report = session.scalar(select(Report).where(Report.specimen_id == event.specimen_id))
    if report is not None and critical.read_back_at(session, report.specimen_id) is not None:
        service.lifted(session, report, cause="read_back")
