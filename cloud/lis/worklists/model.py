"""Tables of the worklists: one counter a box, one row a revision.

A revision is taken from the counter inside the transaction that writes its row: the counter row stays locked until
commit, so revisions are gap-free and visible in their order.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
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
