"""The stages' own history: how long it lately took from each point to the release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.lis.turnaround.model import StageHistory
from cloud.lis.turnaround.points import ROAD, Point
from cloud.lis.turnaround.prediction import LEAST_HISTORY, PERCENTILES, History

DAYS = 30

Key = tuple[str, str, Point]


@dataclass(frozen=True, slots=True)
class Histories:
    """By section ("" for all), priority and point."""

    known: Mapping[Key, History]

    def best(self, sections: Sequence[str], priority: str, point: Point) -> History | None:
        """The slowest of its sections' histories (a report waits for all of them); else that of all sections."""
        own = [found for each in sections if (found := self.known.get((each, priority, point))) is not None]
        return max(own, key=lambda each: each.median) if own else self.known.get(("", priority, point))


def load(session: Session) -> Histories:
    rows = session.scalars(select(StageHistory))
    return Histories(
        {(each.section, each.priority, Point(each.point)): History(each.count, tuple(each.quantiles)) for each in rows}
    )


_SHARES = "ARRAY[" + ", ".join(str(each / (PERCENTILES - 1)) for each in range(PERCENTILES)) + "]"


def _statement(point: Point) -> str:
    took = f"extract(epoch FROM released_at - {point}_at) / 60"
    return f"""
    INSERT INTO lab_turnaround_history (section, priority, point, count, quantiles, days, made_at)
    SELECT coalesce(part.section, ''), priority, '{point}', count(*),
           to_jsonb(percentile_cont({_SHARES}) WITHIN GROUP (ORDER BY {took})), :days, :now
    FROM lab_turnaround CROSS JOIN LATERAL (
      SELECT unnest(sections) AS section UNION ALL SELECT NULL
    ) part
    WHERE released_at >= :since AND released_at >= {point}_at
    GROUP BY part.section, priority HAVING count(*) >= :least
    """  # noqa: S608 - the points are our own words


def renew(session: Session, now: datetime | None = None) -> int:
    """From the releases of the last thirty days; how many histories there are now."""
    moment = now or clock.now()
    session.execute(delete(StageHistory))
    given = {"since": moment - timedelta(days=DAYS), "now": moment, "days": DAYS, "least": LEAST_HISTORY}
    for point in ROAD[:-1]:
        session.execute(text(_statement(point)), given)
    return len(session.scalars(select(StageHistory.point)).all())
