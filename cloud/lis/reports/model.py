"""Reports of specimens: a chain of frozen versions. A version never changes; amending adds one, recalling marks it."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit import clock
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


class ReportForm(Identified, Base):
    """A version of a form that reports are made out on (`forms.FormSettings`). Append-only: the newest version of a
    code rules for what is released from now on, and a report keeps the version it was released with.
    """

    __tablename__ = "lab_report_form"
    __table_args__ = (UniqueConstraint("code", "version"),)

    code: Mapped[str] = mapped_column(String(32))
    version: Mapped[int]
    name: Mapped[str]
    name_en: Mapped[str]
    position: Mapped[int]
    active: Mapped[bool]
    settings: Mapped[dict[str, Any]]
    set_by: Mapped[str]
    set_by_name: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=clock.now)


class ReportSource(Base):
    """The typesetting source of reports by its hash, kept when the first report is released with it. Append-only."""

    __tablename__ = "lab_report_source"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    engine: Mapped[str]
    """Name and version of the typesetter that it was first used with."""
    at: Mapped[datetime] = mapped_column(default=clock.now)


class SignatureImage(Identified, Base):
    """A person's handwritten signature as an image, for the paper. Append-only: the newest row of a person rules, one
    without an image withdraws it; reports name theirs by its hash.
    """

    __tablename__ = "lab_signature_image"
    __table_args__ = (Index("ix_lab_signature_image_staff_id_at", "staff_id", "at"),)

    staff_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    media_type: Mapped[str | None]
    data: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    set_by: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=clock.now)
