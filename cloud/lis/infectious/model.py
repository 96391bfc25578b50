"""Tables of the screening: diseases and markers as dated data, cases with their evidence and every step, cards.

A case is one person's episode of one disease: ten positive values of it are one case. Steps are appended; a case is
closed by a step and opened again by one with a reason.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, Sequence, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.hospital.model import Department
from cloud.kit.db import Base, Created, Identified
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import Order
from cloud.lis.reports.model import Report
from cloud.lis.results.model import Result
from cloud.people.model import Person

case_numbers = Sequence("lab_infectious_case_seq", metadata=Base.metadata)


class Disease(Identified, Created, Base):
    """A notifiable disease as the list had it from a day on. `deadline_hours`: from the finding to the card."""

    __tablename__ = "lab_infectious_disease"
    __table_args__ = (
        UniqueConstraint("code", "valid_from"),
        CheckConstraint("source <> ''", name="source_named"),
        CheckConstraint("deadline_hours > 0 AND episode_days > 0", name="positive"),
    )

    code: Mapped[str] = mapped_column(String(32))
    name: Mapped[str]
    name_en: Mapped[str]
    legal_class: Mapped[str] = mapped_column(String(1))
    """A, B or C (甲、乙、丙类)."""
    deadline_hours: Mapped[int]
    episode_days: Mapped[int]
    """Positive values within so many days of the last one belong to one case."""
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    source: Mapped[str]
    state: Mapped[str] = mapped_column(String(16))
    set_by: Mapped[str] = mapped_column(default="system", server_default="system")
    """Who wrote it, who may not approve it; ``system``: it came with the product."""


class Condition(StrEnum):
    """When a value opens a case."""

    POSITIVE = "positive"
    """A word or grade that laboratories use for it; weakly positive counts."""
    DETECTED = "detected"
    """A number above its limit of detection, or a positive word."""
    ABOVE = "above"
    """A number above `threshold`."""
    TITRE = "titre"
    """A titre of 1:`threshold` or higher."""


class Marker(Identified, Created, Base):
    """Which value of which test hints at which disease; the newest row of test and disease is in force."""

    __tablename__ = "lab_infectious_marker"
    __table_args__ = (
        CheckConstraint("source <> ''", name="source_named"),
        Index("ix_lab_infectious_marker_test", "test_id", "disease"),
    )

    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Test.id))
    disease: Mapped[str] = mapped_column(String(32))
    condition: Mapped[str] = mapped_column(String(12))
    threshold: Mapped[Decimal | None] = mapped_column(Numeric(18, 6))
    screening: Mapped[bool]
    """A screening test: the finding waits for a confirmation."""
    hint: Mapped[str]
    source: Mapped[str]
    state: Mapped[str] = mapped_column(String(16))
    active: Mapped[bool] = mapped_column(default=True)
    """False: from now on this value opens nothing."""
    set_by: Mapped[str]


class CaseState(StrEnum):
    OPEN = "open"
    """Nobody has told the doctor yet."""
    TOLD = "told"
    REPORTED = "reported"
    DISMISSED = "dismissed"
    DUPLICATE = "duplicate"


OPEN_STATES = (CaseState.OPEN, CaseState.TOLD)


class InfectiousCase(Identified, Created, Base):
    """One person's episode of one disease."""

    __tablename__ = "lab_infectious_case"
    __table_args__ = (
        Index("ix_lab_infectious_case_person", "person_id", "disease", "last_at"),
        Index("ix_lab_infectious_case_due", "due_at", postgresql_where=text("state IN ('open', 'told')")),
        CheckConstraint("(state = 'duplicate') = (duplicate_of IS NOT NULL)", name="duplicate_named"),
    )

    number: Mapped[int] = mapped_column(unique=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id))
    disease: Mapped[str] = mapped_column(String(32))
    disease_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Disease.id))
    """The list's row that was in force when it was found."""
    screening: Mapped[bool]
    """All evidence so far is of screening tests."""
    order_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Order.id))
    department_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Department.id))
    state: Mapped[CaseState] = mapped_column(String(12), default=CaseState.OPEN)
    found_at: Mapped[datetime]
    """Release of the first positive value; the clock runs from here."""
    last_at: Mapped[datetime]
    """Release of the last one."""
    due_at: Mapped[datetime]
    told_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    duplicate_of: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_infectious_case.id"))
    withdrawn: Mapped[bool] = mapped_column(default=False)
    """The report the evidence stood in was changed or recalled and no positive value is left."""
    version: Mapped[int] = mapped_column(default=1)


class CaseEvidence(Identified, Base):
    """One positive value of a case, as it was released."""

    __tablename__ = "lab_infectious_evidence"
    __table_args__ = (UniqueConstraint("case_id", "result_id"),)

    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(InfectiousCase.id), index=True)
    result_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Result.id), index=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id), index=True)
    marker_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Marker.id))
    test_name: Mapped[str]
    value: Mapped[str]
    unit: Mapped[str]
    released_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    """The value was amended away or its report recalled."""


class CaseStep(Identified, Base):
    """What was done about a case: append-only (the database refuses change and deletion)."""

    __tablename__ = "lab_infectious_step"

    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(InfectiousCase.id), index=True)
    what: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
    by: Mapped[str]
    by_name: Mapped[str]
    reason: Mapped[str] = mapped_column(String(32), default="")
    note: Mapped[str] = mapped_column(default="")
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)


class CardSource(StrEnum):
    HERE = "here"
    HIS = "his"


class ReportCard(Identified, Created, Base):
    """A report card (传染病报告卡): filled in here, or told by the HIS. Never changed; a correction is a new card."""

    __tablename__ = "lab_infectious_card"
    __table_args__ = (
        Index("uq_lab_infectious_card_number", "source", "number", unique=True),
        Index("ix_lab_infectious_card_person", "person_id", "disease"),
    )

    number: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(String(8))
    case_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(InfectiousCase.id), index=True)
    """None: no finding of the laboratory belongs to it."""
    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
    mrn: Mapped[str] = mapped_column(default="")
    name: Mapped[str]
    disease: Mapped[str] = mapped_column(String(32))
    fields: Mapped[dict[str, Any]] = mapped_column(default=dict)
    doctor: Mapped[str]
    reported_at: Mapped[datetime]
    matched_by: Mapped[str] = mapped_column(default="")
    entered_by: Mapped[str]
