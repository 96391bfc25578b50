"""Keeping the times: at each release, each night for what came late, and each minute for the warnings on the board."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.events import on
from cloud.kit.jobs import job
from cloud.kit.live import announce
from cloud.lis.reports.events import ReportReleased
from cloud.lis.turnaround import histories, times
from cloud.lis.turnaround.targets import TOPIC

MENDED_DAYS = 8
"""A culture's report may come a week after its receipt."""


@on(ReportReleased, "turnaround.note_times")
def note_times(session: Session, event: ReportReleased) -> None:
    """A report went out: its specimen's times stand in the statistics."""
    times.refresh(session, [event.specimen_id])
    announce(session, TOPIC)


@job("turnaround.renew", every="20 2 * * *")
def renew(session: Session) -> None:
    """What was missed while this program was down, and the histories that the predictions use."""
    now = clock.now()
    times.refresh_between(session, now - timedelta(days=MENDED_DAYS), now)
    histories.renew(session, now)


@job("turnaround.tick", every="* * * * *")
def tick(session: Session) -> None:
    """Time passes without anybody doing anything: open boards look again."""
    announce(session, TOPIC)
