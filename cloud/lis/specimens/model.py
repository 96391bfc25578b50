"""Tables of specimens. A state moves by one conditional UPDATE; what happened is appended and never changed."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, Sequence, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.hospital.model import Campus
from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.lis.catalog.model import Tube
from cloud.lis.orders.model import Order
from cloud.people.model import Person

accession_numbers = Sequence("lab_accession_seq", start=100_000_000, metadata=Base.metadata)
"""Starts at nine digits: some analyzers strip leading zeros."""


class SpecimenState(StrEnum):
    PRINTED = "printed"
    COLLECTED = "collected"
    RECEIVED = "received"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    DONE = "done"


SPECIMEN_MOVES: dict[SpecimenState, frozenset[SpecimenState]] = {
    SpecimenState.PRINTED: frozenset(
        {SpecimenState.COLLECTED, SpecimenState.RECEIVED, SpecimenState.REJECTED, SpecimenState.CANCELLED}
    ),
    SpecimenState.COLLECTED: frozenset({SpecimenState.RECEIVED, SpecimenState.REJECTED, SpecimenState.CANCELLED}),
    SpecimenState.RECEIVED: frozenset({SpecimenState.REJECTED, SpecimenState.CANCELLED, SpecimenState.DONE}),
    SpecimenState.REJECTED: frozenset(),
    SpecimenState.CANCELLED: frozenset(),
    SpecimenState.DONE: frozenset(),
}
"""The whole road; `service` writes a state only by an UPDATE whose WHERE names the states it may come from."""


def may_become(state: SpecimenState) -> tuple[SpecimenState, ...]:
    """The states from which a specimen may come to `state`."""
    return tuple(each for each, following in SPECIMEN_MOVES.items() if state in following)


class Specimen(Identified, Created, Base):
    """One tube. `accession` is ours (digits, at most 12, check digit); `barcode` is what stands on the tube now."""

    __tablename__ = "lab_specimen"
    __table_args__ = (Index("ix_lab_specimen_state_received_at", "state", "received_at"),)

    accession: Mapped[str] = mapped_column(String(12), unique=True)
    barcode: Mapped[str] = mapped_column(String(32), unique=True)
    order_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Order.id), index=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id), index=True)
    campus_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Campus.id))
    tube_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Tube.id))
    specimen_type: Mapped[str] = mapped_column(String(32))
    priority: Mapped[str] = mapped_column(String(1))
    state: Mapped[str] = mapped_column(String(16), default=SpecimenState.PRINTED)
    collected_at: Mapped[datetime | None]
    collected_by: Mapped[str | None]
    received_at: Mapped[datetime | None]
    received_by: Mapped[str | None]
    replaces_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_specimen.id"))
    """The rejected specimen this one was collected again for."""


class SpecimenBarcode(Base):
    """Every barcode that ever stood on a tube of ours: one namespace for accessions and pre-printed labels."""

    __tablename__ = "lab_specimen_barcode"

    barcode: Mapped[str] = mapped_column(String(32), primary_key=True)
    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    preprinted: Mapped[bool] = mapped_column(default=False)
    bound_at: Mapped[datetime] = mapped_column(default=clock.now)


class SpecimenEvent(Identified, Base):
    """What happened to a specimen: what, when, who, where. Append-only: the database refuses change and deletion."""

    __tablename__ = "lab_specimen_event"

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    type: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(default=clock.now)
    by: Mapped[str]
    """``staff:<id>``, ``his`` or ``system``."""
    place: Mapped[str] = mapped_column(default="")
    reason_code: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
