"""Tables of the environment: the points that devices measure, every reading, every alarm and who dealt with it.

ISO 15189:2022 6.3.3 asks for records of environmental conditions: readings are appended and never changed, an alarm
keeps when it began and ended and gets its acknowledgement once.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Index, Numeric, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified


class EnvironmentPoint(Identified, Created, Base):
    """One point of one device on one line, with what it read last."""

    __tablename__ = "lab_environment_point"
    __table_args__ = (UniqueConstraint("gateway", "link", "device", "name", name="uq_lab_environment_point_place"),)

    gateway: Mapped[str] = mapped_column(String(64))
    link: Mapped[str] = mapped_column(String(64))
    device: Mapped[str]
    """As the box's configuration names it; the line's name where it names none."""
    name: Mapped[str]
    unit: Mapped[str | None]
    value: Mapped[str | None]
    """As read; empty: the device could not say, `alarms` says why."""
    number: Mapped[Decimal | None] = mapped_column(Numeric)
    alarms: Mapped[list[Any]] = mapped_column(default=list)
    observed_at: Mapped[datetime]


class EnvironmentReading(Identified, Base):
    """One reading; the box leaves out what did not change."""

    __tablename__ = "lab_environment_reading"
    __table_args__ = (
        UniqueConstraint("inbox_id", "ordinal"),
        Index("ix_lab_environment_reading_point_id_observed_at", "point_id", "observed_at"),
    )

    point_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(EnvironmentPoint.id))
    inbox_id: Mapped[uuid.UUID]
    """The message with the raw answers."""
    ordinal: Mapped[int]
    value: Mapped[str | None]
    number: Mapped[Decimal | None] = mapped_column(Numeric)
    unit: Mapped[str | None]
    alarms: Mapped[list[Any]] = mapped_column(default=list)
    observed_at: Mapped[datetime]
    received_at: Mapped[datetime]


class EnvironmentAlarm(Identified, Base):
    """One alarm of one point from its begin to its end. Over only when it has ended and somebody has dealt with it."""

    __tablename__ = "lab_environment_alarm"
    __table_args__ = (
        Index(
            "uq_lab_environment_alarm_standing",
            "point_id",
            "alarm",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "ix_lab_environment_alarm_open",
            "began_at",
            postgresql_where=text("ended_at IS NULL OR acknowledged_at IS NULL"),
        ),
    )

    point_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(EnvironmentPoint.id), index=True)
    alarm: Mapped[str]
    began_at: Mapped[datetime]
    began_value: Mapped[str | None]
    worst_value: Mapped[str | None]
    """The value farthest from the beginning on the alarm's side, for `high` and `low`."""
    worst_number: Mapped[Decimal | None] = mapped_column(Numeric)
    ended_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[uuid.UUID | None]
    acknowledged_by_name: Mapped[str | None]
    reason: Mapped[str | None]
    """What was found and done, in the words of who acknowledged it."""
