"""Tables of storage. A place holds one tube and a tube is in one place: two unique indexes say so, not the program."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, Sequence, String, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.lis.specimens.model import Specimen

discard_numbers = Sequence("lab_discard_number_seq", start=1_000, metadata=Base.metadata)


class UnitKind(StrEnum):
    """How a unit keeps what stands in it; for the stability of tests that are added later."""

    ROOM = "room"
    FRIDGE = "fridge"
    FREEZER = "freezer"
    LINE = "line"


class StorageUnit(Identified, Created, Base):
    """A cold room, refrigerator, freezer, cupboard, or the storage module of an assembly line."""

    __tablename__ = "lab_storage_unit"

    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(String(16))
    place: Mapped[str] = mapped_column(default="")


class RackState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    """Takes no more tubes (full, or put away)."""


class StorageRack(Identified, Created, Base):
    """A rack or box with a grid. `rows` and `columns` zero: its places are as a line names them."""

    __tablename__ = "lab_storage_rack"
    __table_args__ = (CheckConstraint("(rows > 0) = (columns > 0) AND rows <= 26 AND columns <= 50", name="grid"),)

    code: Mapped[str] = mapped_column(String(32), unique=True)
    """Its barcode."""
    name: Mapped[str]
    unit_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(StorageUnit.id), index=True)
    rows: Mapped[int]
    columns: Mapped[int]
    keep_days: Mapped[int | None]
    """How long its tubes are kept; none: as the director decided for all."""
    state: Mapped[str] = mapped_column(String(8), default=RackState.OPEN)


class StoredTube(Identified, Base):
    """A tube in a place, from `stored_at` until `left_at`. Rows stay: who looks for a tube sees where it was."""

    __tablename__ = "lab_stored_tube"
    __table_args__ = (
        Index("uq_lab_stored_tube_place", "rack_id", "position", unique=True, postgresql_where=text("left_at IS NULL")),
        Index("uq_lab_stored_tube_tube", "specimen_id", unique=True, postgresql_where=text("left_at IS NULL")),
        Index("ix_lab_stored_tube_due", "discard_on", postgresql_where=text("left_at IS NULL")),
        Index("ix_lab_stored_tube_specimen_id", "specimen_id"),
    )

    rack_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(StorageRack.id))
    position: Mapped[str] = mapped_column(String(16))
    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Specimen.id))
    stored_at: Mapped[datetime] = mapped_column(default=clock.now)
    stored_by: Mapped[str]
    discard_on: Mapped[date | None]
    """First day on which it may be discarded; none: nobody decided how long it is kept."""
    left_at: Mapped[datetime | None]
    left_by: Mapped[str | None]
    left_how: Mapped[str] = mapped_column(String(16), default="")


class DiscardState(StrEnum):
    PROPOSED = "proposed"
    DONE = "done"
    WITHDRAWN = "withdrawn"


class Discard(Identified, Created, Base):
    """One batch of tubes thrown away; with two persons where the director wants it."""

    __tablename__ = "lab_discard"

    number: Mapped[str] = mapped_column(String(16), unique=True)
    rack_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(StorageRack.id))
    state: Mapped[str] = mapped_column(String(16), default=DiscardState.PROPOSED)
    proposed_by: Mapped[str]
    confirmed_by: Mapped[str | None]
    done_at: Mapped[datetime | None]
    how: Mapped[str] = mapped_column(default="")
    """Where the waste went (高压灭菌, 医废编号)."""
    count: Mapped[int] = mapped_column(default=0)


class DiscardTube(Base):
    """A tube of a discard. `kept_why`: it was not thrown away after all (taken out meanwhile, work open)."""

    __tablename__ = "lab_discard_tube"

    discard_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Discard.id), primary_key=True)
    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Specimen.id), primary_key=True, index=True)
    kept_why: Mapped[str] = mapped_column(String(32), default="")
