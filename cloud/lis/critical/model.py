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
    KNOWN = "known"
    """The ward knows: the limits say that it is not called again, and an earlier case was read back."""


CLOSED = (CriticalState.READ_BACK, CriticalState.CANCELLED, CriticalState.KNOWN)


class CriticalCase(Identified, Base):
    """All critical values of one release of one specimen, or of one message after it."""

    __tablename__ = "lab_critical_case"
    __table_args__ = (
        UniqueConstraint("specimen_id", "report_version"),
        Index(
            "ix_lab_critical_case_open",
            "detected_at",
            postgresql_where=text("state NOT IN ('read_back', 'cancelled', 'known')"),
        ),
        Index("ix_lab_critical_case_person", "person_id", "detected_at"),
        Index("ix_lab_critical_case_detected_at", "detected_at"),
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
    told_at: Mapped[datetime | None]
    """When somebody on the ward first heard of it."""
    read_back_at: Mapped[datetime | None]
    handled_at: Mapped[datetime | None]
    """When the doctor dealt with it, as the ward says."""
    handled_by_name: Mapped[str | None]
    handling: Mapped[str | None]
    known_from_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_critical_case.id"))
    """The earlier case that the ward knows it from."""


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


class CriticalPolicy(Identified, Base):
    """How long the laboratory may take; the newest row is in force. Empty: no limit is watched."""

    __tablename__ = "lab_critical_policy"

    confirm_minutes: Mapped[int | None]
    """From the value's arrival to its confirmation by release."""
    tell_minutes: Mapped[int | None]
    """From the confirmation to the ward's hearing of it: what "in time" means in the statistics."""
    source: Mapped[str]
    valid_from: Mapped[datetime]
    set_by: Mapped[str]
    set_by_name: Mapped[str]


class CriticalLadder(Identified, Base):
    """Whom to send a message when nobody reads back: the newest row of a department, else of all, is in force."""

    __tablename__ = "lab_critical_ladder"
    __table_args__ = (Index("ix_lab_critical_ladder_department", "department_id", "valid_from"),)

    department_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("department.id"))
    steps: Mapped[list[Any]] = mapped_column(default=list)
    """{"after_minutes", "who", "telephone"}, in their order."""
    reason: Mapped[str]
    valid_from: Mapped[datetime]
    set_by: Mapped[str]
    set_by_name: Mapped[str]


class CriticalEscalation(Identified, Base):
    """One step of a ladder that was taken for a case: once."""

    __tablename__ = "lab_critical_escalation"
    __table_args__ = (UniqueConstraint("case_id", "position"),)

    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_critical_case.id"), index=True)
    position: Mapped[int]
    at: Mapped[datetime]
    who: Mapped[str]
    telephone: Mapped[str]
    """Masked."""
    delivery_id: Mapped[uuid.UUID | None]
    """The message; none: no channel was set up, the step stands on the screens only."""
