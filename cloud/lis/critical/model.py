"""Critical values: one case for each released report version that holds any or message that brought any after the
release, and every contact made about it.

Times are appended (`CriticalContact`); `read_back_at` of the case is the time of the first contact that read back.
The record follows ISO 15189:2022 7.4.1.3: who was told, when, what, and that it was read back.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Identified


class CriticalState(StrEnum):
    DETECTED = "detected"
    """It came after the release: nobody has confirmed it, and nobody on the ward knows yet."""
    CONFIRMED = "confirmed"
    """The releaser confirmed the value; nobody on the ward knows yet."""
    NOTIFIED = "notified"
    """Somebody was reached who did not read back."""
    READ_BACK = "read_back"
    CANCELLED = "cancelled"
    """The value was an error: its report was amended or recalled."""


CLOSED = (CriticalState.READ_BACK, CriticalState.CANCELLED)


class CriticalCase(Identified, Base):
    """All critical values of one release of one specimen, or of one message after it."""

    __tablename__ = "lab_critical_case"
    __table_args__ = (
        UniqueConstraint("specimen_id", "report_version"),
        Index(
            "ix_lab_critical_case_open", "detected_at", postgresql_where=text("state NOT IN ('read_back', 'cancelled')")
        ),
    )

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"))
    order_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_order.id"))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    department_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("department.id"))
    report_version: Mapped[int | None]
    """Empty, like who confirmed it, of values that came after the release."""
    late_result_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_result.id"), unique=True)
    """The first of the values that one message brought after the release."""
    values: Mapped[list[Any]]
    """Snapshot: code, name, value, unit, flag and the limit that was crossed."""
    state: Mapped[CriticalState] = mapped_column(String(12), default=CriticalState.CONFIRMED)
    detected_at: Mapped[datetime]
    """When the first of its values arrived."""
    confirmed_at: Mapped[datetime | None]
    confirmed_by: Mapped[uuid.UUID | None]
    confirmed_by_name: Mapped[str | None]
    read_back_at: Mapped[datetime | None]


class CriticalContact(Identified, Base):
    """One attempt to tell the ward: who called whom, and whether the value was read back."""

    __tablename__ = "lab_critical_contact"

    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_critical_case.id"), index=True)
    at: Mapped[datetime]
    by: Mapped[uuid.UUID]
    by_name: Mapped[str]
    told: Mapped[str]
    """Name and role of the person who was reached; "" when nobody was."""
    telephone: Mapped[str | None]
    outcome: Mapped[str] = mapped_column(String(12))
    """read_back, no_read_back or not_reached."""
    note: Mapped[str | None]
