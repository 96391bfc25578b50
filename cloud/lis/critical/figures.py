"""The national figures of critical values over one cohort: told, told in time, acknowledged; median and P90.

Of every value that had to be told in a period (指标 14、15: 危急值通报率、通报及时率): those of an error (cancelled)
and those the ward knew already do not count. The time is that from the confirmation of the result to the ward's hearing
of it (Fei 2017, PMC5696756: result validation to told).
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit.percentile import percentile
from cloud.lis.critical.ladder import begins
from cloud.lis.critical.model import CriticalCase, CriticalState


@dataclass(frozen=True, slots=True)
class Figures:
    """`minutes`: sorted, of the told ones."""

    cases: int
    values: int
    told: int
    in_time: int | None
    """None: no limit is set, so nothing is in time or late."""
    read_back: int
    handled: int
    minutes: tuple[float, ...]

    def share(self, many: int | None) -> float | None:
        return None if many is None or not self.cases else many / self.cases

    @property
    def median(self) -> float | None:
        return percentile(self.minutes, 0.5) if self.minutes else None

    @property
    def p90(self) -> float | None:
        return percentile(self.minutes, 0.9) if self.minutes else None


def of_cases(cases: Iterable[CriticalCase], tell_minutes: int | None) -> Figures:
    """Of cases that had to be told."""
    must = [each for each in cases if each.state not in (CriticalState.CANCELLED, CriticalState.KNOWN)]
    took = sorted((each.told_at - begins(each)).total_seconds() / 60 for each in must if each.told_at is not None)
    return Figures(
        len(must),
        sum(len(each.values) for each in must),
        len(took),
        None if tell_minutes is None else sum(each <= tell_minutes for each in took),
        sum(each.state == CriticalState.READ_BACK for each in must),
        sum(each.handled_at is not None for each in must),
        tuple(took),
    )


def in_period(session: Session, since: datetime, until: datetime) -> list[CriticalCase]:
    """Detected in [since, until)."""
    return list(
        session.scalars(select(CriticalCase).where(CriticalCase.detected_at >= since, CriticalCase.detected_at < until))
    )


def by_department(
    session: Session, cases: Sequence[CriticalCase], tell_minutes: int | None
) -> list[tuple[str, Figures]]:
    parts: defaultdict[uuid.UUID, list[CriticalCase]] = defaultdict(list)
    for each in cases:
        parts[each.department_id].append(each)
    names = {each.id: each.name for each in session.scalars(select(Department).where(Department.id.in_(parts)))}
    rows = [(names[key], of_cases(found, tell_minutes)) for key, found in parts.items()]
    return sorted(rows, key=lambda row: -row[1].cases)


def by_test(cases: Sequence[CriticalCase], tell_minutes: int | None) -> list[tuple[str, Figures]]:
    parts: defaultdict[str, list[CriticalCase]] = defaultdict(list)
    for each in cases:
        for name in {value["name"] for value in each.values}:
            parts[name].append(each)
    rows = [(name, of_cases(found, tell_minutes)) for name, found in parts.items()]
    return sorted(rows, key=lambda row: (-row[1].cases, row[0]))
