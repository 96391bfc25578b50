"""Tables of worksheets (工作单). A value typed into a cell is a result like any other; the cell only says who typed it
where, and holds the first of two entries until the second agrees.
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


class FirstEntry(Identified, Created, Base):
    """The first of two entries of a test that is typed twice; it is no result. Gone when the second agreed."""

    __tablename__ = "lab_first_entry"
    __table_args__ = (UniqueConstraint("specimen_id", "test_id"),)

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"))
    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"))
    text: Mapped[str]
    """As it was read: two ways to write one value agree."""
    typed: Mapped[str]
    entered_by: Mapped[uuid.UUID]
    entered_by_name: Mapped[str]


class DoubleEntry(Base):
    """Tests whose typed values count only when they were typed twice alike."""

    __tablename__ = "lab_double_entry"

    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"), primary_key=True)
    two_persons: Mapped[bool]
    """The second entry is another person's."""
    set_by: Mapped[str]
    set_at: Mapped[datetime]
