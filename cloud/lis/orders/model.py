"""Tables of orders. Progress of an order is read from its items, not stored a second time."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, Sequence, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.hospital.model import Campus, Department
from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.lis.catalog.model import Panel, Test
from cloud.people.model import Person

order_numbers = Sequence("lab_order_number_seq", start=100_000, metadata=Base.metadata)


class OrderSource(StrEnum):
    HIS = "his"
    MANUAL = "manual"


class Priority(StrEnum):
    ROUTINE = "R"
    STAT = "S"


class OrderState(StrEnum):
    PLACED = "placed"
    CANCELLED = "cancelled"


class ItemState(StrEnum):
    """The road of one ordered test."""

    ORDERED = "ordered"
    COLLECTED = "collected"
    RECEIVED = "received"
    RESULTED = "resulted"
    RELEASED = "released"
    CANCELLED = "cancelled"


ITEM_MOVES: dict[ItemState, frozenset[ItemState]] = {
    ItemState.ORDERED: frozenset({ItemState.COLLECTED, ItemState.RECEIVED, ItemState.CANCELLED}),
    ItemState.COLLECTED: frozenset({ItemState.RECEIVED, ItemState.ORDERED, ItemState.CANCELLED}),
    ItemState.RECEIVED: frozenset({ItemState.RESULTED, ItemState.ORDERED, ItemState.CANCELLED}),
    ItemState.RESULTED: frozenset({ItemState.RELEASED, ItemState.RECEIVED, ItemState.ORDERED, ItemState.CANCELLED}),
    ItemState.RELEASED: frozenset(),
    ItemState.CANCELLED: frozenset(),
}
"""Back to ORDERED is a rejected specimen waiting for its re-collection; RESULTED to RECEIVED a result taken back."""


class Order(Identified, Created, Base):
    """One request of one department for one person."""

    __tablename__ = "lab_order"
    __table_args__ = (
        UniqueConstraint("source", "placer_number", name="uq_lab_order_placer"),
        Index("ix_lab_order_ordered_at", "ordered_at"),
        Index("ix_lab_order_department_id_ordered_at", "department_id", "ordered_at"),
        Index("ix_lab_order_ordered_by_ordered_at", "ordered_by", "ordered_at"),
        Index("ix_lab_order_visit_number", "visit_number", postgresql_where=text("visit_number IS NOT NULL")),
    )

    number: Mapped[str] = mapped_column(String(16), unique=True)
    """Our own number of the order, digits with a check digit."""
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id), index=True)
    department_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Department.id))
    campus_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Campus.id))
    source: Mapped[str] = mapped_column(String(16))
    placer_number: Mapped[str] = mapped_column(String(64))
    """The number of who placed it; the same number of the same source is the same order."""
    priority: Mapped[str] = mapped_column(String(1), default=Priority.ROUTINE)
    state: Mapped[str] = mapped_column(String(16), default=OrderState.PLACED)
    ordered_at: Mapped[datetime]
    ordered_by: Mapped[str]
    visit_number: Mapped[str | None] = mapped_column(String(64))
    bed: Mapped[str | None] = mapped_column(String(32))
    """Where the patient lay when it was ordered."""
    diagnosis: Mapped[str | None]
    cycle_phase: Mapped[str] = mapped_column(String(16), default="")
    """What the ward says of the cycle (`catalog.model.Phase`); "" not said. It chooses reference ranges."""
    gestation_weeks: Mapped[int | None]
    """Completed weeks of pregnancy on the day of the order."""
    collect_at: Mapped[datetime | None]
    """When it is to be drawn, where the order says so (定时采集); none: at any time."""
    cancelled_at: Mapped[datetime | None]
    cancel_reason: Mapped[str | None]


class OrderItem(Identified, Created, Base):
    """One test of an order. `panel_id`: the panel it was ordered with."""

    __tablename__ = "lab_order_item"
    __table_args__ = (
        Index(
            "uq_lab_order_item_live_test",
            "order_id",
            "test_id",
            "timing",
            unique=True,
            postgresql_where=text("state <> 'cancelled'"),
        ),
    )

    order_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Order.id), index=True)
    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Test.id), index=True)
    panel_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Panel.id))
    specimen_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    """The tube it is measured on; none until labels are made. No foreign key: specimens stand above orders."""
    timing: Mapped[str] = mapped_column(String(32), default="", server_default="")
    """When it is to be drawn (`timing`): one test may be ordered for several times, each with a tube of its own."""
    state: Mapped[str] = mapped_column(String(16), default=ItemState.ORDERED)
    position: Mapped[int] = mapped_column(default=0)
    cancelled_at: Mapped[datetime | None]
    cancel_reason: Mapped[str | None]


class OralState(StrEnum):
    """What became of a request made by word of mouth."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    """The doctor says they did not ask for it."""


class OralRequest(Identified, Base):
    """Tests asked for by telephone or in person (口头医嘱, ISO 15189:2022 7.2.3): to be confirmed in writing."""

    __tablename__ = "lab_oral_request"
    __table_args__ = (Index("ix_lab_oral_request_open", "due_at", postgresql_where=text("state = 'open'")),)

    order_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Order.id), index=True)
    tests: Mapped[list[Any]]
    """Codes of panels and tests as they were asked for."""
    asked_by: Mapped[str]
    """The doctor, as they said their name."""
    read_back: Mapped[bool]
    taken_by: Mapped[str]
    taken_at: Mapped[datetime] = mapped_column(default=clock.now)
    due_at: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(String(16), default=OralState.OPEN)
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
    evidence: Mapped[str] = mapped_column(default="")
    """How it was confirmed: the number of the written order, or who signed."""
