"""Tables of the worklists: one counter a box, one row a revision; and the tubes that got no order.

A revision is taken from the counter inside the transaction that writes its row: the counter row stays locked until
commit, so revisions are gap-free and visible in their order.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified
from cloud.lis.specimens.model import Specimen


class WorklistCounter(Base):
    """The newest revision of one box."""

    __tablename__ = "lab_worklist_counter"

    gateway: Mapped[str] = mapped_column(String(64), primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger, default=0)


class WorklistRow(Identified, Created, Base):
    """One revision: the whole truth about one specimen for one box (empty `orders`: nothing to do any more)."""

    __tablename__ = "lab_worklist_row"
    __table_args__ = (
        UniqueConstraint("gateway", "revision", name="uq_lab_worklist_row_revision"),
        Index("ix_lab_worklist_row_specimen", "gateway", "specimen_id", "revision"),
    )

    gateway: Mapped[str] = mapped_column(String(64))
    revision: Mapped[int] = mapped_column(BigInteger)
    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Specimen.id))
    specimen: Mapped[str] = mapped_column(String(32))
    """The barcode on the tube, as the instrument reads it."""
    orders: Mapped[dict[str, Any]]
    """Link id to the order in that instrument's own codes (`protocols.uplink.items.order_to_json`)."""
    expires_at: Mapped[datetime]


class UnansweredState(StrEnum):
    WAITING = "waiting"
    """Nobody knows what is to be measured on the tube."""
    ORDER_CAME = "order_came"
    """Its order is there now: the tube is to be put on again."""
    CLOSED = "closed"


class ClosedHow(StrEnum):
    RESULT = "result"
    """The instrument sent a result of the tube."""
    DONE = "done"
    """Everything on it was released without this instrument."""
    BY_HAND = "by_hand"
    OLD = "old"


class UnansweredTube(Identified, Created, Base):
    """A tube that stood on an instrument and got no order; one open row for each tube on each instrument."""

    __tablename__ = "lab_unanswered_tube"
    __table_args__ = (
        Index(
            "uq_lab_unanswered_tube_open",
            "gateway",
            "link",
            "what",
            unique=True,
            postgresql_where=text("state <> 'closed'"),
        ),
        Index("ix_lab_unanswered_tube_what", "what", postgresql_where=text("state <> 'closed'")),
        Index("ix_lab_unanswered_tube_asked_at", "asked_at"),
    )

    gateway: Mapped[str] = mapped_column(String(64))
    link: Mapped[str] = mapped_column(String(64))
    what: Mapped[str]
    """The barcode, cleaned; "rack/position" where it could not be read."""
    barcode: Mapped[str | None]
    """As the instrument read it."""
    rack: Mapped[str | None]
    position: Mapped[str | None]
    specimen_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Specimen.id))
    reason: Mapped[str] = mapped_column(String(32))
    """A word of `protocols.uplink.asking.NoOrder`, or of a newer box."""
    asked_at: Mapped[datetime]
    last_asked_at: Mapped[datetime]
    times: Mapped[int] = mapped_column(default=1)
    """How often the box told of it: each new reason, and now and then while it is asked about."""
    state: Mapped[UnansweredState] = mapped_column(String(12), default=UnansweredState.WAITING)
    order_came_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    closed_how: Mapped[ClosedHow | None] = mapped_column(String(12))
    closed_by: Mapped[uuid.UUID | None]
    closed_by_name: Mapped[str | None]
    close_reason: Mapped[str | None]
