"""Who sees patients when: published clinic sessions, the weekly patterns and settings they are published from."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, Index, and_, or_, text
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.sql.elements import ColumnElement

from cloud.kit.db import Base, Created, Identified

if TYPE_CHECKING:
    from cloud.hospital.model import Department, Doctor


class Half(StrEnum):
    MORNING = "morning"
    AFTERNOON = "afternoon"
    EVENING = "evening"


class SessionKind(StrEnum):
    EXPERT = "expert"
    GENERAL = "general"


class SessionState(StrEnum):
    OPEN = "open"
    STOPPED = "stopped"
    """It does not take place (停诊). Final: whoever had a number has been told."""
    CLOSED = "closed"
    """It takes place, but no further number is given."""


class Owner(StrEnum):
    OURS = "ours"
    HIS = "his"
    """The HIS gives the numbers; each is locked there before money is asked for."""


HALVES = tuple(str(each) for each in Half)
KINDS = tuple(str(each) for each in SessionKind)
STATES = tuple(str(each) for each in SessionState)
OWNERS = tuple(str(each) for each in Owner)
WEEKS = ("every", "odd", "even")
MOST_NUMBERS = 500


class ClinicSession(Identified, Created, Base):
    """One half-day of one doctor, or of a department's ordinary clinic (出诊). `code` is its owner's key."""

    __tablename__ = "clinic_session"
    __table_args__ = (
        CheckConstraint(f"half IN {HALVES}", name="half"),
        CheckConstraint(f"kind IN {KINDS}", name="kind"),
        CheckConstraint(f"owner IN {OWNERS}", name="owner"),
        CheckConstraint(f"state IN {STATES}", name="state"),
        CheckConstraint("starts_at < ends_at", name="times"),
        CheckConstraint(f"capacity BETWEEN 0 AND {MOST_NUMBERS}", name="capacity"),
        CheckConstraint("segment_minutes BETWEEN 5 AND 480", name="segment"),
        CheckConstraint("fee_fen >= 0", name="fee"),
        CheckConstraint("kind = 'general' OR doctor_id IS NOT NULL", name="expert"),
        CheckConstraint("substitute_id IS NULL OR doctor_id IS NOT NULL", name="substitute"),
        CheckConstraint("(state = 'stopped') = (stopped_why IS NOT NULL)", name="stopped"),
        Index("ix_clinic_session_department_day", "department_id", "day"),
        Index("ix_clinic_session_doctor_day", "doctor_id", "day"),
        Index(
            "ix_clinic_session_substitute_day",
            "substitute_id",
            "day",
            postgresql_where=text("substitute_id IS NOT NULL"),
        ),
        Index("ix_clinic_session_day", "day"),
    )

    code: Mapped[str] = mapped_column(unique=True)
    department_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("department.id"))
    doctor_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("doctor.id"))
    """None: the department's ordinary clinic (普通门诊), whoever sits there."""
    day: Mapped[date]
    half: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    kind: Mapped[str]
    fee_fen: Mapped[int]
    owner: Mapped[str] = mapped_column(default=Owner.OURS)
    capacity: Mapped[int]
    segment_minutes: Mapped[int]
    """Numbers are spread over segments of this length, so that people come when it is their turn."""
    release_at: Mapped[datetime]
    """Nobody may book before (放号)."""
    place: Mapped[str] = mapped_column(default="")
    state: Mapped[str] = mapped_column(default=SessionState.OPEN)
    substitute_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("doctor.id"))
    """Who sits there in the doctor's place (替诊)."""
    substituted_why: Mapped[str | None]
    stopped_why: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=1)
    """Rises with each change."""
    department: Mapped[Department] = relationship()
    doctor: Mapped[Doctor | None] = relationship(foreign_keys=[doctor_id])
    substitute: Mapped[Doctor | None] = relationship(foreign_keys=[substitute_id])

    @property
    def acting_id(self) -> uuid.UUID | None:
        """Who really sits there."""
        return self.substitute_id or self.doctor_id

    @property
    def acting(self) -> Doctor | None:
        return self.substitute or self.doctor

    def bookable_at(self, now: datetime) -> bool:
        """The schedule alone: released, not over, neither stopped nor closed. Numbers may be gone all the same."""
        return self.state == SessionState.OPEN and self.release_at <= now < self.ends_at


