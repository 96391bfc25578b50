"""Gathering the times of specimens from where they were written down: order, events, results, report versions.

One statement for the live board (open specimens, nothing stored) and for the table the statistics read; the table can
be thrown away and made again.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud.config import settings
from cloud.lis.turnaround.points import ROAD, Point

OPEN_DAYS = 7
"""A specimen received longer ago than this without a report is no work in hand; the list of open work shows it."""

_GATHER = """
SELECT s.id AS specimen_id, o.id AS order_id, o.department_id, s.priority, asked.sections,
       o.ordered_at,
       events.printed_at, s.collected_at, events.sent_at, s.received_at, events.loaded_at,
       done.resulted_at, done.reviewed_at, issued.released_at,
       target.minutes AS target_minutes, target.start AS target_from
FROM chosen
JOIN lab_specimen s ON s.id = chosen.id
JOIN lab_order o ON o.id = s.order_id
CROSS JOIN LATERAL (
  SELECT coalesce(array_agg(DISTINCT t.section ORDER BY t.section), '{}') AS sections
  FROM lab_order_item i JOIN lab_test t ON t.id = i.test_id
  WHERE i.specimen_id = s.id AND i.cancelled_at IS NULL
) asked
CROSS JOIN LATERAL (
  SELECT min(e.at) FILTER (WHERE e.type = 'printed') AS printed_at,
         min(e.at) FILTER (WHERE e.type = 'sent') AS sent_at,
         min(e.at) FILTER (WHERE e.type = 'line_loaded') AS loaded_at
  FROM lab_specimen_event e WHERE e.specimen_id = s.id
) events
CROSS JOIN LATERAL (
  SELECT min(v.released_at) AS released_at
  FROM lab_report r JOIN lab_report_version v ON v.report_id = r.id
  WHERE r.specimen_id = s.id AND v.kind <> 'preliminary'
) issued
CROSS JOIN LATERAL (
  SELECT max(r.received_at) AS resulted_at, max(r.reviewed_at) AS reviewed_at
  FROM lab_result r
  WHERE r.specimen_id = s.id AND r.chosen AND NOT r.after_release
    AND (issued.released_at IS NULL OR r.received_at <= issued.released_at)
) done
LEFT JOIN LATERAL (
  SELECT wanted.minutes, wanted.start FROM (
    SELECT DISTINCT ON (i.test_id) g.minutes, g.start
    FROM lab_order_item i
    JOIN lab_test t ON t.id = i.test_id
    JOIN lab_turnaround_target g ON g.priority = s.priority
     AND (g.test_id = t.id OR g.test_id IS NULL AND g.section IN (t.section, ''))
     AND (g.department_id IS NULL OR g.department_id = o.department_id)
     AND g.valid_from <= coalesce(s.received_at, s.collected_at, o.ordered_at)
     AND (g.state = 'approved' OR :drafts)
    WHERE i.specimen_id = s.id AND i.cancelled_at IS NULL
    ORDER BY i.test_id, (g.test_id IS NOT NULL) DESC, (g.section <> '') DESC, (g.department_id IS NOT NULL) DESC,
             g.valid_from DESC, g.created_at DESC, g.id DESC
  ) wanted
  WHERE wanted.minutes IS NOT NULL
    AND CASE wanted.start WHEN 'ordered' THEN o.ordered_at WHEN 'collected' THEN s.collected_at
        ELSE s.received_at END IS NOT NULL
  ORDER BY CASE wanted.start WHEN 'ordered' THEN o.ordered_at WHEN 'collected' THEN s.collected_at
           ELSE s.received_at END + wanted.minutes * interval '1 minute'
  LIMIT 1
) target ON true
"""
"""The most specific target of each test (test before section before all, department before all), newest first; of the
tests' targets the one that ends first.
"""
_COLUMNS = (
    "specimen_id, order_id, department_id, priority, sections, ordered_at, printed_at, collected_at, sent_at,"
    " received_at, loaded_at, resulted_at, reviewed_at, released_at, target_minutes, target_from"
)
_CHANGED = ", ".join(f"{each} = excluded.{each}" for each in _COLUMNS.split(", ")[1:])
_KEEP = f"INSERT INTO lab_turnaround ({_COLUMNS}) {{gather}} ON CONFLICT (specimen_id) DO UPDATE SET {_CHANGED}"
_THESE = "WITH chosen AS (SELECT unnest(CAST(:ids AS uuid[])) AS id) "
_OPEN = (
    "WITH chosen AS (SELECT id FROM lab_specimen WHERE state IN ('collected', 'in_transit', 'received')"
    " AND coalesce(received_at, collected_at, created_at) > :since) "
)
_TOUCHED = (
    "WITH chosen AS (SELECT id FROM lab_specimen WHERE received_at >= :since AND received_at < :until"
    " UNION SELECT id FROM lab_specimen WHERE received_at IS NULL AND created_at >= :since AND created_at < :until) "
)


def _given() -> dict[str, Any]:
    return {"drafts": settings().environment != "production"}


def refresh(session: Session, specimen_ids: Collection[uuid.UUID]) -> int:
    """Write down the times of these specimens as they are now known; how many there are."""
    return _count(session.execute(text(_THESE + _KEEP.format(gather=_GATHER)), {**_given(), "ids": list(specimen_ids)}))


def refresh_between(session: Session, since: datetime, until: datetime) -> int:
    """The same for every specimen that was received (or made and never received) in that time."""
    return _count(
        session.execute(text(_TOUCHED + _KEEP.format(gather=_GATHER)), {**_given(), "since": since, "until": until})
    )


def _count(result: Any) -> int:
    return int(result.rowcount)


@dataclass(frozen=True, slots=True)
class Times:
    """One specimen's times, as a row of the statement above."""

    specimen_id: uuid.UUID
    department_id: uuid.UUID
    priority: str
    sections: tuple[str, ...]
    at: dict[Point, datetime]
    target_minutes: int | None
    target_from: Point | None

    @property
    def last(self) -> Point | None:
        """The point it passed last, by the road."""
        return next((each for each in reversed(ROAD) if each in self.at), None)

    @property
    def due(self) -> datetime | None:
        if self.target_minutes is None or self.target_from not in self.at:
            return None
        return self.at[self.target_from] + timedelta(minutes=self.target_minutes)


def open_specimens(session: Session, now: datetime) -> list[Times]:
    """Collected and not yet reported, as far as it is work in hand; not the tube whose tests its aliquots took."""
    rows = session.execute(text(_OPEN + _GATHER), {**_given(), "since": now - timedelta(days=OPEN_DAYS)}).mappings()
    return [times_of(row) for row in rows if row["released_at"] is None and row["sections"]]


def of_specimens(session: Session, specimen_ids: Sequence[uuid.UUID]) -> list[Times]:
    """As the facts say it now, for a few specimens."""
    rows = session.execute(text(_THESE + _GATHER), {**_given(), "ids": list(specimen_ids)}).mappings()
    return [times_of(row) for row in rows]


def times_of(row: Any) -> Times:
    return Times(
        row["specimen_id"],
        row["department_id"],
        row["priority"],
        tuple(row["sections"]),
        {each: row[f"{each}_at"] for each in ROAD if row[f"{each}_at"] is not None},
        row["target_minutes"],
        None if row["target_from"] is None else Point(row["target_from"]),
    )
