"""What the hospital has settled about bookings, who waits for a number, and who may not book for a while."""

from __future__ import annotations

import uuid
from datetime import datetime, time

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified

WAITING_STATES = ("waiting", "offered", "taken", "passed", "withdrawn", "over")
BLOCK_CAUSES = ("no_shows", "staff")
APPEALS = ("open", "granted", "refused")


class RegistrationSettings(Base):
    """Limits and times of registration. One row; without it these defaults hold."""

    __tablename__ = "registration_settings"
    __table_args__ = (
        CheckConstraint("id = 1", name="one"),
        CheckConstraint("hold_s > 0 AND offer_minutes > 0", name="times"),
        CheckConstraint("return_min_minutes BETWEEN 0 AND return_max_minutes", name="returned"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    hold_s: Mapped[int] = mapped_column(default=15 * 60)
    """How long an unpaid number is kept (seconds)."""
    open_per_person: Mapped[int] = mapped_column(default=3)
    per_department_day: Mapped[int] = mapped_column(default=1)
    per_doctor_day: Mapped[int] = mapped_column(default=1)
    per_day: Mapped[int] = mapped_column(default=2)
    per_month: Mapped[int] = mapped_column(default=8)
    """Bookings of one person whose visit lies in the same month, cancelled ones too."""
    cancel_before_minutes: Mapped[int] = mapped_column(default=30)
    """By phone until so long before the segment begins; afterwards at the window."""
    changes_per_booking: Mapped[int] = mapped_column(default=2)
    """How often a patient may choose another time; 0: never."""
    return_min_minutes: Mapped[int] = mapped_column(default=5)
    return_max_minutes: Mapped[int] = mapped_column(default=30)
    """A cancelled number is free again after a random time between these."""
    offer_minutes: Mapped[int] = mapped_column(default=20)
    waiting_per_session: Mapped[int] = mapped_column(default=30)
    marks_no_shows: Mapped[bool] = mapped_column(default=False)
    """Whoever did not arrive is marked at the session's end. Only where every arrival is recorded."""
    no_shows: Mapped[int] = mapped_column(default=3)
    no_show_days: Mapped[int] = mapped_column(default=365)
    blocked_days: Mapped[int] = mapped_column(default=90)
    """So many missed visits within so many days block booking by phone for so many days."""
    remind_at: Mapped[time] = mapped_column(default=time(18))
    """On the day before, by the hospital's clock."""
    choose_hours: Mapped[int] = mapped_column(default=24)
    """After a stop, before the money goes back by itself; never later than the session would have begun."""


class WaitingEntry(Identified, Created, Base):
    """Somebody who wants a number of a full session (候补); offered one, they have a limited time to take it."""

    __tablename__ = "booking_waiting"
    __table_args__ = (
        CheckConstraint(f"state IN {WAITING_STATES}", name="state"),
        CheckConstraint("(state = 'offered') <= (offer_until IS NOT NULL)", name="offer"),
        Index(
            "uq_booking_waiting_live",
            "person_id",
            "clinic_session_id",
            unique=True,
            postgresql_where=text("state IN ('waiting', 'offered')"),
        ),
        Index(
            "ix_booking_waiting_line",
            "clinic_session_id",
            "created_at",
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_booking_waiting_account", "account_id", "created_at"),
        Index("ix_booking_waiting_offer", "offer_until", postgresql_where=text("state = 'offered'")),
    )

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("patient_account.id"))
    clinic_session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("clinic_session.id"))
    state: Mapped[str] = mapped_column(default="waiting")
    offered_at: Mapped[datetime | None]
    offer_until: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class BookingBlock(Identified, Created, Base):
    """A person who may not book by phone until a day, why, and what became of their appeal."""

    __tablename__ = "booking_block"
    __table_args__ = (
        CheckConstraint(f"cause IN {BLOCK_CAUSES}", name="cause"),
        CheckConstraint(f"appeal_state IN {APPEALS}", name="appeal"),
        Index("ix_booking_block_person", "person_id", "until"),
        Index("ix_booking_block_appeal", "created_at", postgresql_where=text("appeal_state = 'open'")),
    )

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    cause: Mapped[str]
    note: Mapped[str] = mapped_column(default="")
    by: Mapped[str]
    until: Mapped[datetime]
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[str | None]
    lifted_why: Mapped[str | None]
    appeal: Mapped[str | None]
    """What the patient wrote."""
    appealed_at: Mapped[datetime | None]
    appeal_state: Mapped[str | None]
    appeal_answer: Mapped[str | None]
