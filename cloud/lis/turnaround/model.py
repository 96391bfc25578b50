"""Tables of turnaround. `SpecimenTimes` is derived: `times.refresh` can make it again at any time.

Targets, hours and causes are decisions of people: appended, dated, never overwritten.
"""

from __future__ import annotations

import uuid
from datetime import datetime, time
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, String, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from cloud.hospital.model import Department
from cloud.kit.db import Base, Created, Identified
from cloud.lis.catalog.model import Test
from cloud.lis.orders.model import Order
from cloud.lis.specimens.model import Specimen
from cloud.web.i18n import mark as N_


class SpecimenTimes(Base):
    """When one specimen passed each point; empty: it did not, or nobody wrote it down."""

    __tablename__ = "lab_turnaround"
    __table_args__ = (
        Index("ix_lab_turnaround_received_at", "received_at"),
        Index("ix_lab_turnaround_released_at", "released_at"),
    )

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Specimen.id), primary_key=True)
    order_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Order.id))
    department_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Department.id))
    priority: Mapped[str] = mapped_column(String(1))
    sections: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    """Of its tests, sorted."""
    ordered_at: Mapped[datetime | None]
    printed_at: Mapped[datetime | None]
    collected_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    received_at: Mapped[datetime | None]
    loaded_at: Mapped[datetime | None]
    """First on an analyzer, where a track told of it."""
    resulted_at: Mapped[datetime | None]
    """When the last of the values that were first reported had arrived."""
    reviewed_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]
    """The first final report; amended ones do not move it."""
    target_minutes: Mapped[int | None]
    """The tightest of its tests' targets, as it was in force at the target's start."""
    target_from: Mapped[str | None] = mapped_column(String(12))
    breached: Mapped[bool | None] = mapped_column(
        Computed(
            "CASE target_from"
            " WHEN 'ordered' THEN released_at - ordered_at > target_minutes * interval '1 minute'"
            " WHEN 'collected' THEN released_at - collected_at > target_minutes * interval '1 minute'"
            " WHEN 'received' THEN released_at - received_at > target_minutes * interval '1 minute' END",
            persisted=True,
        )
    )


class TurnaroundTarget(Identified, Created, Base):
    """How long it may take from `start` to the release; the newest row of a scope whose time has come is in force."""

    __tablename__ = "lab_turnaround_target"
    __table_args__ = (
        CheckConstraint("minutes > 0", name="minutes_positive"),
        CheckConstraint("source <> ''", name="source_named"),
        CheckConstraint("test_id IS NULL OR section = ''", name="one_scope"),
        Index("ix_lab_turnaround_target_scope", "priority", "valid_from"),
    )

    test_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Test.id))
    section: Mapped[str] = mapped_column(String(32), default="")
    """Empty together with `test_id`: every test that has none of its own."""
    department_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Department.id))
    """Empty: all departments."""
    priority: Mapped[str] = mapped_column(String(1))
    start: Mapped[str] = mapped_column(String(12))
    minutes: Mapped[int | None]
    """None: from now on there is no target here."""
    source: Mapped[str]
    state: Mapped[str] = mapped_column(String(16))
    valid_from: Mapped[datetime]
    set_by: Mapped[str]
    set_by_name: Mapped[str]


class Cause(StrEnum):
    """Why a report came late, as the laboratory counts it."""

    SPECIMEN = "specimen"
    RERUN = "rerun"
    INSTRUMENT = "instrument"
    QC = "qc"
    REAGENT = "reagent"
    CROWD = "crowd"
    STAFF = "staff"
    REVIEW = "review"
    NETWORK = "network"
    ADDED = "added"
    OTHER = "other"


CAUSE_NAMES = {
    Cause.SPECIMEN: N_("标本问题（溶血、凝块、量少、重采）"),
    Cause.RERUN: N_("复检或稀释"),
    Cause.INSTRUMENT: N_("仪器故障或维护"),
    Cause.QC: N_("质控失控"),
    Cause.REAGENT: N_("试剂或校准"),
    Cause.CROWD: N_("标本集中到达"),
    Cause.STAFF: N_("人员不足"),
    Cause.REVIEW: N_("等待审核"),
    Cause.NETWORK: N_("信息系统或网络"),
    Cause.ADDED: N_("加做项目"),
    Cause.OTHER: N_("其他"),
}


class TurnaroundCause(Identified, Base):
    """What somebody found to be the reason of one late specimen; the newest row counts."""

    __tablename__ = "lab_turnaround_cause"

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Specimen.id), index=True)
    cause: Mapped[str] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime]
    by: Mapped[str]
    by_name: Mapped[str]


class StageHistory(Base):
    """How long it took from a point to the release lately; made anew each night."""

    __tablename__ = "lab_turnaround_history"

    section: Mapped[str] = mapped_column(String(32), primary_key=True)
    """Empty: all sections."""
    priority: Mapped[str] = mapped_column(String(1), primary_key=True)
    point: Mapped[str] = mapped_column(String(12), primary_key=True)
    count: Mapped[int]
    quantiles: Mapped[list[Any]]
    """101 numbers, minutes."""
    days: Mapped[int]
    made_at: Mapped[datetime]


class WorkingHours(Identified, Base):
    """The day shift that "working time" counts; the newest row is in force."""

    __tablename__ = "lab_turnaround_hours"

    opens: Mapped[time]
    closes: Mapped[time]
    days: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    closed: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """Holidays, ISO days."""
    set_at: Mapped[datetime]
    set_by: Mapped[str]
    reason: Mapped[str]
