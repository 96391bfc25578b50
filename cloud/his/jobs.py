"""What the HIS is told when something happened in the laboratory."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.his import outbox
from cloud.kit.events import on
from cloud.kit.jobs import Begin, job
from cloud.lis.reports.events import ReportRecalled, ReportReleased


@on(ReportReleased, "his.report_released")
def report_released(session: Session, event: ReportReleased) -> None:
    """ORU^R01 with status final, preliminary or corrected."""
    outbox.put(session, event.aggregate_id, event.report_version)


@on(ReportRecalled, "his.report_recalled")
def report_recalled(session: Session, event: ReportRecalled) -> None:
    """ORU^R01 that withdraws every value of the version (status W)."""
    outbox.put(session, event.aggregate_id, event.report_version, recalled=True)


@job(outbox.DELIVER, own_transactions=True)
def deliver(begin: Begin) -> None:
    """Send what waits for the HIS."""
    outbox.deliver(begin)


@job("his.deliver_every_minute", own_transactions=True, every="* * * * *")
def deliver_every_minute(begin: Begin) -> None:
    """A worker that died between claim and answer leaves a message behind: it is found here."""
    outbox.deliver(begin)
