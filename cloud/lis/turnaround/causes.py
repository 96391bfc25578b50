"""Late specimens and why they were late."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Forbidden, Invalid, NotFound
from cloud.kit.live import announce
from cloud.lis.results.signatory import Signatory, actor
from cloud.lis.specimens.model import Specimen
from cloud.lis.turnaround import times
from cloud.lis.turnaround.model import Cause, SpecimenTimes, TurnaroundCause
from cloud.lis.turnaround.points import Point
from cloud.lis.turnaround.targets import TOPIC
from cloud.web.i18n import mark as N_

NAME_CAUSE = "turnaround.cause"


@dataclass(frozen=True, slots=True)
class Late:
    """A report that came later than its target."""

    specimen: Specimen
    times: SpecimenTimes
    took_minutes: int
    slowest: tuple[Point, Point] | None
    """The two neighbouring points it lay between for longest, of those that are known."""
    cause: TurnaroundCause | None


def late_ones(session: Session, since: datetime, until: datetime, *, limit: int = 300) -> list[Late]:
    """Released in [since, until) after their target, the worst without a cause first."""
    found = session.execute(
        select(Specimen, SpecimenTimes)
        .join(SpecimenTimes, SpecimenTimes.specimen_id == Specimen.id)
        .where(SpecimenTimes.breached.is_(True), SpecimenTimes.released_at >= since, SpecimenTimes.released_at < until)
        .order_by(SpecimenTimes.released_at.desc())
        .limit(limit)
    ).all()
    causes = _newest(session, [specimen.id for specimen, _ in found])
    rows = [Late(specimen, row, _took(row), slowest(row), causes.get(specimen.id)) for specimen, row in found]
    return sorted(rows, key=lambda each: (each.cause is not None, -each.took_minutes))


def _took(row: SpecimenTimes) -> int:
    start: datetime | None = getattr(row, f"{row.target_from}_at")
    assert start is not None
    assert row.released_at is not None
    return int((row.released_at - start).total_seconds() // 60)


def slowest(row: SpecimenTimes) -> tuple[Point, Point] | None:
    """Where the time went, after the point the target began at."""
    if row.target_from is None:
        return None
    road = [each for each in Point if getattr(row, f"{each}_at") is not None]
    road = road[road.index(Point(row.target_from)) :] if row.target_from in road else road
    return max(
        pairwise(road), key=lambda pair: getattr(row, f"{pair[1]}_at") - getattr(row, f"{pair[0]}_at"), default=None
    )


def _newest(session: Session, specimen_ids: list[uuid.UUID]) -> dict[uuid.UUID, TurnaroundCause]:
    rows = session.scalars(
        select(TurnaroundCause)
        .ext(distinct_on(TurnaroundCause.specimen_id))
        .where(TurnaroundCause.specimen_id.in_(specimen_ids))
        .order_by(TurnaroundCause.specimen_id, TurnaroundCause.at.desc(), TurnaroundCause.id.desc())
    )
    return {each.specimen_id: each for each in rows}


def counted(rows: list[Late]) -> list[tuple[str, int]]:
    """How often each cause was named, the most frequent first; ``""`` for those nobody looked at."""
    return Counter(each.cause.cause if each.cause else "" for each in rows).most_common()


def name_cause(session: Session, specimen_id: uuid.UUID, *, cause: str, note: str, by: Signatory) -> TurnaroundCause:
    """Write down why a specimen is or was late; a later finding takes its place and both stay.

    Raises Forbidden, NotFound, Invalid (no such cause; "other" without words).
    """
    if NAME_CAUSE not in by.permissions:
        raise Forbidden("turnaround.cause", N_("您没有登记超时原因的权限。"))
    if session.get(Specimen, specimen_id) is None:
        raise NotFound("turnaround.specimen", N_("没有这个标本。"))
    if cause not in {str(each) for each in Cause}:
        raise Invalid("turnaround.cause_unknown", N_("请选择超时原因。"))
    said = note.strip()
    if cause == Cause.OTHER and not said:
        raise Invalid("turnaround.cause_note", N_("选择“其他”时请写明原因。"))
    row = TurnaroundCause(
        specimen_id=specimen_id, cause=cause, note=said, at=clock.now(), by=actor(by), by_name=by.name
    )
    session.add(row)
    session.flush()
    times.refresh(session, [specimen_id])
    record(
        session,
        actor=actor(by),
        action="turnaround.cause",
        aggregate=("specimen", specimen_id),
        after={"cause": cause},
        reason=said,
    )
    announce(session, TOPIC)
    return row
