"""Reactions to released and recalled reports; sending to IPP printers; what nobody took in time."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from cloud.kit.events import on
from cloud.kit.jobs import Begin, job
from cloud.lis.printing import following, queue, sending
from cloud.lis.reports.events import ReportRecalled, ReportReleased


@on(ReportReleased, "printing.report_released")
def report_released(session: Session, event: ReportReleased) -> None:
    following.released(session, event.aggregate_id, event.report_version)


@on(ReportRecalled, "printing.report_recalled")
def report_recalled(session: Session, event: ReportRecalled) -> None:
    following.recalled(session, event.aggregate_id)


@job(queue.SEND, own_transactions=True)
def send(begin: Begin, printer_id: str) -> None:
    """One pass over one printer."""
    sending.run(begin, uuid.UUID(printer_id))


@job("printing.every_minute", every="* * * * *")
def every_minute(session: Session, **_scheduled: object) -> None:
    """What a dead worker left behind, and what nobody took in time."""
    queue.expire(session)
    sending.sweep(session)
