"""What the pages of batches read: open ones, what is missing, and the numbers of a period."""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.lis.specimens.model import Specimen, SpecimenState
from cloud.lis.transport.model import BatchState, BatchTube, TransportBatch, UnexpectedTube


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One batch in a list."""

    batch: TransportBatch
    department: Department
    tubes: int
    missing: int
    unexpected: int


def batches(session: Session, *, closed_since: datetime | None = None, limit: int = 100) -> list[BatchLine]:
    """Open batches, newest first; with `closed_since` those closed from then on too."""
    wanted = TransportBatch.state != BatchState.CLOSED
    if closed_since is not None:
        wanted |= TransportBatch.closed_at >= closed_since
    found = session.execute(
        select(TransportBatch, Department)
        .join(Department, Department.id == TransportBatch.department_id)
        .where(wanted)
        .order_by(TransportBatch.id.desc())
        .limit(limit)
    ).all()
    ids = [batch.id for batch, _ in found]
    counted = {
        batch_id: (tubes, missing)
        for batch_id, tubes, missing in session.execute(
            select(
                BatchTube.batch_id,
                func.count(),
                func.count().filter(Specimen.state == SpecimenState.IN_TRANSIT),
            )
            .join(Specimen, Specimen.id == BatchTube.specimen_id)
            .where(BatchTube.batch_id.in_(ids), BatchTube.taken_out_at.is_(None))
            .group_by(BatchTube.batch_id)
        )
    }
    strangers = {
        row[0]: row[1]
        for row in session.execute(
            select(UnexpectedTube.batch_id, func.count())
            .where(UnexpectedTube.batch_id.in_(ids))
            .group_by(UnexpectedTube.batch_id)
        )
    }
    return [
        BatchLine(batch, department, *counted.get(batch.id, (0, 0)), strangers.get(batch.id, 0))
        for batch, department in found
    ]


def missing(session: Session, *, limit: int = 200) -> list[tuple[Specimen, TransportBatch, int]]:
    """Tubes that were sent and never received, longest on their way first, with the minutes since they were sent."""
    rows = session.execute(
        select(Specimen, TransportBatch)
        .join(BatchTube, BatchTube.specimen_id == Specimen.id)
        .join(TransportBatch, TransportBatch.id == BatchTube.batch_id)
        .where(_MISSING)
        .order_by(TransportBatch.sent_at, Specimen.id)
        .limit(limit)
    )
    now = clock.now()
    return [(specimen, batch, int((now - (batch.sent_at or now)) / timedelta(minutes=1))) for specimen, batch in rows]


def missing_count(session: Session) -> int:
    """Tubes of batches that have arrived, without them."""
    found = (
        select(func.count())
        .select_from(BatchTube)
        .join(Specimen, Specimen.id == BatchTube.specimen_id)
        .join(TransportBatch, TransportBatch.id == BatchTube.batch_id)
        .where(_MISSING, TransportBatch.state != BatchState.SENT)
    )
    return session.scalar(found) or 0


_MISSING = (
    BatchTube.taken_out_at.is_(None)
    & (Specimen.state == SpecimenState.IN_TRANSIT)
    & TransportBatch.state.in_((BatchState.SENT, BatchState.ARRIVED, BatchState.CLOSED))
)


def unexpected(session: Session, batch_id: uuid.UUID) -> list[Specimen]:
    """Tubes that came with the batch and were not packed into it."""
    found = select(Specimen).join(UnexpectedTube, UnexpectedTube.specimen_id == Specimen.id)
    return list(session.scalars(found.where(UnexpectedTube.batch_id == batch_id).order_by(UnexpectedTube.id)))


@dataclass(frozen=True, slots=True)
class Period:
    """The batches sent from one moment on and before another."""

    batches: int
    tubes: int
    late: int
    judged: int
    """Of how many it was said whether they were late (a limit was set)."""
    never_arrived: int
    unexpected: int
    median_minutes: float | None
    """Sent to arrived; None when none arrived."""


def period(session: Session, start: datetime, end: datetime) -> Period:
    """The numbers of a period, by the moment of sending."""
    within = (TransportBatch.sent_at >= start) & (TransportBatch.sent_at < end)
    sent: Sequence[TransportBatch] = session.scalars(select(TransportBatch).where(within)).all()
    ids = select(TransportBatch.id).where(within)
    tubes = select(func.count()).where(BatchTube.batch_id.in_(ids), BatchTube.taken_out_at.is_(None))
    lost = (
        select(func.count())
        .select_from(BatchTube)
        .join(Specimen, Specimen.id == BatchTube.specimen_id)
        .where(
            BatchTube.batch_id.in_(ids),
            BatchTube.taken_out_at.is_(None),
            Specimen.state == SpecimenState.IN_TRANSIT,
        )
    )
    strangers = select(func.count()).where(UnexpectedTube.batch_id.in_(ids))
    took = [
        (each.arrived_at - each.sent_at) / timedelta(minutes=1) for each in sent if each.arrived_at and each.sent_at
    ]
    return Period(
        batches=len(sent),
        tubes=session.scalar(tubes) or 0,
        late=sum(1 for each in sent if each.late),
        judged=sum(1 for each in sent if each.late is not None),
        never_arrived=session.scalar(lost) or 0,
        unexpected=session.scalar(strangers) or 0,
        median_minutes=statistics.median(took) if took else None,
    )
