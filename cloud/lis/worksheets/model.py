"""Tables of worksheets (工作单). A value typed into a cell is a result like any other; the cell only says who typed it
where; the first of two entries is kept by `results.double_entry`.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Sequence, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified

worksheet_numbers = Sequence("lab_worksheet_number_seq", start=1_000, metadata=Base.metadata)


class Worksheet(Identified, Created, Base):
    """One grid. `test_ids` in the order of its columns."""

    __tablename__ = "lab_worksheet"
    __table_args__ = (Index("ix_lab_worksheet_open", "created_at", postgresql_where=text("closed_at IS NULL")),)

    number: Mapped[str] = mapped_column(String(16), unique=True)
    title: Mapped[str]
    test_ids: Mapped[list[Any]]
    made_by: Mapped[uuid.UUID]
    made_by_name: Mapped[str]
    closed_at: Mapped[datetime | None]
    closed_by_name: Mapped[str | None]


class WorksheetRow(Identified, Base):
    """A specimen on the sheet; `position` is its place in the rack or plate, from 1."""

    __tablename__ = "lab_worksheet_row"
    __table_args__ = (
        UniqueConstraint("worksheet_id", "specimen_id"),
        UniqueConstraint("worksheet_id", "position"),
    )

    worksheet_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_worksheet.id"))
    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    position: Mapped[int]