def is_bookable(now: datetime) -> ColumnElement[bool]:
    """`ClinicSession.bookable_at` for a statement."""
    return and_(ClinicSession.state == SessionState.OPEN, ClinicSession.release_at <= now, ClinicSession.ends_at > now)


def sits(doctor_id: uuid.UUID) -> ColumnElement[bool]:
    """`acting_id` is this doctor, for a statement; by the indexes of both columns."""
    own = and_(ClinicSession.doctor_id == doctor_id, ClinicSession.substitute_id.is_(None))
    return or_(own, ClinicSession.substitute_id == doctor_id)


class SessionPattern(Identified, Created, Base):
    """A line of the weekly timetable, from which sessions are published ahead (排班模板)."""

    __tablename__ = "session_pattern"
    __table_args__ = (
        CheckConstraint("weekday BETWEEN 1 AND 7", name="weekday"),
        CheckConstraint(f"half IN {HALVES}", name="half"),
        CheckConstraint(f"kind IN {KINDS}", name="kind"),
        CheckConstraint(f"weeks IN {WEEKS}", name="weeks"),
        CheckConstraint("starts < ends", name="times"),
        CheckConstraint(f"capacity BETWEEN 1 AND {MOST_NUMBERS}", name="capacity"),
        CheckConstraint("segment_minutes BETWEEN 5 AND 480", name="segment"),
        CheckConstraint("fee_fen >= 0", name="fee"),
        CheckConstraint("kind = 'general' OR doctor_id IS NOT NULL", name="expert"),
    )

    department_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("department.id"), index=True)
    doctor_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("doctor.id"), index=True)
    weekday: Mapped[int]
    """1 Monday … 7 Sunday."""
    weeks: Mapped[str] = mapped_column(default="every")
    """Every week, or those with an odd or even ISO number (单周, 双周)."""
    half: Mapped[str]
    starts: Mapped[time]
    ends: Mapped[time]
    kind: Mapped[str]
    fee_fen: Mapped[int]
    capacity: Mapped[int]
    segment_minutes: Mapped[int]
    place: Mapped[str] = mapped_column(default="")
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    """The last day it holds for; None: until further notice."""
    department: Mapped[Department] = relationship()
    doctor: Mapped[Doctor | None] = relationship()


class Holiday(Base):
    """A day on which the timetable of its weekday does not hold (节假日与调休)."""

    __tablename__ = "holiday"
    __table_args__ = (CheckConstraint("works_as BETWEEN 1 AND 7", name="works_as"),)

    day: Mapped[date] = mapped_column(primary_key=True)
    name: Mapped[str]
    works_as: Mapped[int | None]
    """None: no clinic by the timetable; 1 to 7: that weekday's timetable."""
    source: Mapped[str] = mapped_column(default="hospital")
    """``statutory`` (the State Council's calendar) or ``hospital``; what the hospital wrote is never overwritten."""


class ClinicSettings(Base):
    """How far ahead sessions are published and released, and what is proposed for new ones. One row."""

    __tablename__ = "clinic_settings"
    __table_args__ = (CheckConstraint("id = 1", name="one"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    horizon_days: Mapped[int] = mapped_column(default=21)
    release_days: Mapped[int] = mapped_column(default=7)
    release_time: Mapped[time] = mapped_column(default=time(7))
    morning_starts: Mapped[time] = mapped_column(default=time(8))
    morning_ends: Mapped[time] = mapped_column(default=time(12))
    afternoon_starts: Mapped[time] = mapped_column(default=time(14))
    afternoon_ends: Mapped[time] = mapped_column(default=time(17, 30))
    evening_starts: Mapped[time] = mapped_column(default=time(18))
    evening_ends: Mapped[time] = mapped_column(default=time(20, 30))
    fee_chief: Mapped[int] = mapped_column(default=50_00)
    fee_associate: Mapped[int] = mapped_column(default=30_00)
    fee_attending: Mapped[int] = mapped_column(default=15_00)
    fee_resident: Mapped[int] = mapped_column(default=10_00)
    fee_general: Mapped[int] = mapped_column(default=10_00)


class DepartmentRelease(Base):
    """A department that releases its numbers at other times than the hospital."""

    __tablename__ = "department_release"

    department_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("department.id"), primary_key=True)
    release_days: Mapped[int]
    release_time: Mapped[time]
