"""Tables of hand-over batches. Which tube has arrived is read from the tube, not stored a second time."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, Numeric, Sequence, String, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.lis.specimens.model import Specimen

batch_numbers = Sequence("lab_batch_number_seq", start=10_000, metadata=Base.metadata)


class BatchState(StrEnum):
    PACKING = "packing"
    SENT = "sent"
    ARRIVED = "arrived"
    CLOSED = "closed"
    """Every tube is accounted for: received, refused, or what is missing was written off with a reason."""


BATCH_MOVES: dict[BatchState, frozenset[BatchState]] = {
    BatchState.PACKING: frozenset({BatchState.SENT}),
    BatchState.SENT: frozenset({BatchState.ARRIVED}),
    BatchState.ARRIVED: frozenset({BatchState.CLOSED}),
    BatchState.CLOSED: frozenset(),
}


def may_become(state: BatchState) -> tuple[BatchState, ...]:
    return tuple(each for each, following in BATCH_MOVES.items() if state in following)


class TransportBatch(Identified, Created, Base):
    """One bag or box of tubes on its way from a ward to the laboratory."""

    __tablename__ = "lab_transport_batch"
    __table_args__ = (
        Index("ix_lab_transport_batch_open", "state", "sent_at", postgresql_where=text("state <> 'closed'")),
        Index("ix_lab_transport_batch_sent_at", "sent_at"),
    )

    number: Mapped[str] = mapped_column(String(16), unique=True)
    """Printed on the list as a barcode: ``B``, digits, check digit."""
    department_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Department.id))
    place: Mapped[str] = mapped_column(default="")
    state: Mapped[str] = mapped_column(String(16), default=BatchState.PACKING)
    packed_by: Mapped[str]
    sent_at: Mapped[datetime | None]
    sent_by: Mapped[str | None]
    courier: Mapped[str] = mapped_column(default="")
    arrived_at: Mapped[datetime | None]
    arrived_by: Mapped[str | None]
    temperature_c: Mapped[Decimal | None] = mapped_column(Numeric(4, 1))
    """Of the transport box on arrival, degrees Celsius."""
    note: Mapped[str] = mapped_column(default="")
    late: Mapped[bool | None]
    """Longer on its way than the director allows; none: no limit was set when it arrived."""
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
    close_reason: Mapped[str] = mapped_column(default="")


class BatchTube(Identified, Base):
    """A tube in a batch. `taken_out_at`: it left the batch before it was sent, or came back."""

    __tablename__ = "lab_batch_tube"
    __table_args__ = (
        Index("uq_lab_batch_tube_live", "specimen_id", unique=True, postgresql_where=text("taken_out_at IS NULL")),
    )

    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(TransportBatch.id), index=True)
    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Specimen.id), index=True)
    put_in_at: Mapped[datetime] = mapped_column(default=clock.now)
    put_in_by: Mapped[str]
    taken_out_at: Mapped[datetime | None]
    taken_out_by: Mapped[str | None]


class UnexpectedTube(Identified, Base):
    """A tube that came with a batch it was not packed into."""

    __tablename__ = "lab_batch_unexpected"

    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(TransportBatch.id), index=True)
    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Specimen.id))
    at: Mapped[datetime] = mapped_column(default=clock.now)
    by: Mapped[str]
