"""Reports of specimens: a chain of frozen versions. A version never changes; amending adds one, recalling marks it."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified


class ReportState(StrEnum):
    PRELIMINARY = "preliminary"
    """Some ordered tests are still missing."""
    FINAL = "final"
    AMENDED = "amended"
    RECALLED = "recalled"


class Report(Identified, Created, Base):
    """The report of one specimen; the marks are those of its current version, set in the release transaction."""

    __tablename__ = "lab_report"
    __table_args__ = (
        Index("ix_lab_report_person_id_released_at", "person_id", "released_at"),
        Index("ix_lab_report_released_at", "released_at"),
    )

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), unique=True)
    order_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_order.id"), index=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    campus_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("campus.id"))
    state: Mapped[ReportState] = mapped_column(String(12))
    version: Mapped[int]
    """The current version, from 1."""
    contains_critical: Mapped[bool]
    sensitive: Mapped[bool]
    released_at: Mapped[datetime]
    """Release of the current version; earlier ones stand in their `ReportVersion`."""
    disclosed_at: Mapped[datetime | None]
    """When a clinician released a sensitive report to the patient."""
    disclosed_by: Mapped[str | None]
    recalled_at: Mapped[datetime | None]
    recalled_reason: Mapped[str | None]


class ReportVersion(Identified, Base):
    """One release, frozen: `content` is all that was printed; the PDF is made from it once and kept with its hash."""

    __tablename__ = "lab_report_version"
    __table_args__ = (UniqueConstraint("report_id", "version"),)

    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_report.id"))
    version: Mapped[int]
    kind: Mapped[ReportState] = mapped_column(String(12))
    content: Mapped[dict[str, Any]]
    content_sha256: Mapped[str] = mapped_column(String(64))
    draft: Mapped[bool]
    contains_critical: Mapped[bool]
    sensitive: Mapped[bool]
    released_at: Mapped[datetime]
    released_by: Mapped[uuid.UUID]
    released_by_name: Mapped[str]
    reason: Mapped[str | None]
    """Why it was amended."""
    pdf: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    pdf_sha256: Mapped[str | None] = mapped_column(String(64))


class DisclosurePolicy(Identified, Base):
    """The director's limits for disclosure to patients. Append-only: the newest row rules."""

    __tablename__ = "lab_disclosure_policy"

    critical_after_minutes: Mapped[int | None]
    """A critical report is disclosed this long after its release also without read-back; empty: it waits."""
    set_by: Mapped[str]
    reason: Mapped[str]
    valid_from: Mapped[datetime]
