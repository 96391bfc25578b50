"""A critical value that comes after its report was released is told too; who is not told in time goes up the ladder."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.kit.events import on
from cloud.kit.jobs import job
from cloud.kit.live import announce
from cloud.lis.critical import ladder, late
from cloud.lis.results.events import ResultsReceived


@on(ResultsReceived, "critical.late_values")
def late_values(session: Session, event: ResultsReceived) -> None:
    if event.after_release and event.contains_critical:
        late.open_case(session, event.aggregate_id, event.result_ids)


@job("critical.escalate", every="* * * * *")
def escalate(session: Session) -> None:
    """Steps of the ladders that are due; open boards look again, for their clocks run."""
    ladder.escalate(session)
    announce(session, "critical")
