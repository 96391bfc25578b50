"""The change record of the catalogue (变更记录): who changed what, when, what it was, why, and who approved it."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Identified


class ChangeState(StrEnum):
    """What became of a change somebody made."""

    WAITING = "waiting"
    """For the director: an approved row is not touched before; a new draft stands beside it already."""
    APPROVED = "approved"
    """Approved, and waiting for its day."""
    APPLIED = "applied"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    """Written over by a later change before anybody decided."""


class CatalogChange(Identified, Base):
    """The change record: who, when, what it was, what it is to be, why, and who approved it. Never deleted."""

    __tablename__ = "lab_catalog_change"
    __table_args__ = (
        Index("ix_lab_catalog_change_subject", "kind", "subject_id", "made_at"),
        Index("ix_lab_catalog_change_open", "made_at", postgresql_where=text("state IN ('waiting', 'approved')")),
        Index(
            "uq_lab_catalog_change_open",
            "kind",
            "subject_id",
            unique=True,
            postgresql_where=text("state IN ('waiting', 'approved')"),
        ),
        CheckConstraint("decided_by IS NULL OR decided_by <> made_by", name="two_persons"),
    )

    kind: Mapped[str] = mapped_column(String(16))
    """test, panel, tube, channel, range, critical or goal."""
    subject_id: Mapped[uuid.UUID]
    label: Mapped[str]
    """The subject as a person names it: "K 钾", "XN-1 · WBC"."""
    test_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_test.id"), index=True)
    before: Mapped[dict[str, Any] | None]
    """Only what changed. None: the row is new."""
    after: Mapped[dict[str, Any]]
    reason: Mapped[str]
    origin: Mapped[str] = mapped_column(String(16), default="page")
    """page or sheet."""
    valid_from: Mapped[date]
    state: Mapped[str] = mapped_column(String(12), default=ChangeState.WAITING)
    made_by: Mapped[str]
    made_by_name: Mapped[str]
    made_at: Mapped[datetime]
    decided_by: Mapped[str | None]
    decided_by_name: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    decided_reason: Mapped[str | None]
    applied_at: Mapped[datetime | None]


class CatalogImport(Identified, Base):
    """A workbook that was looked at, and perhaps applied: the file stays, so that what came from it can be traced."""

    __tablename__ = "lab_catalog_import"

    file_name: Mapped[str]
    data: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str]
    made_by: Mapped[str]
    made_by_name: Mapped[str]
    made_at: Mapped[datetime] = mapped_column(index=True)
    applied_at: Mapped[datetime | None]
    lines: Mapped[int | None]
    """Rows that were new or changed."""
