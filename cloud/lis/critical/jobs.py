"""Reactions: a critical value that comes after its report was released is told, though nobody has it to release."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.kit.events import on
from cloud.lis.critical import late
from cloud.lis.results.events import ResultsReceived


@on(ResultsReceived, "critical.late_values")
def late_values(session: Session, event: ResultsReceived) -> None:
    if event.after_release and event.contains_critical:
        late.open_case(session, event.aggregate_id, event.result_ids)
