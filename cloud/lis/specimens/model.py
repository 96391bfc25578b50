"""Tables of specimens. A state moves by one conditional UPDATE; what happened is appended and never changed.

Two things are told apart: `state` is how far the tube is on its road to a report, `whereabouts` what became of the tube
itself (put into a rack, lost, discarded). A tube in the refrigerator may still wait for its release.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, Sequence, String, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.hospital.model import Campus
from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.lis.catalog.model import ApprovalState, Test, Tube
from cloud.lis.orders.model import Order
from cloud.people.model import Person

accession_numbers = Sequence("lab_accession_seq", start=100_000_000, metadata=Base.metadata)
"""Starts at nine digits: some analyzers strip leading zeros."""


class SpecimenState(StrEnum):
    PRINTED = "printed"
    COLLECTED = "collected"
    IN_TRANSIT = "in_transit"
    RECEIVED = "received"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    DONE = "done"


SPECIMEN_MOVES: dict[SpecimenState, frozenset[SpecimenState]] = {
    SpecimenState.PRINTED: frozenset(
        {
            SpecimenState.COLLECTED,
            SpecimenState.IN_TRANSIT,
            SpecimenState.RECEIVED,
            SpecimenState.REJECTED,
            SpecimenState.CANCELLED,
        }
    ),
    SpecimenState.COLLECTED: frozenset(
        {SpecimenState.IN_TRANSIT, SpecimenState.RECEIVED, SpecimenState.REJECTED, SpecimenState.CANCELLED}
    ),
    SpecimenState.IN_TRANSIT: frozenset({SpecimenState.RECEIVED, SpecimenState.REJECTED, SpecimenState.CANCELLED}),
    SpecimenState.RECEIVED: frozenset({SpecimenState.REJECTED, SpecimenState.CANCELLED, SpecimenState.DONE}),
    SpecimenState.REJECTED: frozenset(),
    SpecimenState.CANCELLED: frozenset(),
    SpecimenState.DONE: frozenset(),
}
"""The road forwards; `service` writes a state only by an UPDATE whose WHERE names the states it may come from."""

SPECIMEN_UNDO: dict[SpecimenState, frozenset[SpecimenState]] = {
    SpecimenState.COLLECTED: frozenset({SpecimenState.PRINTED}),
    SpecimenState.IN_TRANSIT: frozenset({SpecimenState.COLLECTED, SpecimenState.PRINTED}),
    SpecimenState.RECEIVED: frozenset({SpecimenState.IN_TRANSIT, SpecimenState.COLLECTED, SpecimenState.PRINTED}),
    SpecimenState.REJECTED: frozenset(
        {SpecimenState.RECEIVED, SpecimenState.IN_TRANSIT, SpecimenState.COLLECTED, SpecimenState.PRINTED}
    ),
    SpecimenState.DONE: frozenset({SpecimenState.RECEIVED}),
}
"""The road backwards: only by the commands of `undoing` and `adding`, each with a reason and an event of its own."""


def may_become(state: SpecimenState) -> tuple[SpecimenState, ...]:
    """The states from which a specimen may come to `state`."""
    return tuple(each for each, following in SPECIMEN_MOVES.items() if state in following)


class Whereabouts(StrEnum):
    """What became of the tube itself."""

    AT_HAND = "at_hand"
    STORED = "stored"
    RETRIEVED = "retrieved"
    DISCARDED = "discarded"
    LOST = "lost"


WHEREABOUTS_MOVES: dict[Whereabouts, frozenset[Whereabouts]] = {
    Whereabouts.AT_HAND: frozenset({Whereabouts.STORED, Whereabouts.DISCARDED, Whereabouts.LOST}),
    Whereabouts.STORED: frozenset({Whereabouts.STORED, Whereabouts.RETRIEVED, Whereabouts.DISCARDED}),
    Whereabouts.RETRIEVED: frozenset({Whereabouts.STORED, Whereabouts.DISCARDED, Whereabouts.LOST}),
    Whereabouts.LOST: frozenset({Whereabouts.RETRIEVED}),
    Whereabouts.DISCARDED: frozenset(),
}
"""STORED to STORED is another place; LOST to RETRIEVED is a tube that was found. One that is missing from its rack is
taken out of it first: a place is never held by a tube that is not there."""


def may_get(whereabouts: Whereabouts) -> tuple[Whereabouts, ...]:
    """The whereabouts from which a tube may come to `whereabouts`."""
    return tuple(each for each, following in WHEREABOUTS_MOVES.items() if whereabouts in following)


class Specimen(Identified, Created, Base):
    """One tube. `accession` is ours (digits, at most 12, check digit); `barcode` is what stands on the tube now."""

    __tablename__ = "lab_specimen"
    __table_args__ = (
        Index("ix_lab_specimen_state_received_at", "state", "received_at"),
        Index("ix_lab_specimen_received_at", "received_at"),
        Index("ix_lab_specimen_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        Index("ix_lab_specimen_replaces_id", "replaces_id", postgresql_where=text("replaces_id IS NOT NULL")),
    )

    accession: Mapped[str] = mapped_column(String(12), unique=True)
    barcode: Mapped[str] = mapped_column(String(32), unique=True)
    order_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Order.id), index=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id), index=True)
    campus_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Campus.id))
    tube_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Tube.id))
    specimen_type: Mapped[str] = mapped_column(String(32))
    priority: Mapped[str] = mapped_column(String(1))
    state: Mapped[str] = mapped_column(String(16), default=SpecimenState.PRINTED)
    whereabouts: Mapped[str] = mapped_column(
        String(16), default=Whereabouts.AT_HAND, server_default=Whereabouts.AT_HAND.value
    )
    collected_at: Mapped[datetime | None]
    collected_by: Mapped[str | None]
    received_at: Mapped[datetime | None]
    received_by: Mapped[str | None]
    replaces_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_specimen.id"))
    """The rejected specimen this one was collected again for."""
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_specimen.id"))
    """The tube this aliquot was taken from (分杯)."""
    volume_ml: Mapped[Decimal | None] = mapped_column(Numeric(6, 2))
    """What is in the tube, where somebody measured it."""


class SpecimenBarcode(Base):
    """Every barcode that ever stood on a tube of ours: one namespace for accessions and pre-printed labels."""

    __tablename__ = "lab_specimen_barcode"

    barcode: Mapped[str] = mapped_column(String(32), primary_key=True)
    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    preprinted: Mapped[bool] = mapped_column(default=False)
    bound_at: Mapped[datetime] = mapped_column(default=clock.now)


class ClockSource(StrEnum):
    """Whose clock an event's `at` is."""

    SERVER = "server"
    DEVICE = "device"
    """The telephone or terminal that kept a scan while it had no network."""
    TYPED = "typed"
    LINE = "line"
    HIS = "his"


class SpecimenEvent(Identified, Base):
    """What happened to a specimen: what, when, who, where. Append-only: the database refuses change and deletion."""

    __tablename__ = "lab_specimen_event"

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    type: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(default=clock.now)
    by: Mapped[str]
    """``staff:<id>``, ``his``, ``line:<gateway>/<link>`` or ``system``."""
    place: Mapped[str] = mapped_column(default="")
    reason_code: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    device: Mapped[str] = mapped_column(String(64), default="", server_default="")
    """The terminal, analyzer or line it was done at; empty where nobody said."""
    clock_source: Mapped[str] = mapped_column(
        String(8), default=ClockSource.SERVER, server_default=ClockSource.SERVER.value
    )
    reason: Mapped[str] = mapped_column(default="", server_default="")
    """In the person's own words; never empty on a step back."""
    submission: Mapped[uuid.UUID | None]
    """The page's own number of this act: sent twice (a bad network), it is done once."""
    recorded_at: Mapped[datetime | None] = mapped_column(default=clock.now)
    """When it was written down; none on what was written before there was this column."""


class Handling(StrEnum):
    """What was done about a tube that is not as it should be."""

    REJECTED = "rejected"
    CONCESSION = "concession"


class SpecimenDefect(Identified, Base):
    """A tube that is not as it should be: refused, or tested all the same (让步检验). Undone, it stays, marked.

    The ward is told by a person, who is named with whom they told.
    """

    __tablename__ = "lab_specimen_defect"
    __table_args__ = (
        Index("ix_lab_specimen_defect_at", "at"),
        Index(
            "ix_lab_specimen_defect_untold",
            "at",
            postgresql_where=text("told_at IS NULL AND undone_at IS NULL AND handling = 'rejected'"),
        ),
        Index(
            "uq_lab_specimen_defect_rejection",
            "specimen_id",
            unique=True,
            postgresql_where=text("handling = 'rejected' AND undone_at IS NULL"),
        ),
    )

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    handling: Mapped[str] = mapped_column(String(16))
    reason_code: Mapped[str] = mapped_column(String(32))
    note: Mapped[str] = mapped_column(default="")
    at: Mapped[datetime] = mapped_column(default=clock.now)
    by: Mapped[str]
    replacement_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_specimen.id"))
    agreed_with: Mapped[str] = mapped_column(default="")
    """Who on the ward wanted it tested all the same."""
    told_at: Mapped[datetime | None]
    told_by: Mapped[str | None]
    told_whom: Mapped[str] = mapped_column(default="")
    told_how: Mapped[str] = mapped_column(String(16), default="")
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str | None]
    undo_reason: Mapped[str] = mapped_column(default="")


class TestCollection(Base):
    """What a test asks of its specimen. What nobody has a source for stays empty and is not checked."""

    __test__ = False  # not a test of pytest's

    __tablename__ = "lab_test_collection"
    __table_args__ = (
        CheckConstraint(
            "source <> '' OR (volume_ul IS NULL AND fasting IS NULL AND stable_room_h IS NULL"
            " AND stable_cold_h IS NULL AND stable_frozen_h IS NULL)",
            name="source_named",
        ),
    )

    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Test.id), primary_key=True)
    volume_ul: Mapped[int | None]
    """What one measurement takes of the specimen (serum, plasma, whole blood), microlitres."""
    line: Mapped[str] = mapped_column(String(32), default="")
    """Tests of different lines never share a tube (a section or analyser line); empty: with any."""
    fasting: Mapped[bool | None]
    note: Mapped[str] = mapped_column(default="")
    """What the collector is told."""
    timing: Mapped[str] = mapped_column(String(32), default="", server_default="")
    """When it is always drawn (`orders.timing`: ``meal+120``), where the order says nothing else."""
    stable_room_h: Mapped[int | None]
    stable_cold_h: Mapped[int | None]
    stable_frozen_h: Mapped[int | None]
    """Hours after collection within which the test may be added, at 15-25 °C, 2-8 °C and frozen."""
    source: Mapped[str] = mapped_column(default="")
    state: Mapped[str] = mapped_column(String(16), default=ApprovalState.DRAFT)
    changed_by: Mapped[str] = mapped_column(default="")
    changed_at: Mapped[datetime] = mapped_column(default=clock.now)


class TimedStart(Identified, Base):
    """A meal, a glucose load or a dose that the times of an order's tubes count from. Append-only; the last counts."""

    __tablename__ = "lab_timed_start"

    order_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Order.id), index=True)
    since: Mapped[str] = mapped_column(String(8))
    """`orders.timing.Since`."""
    at: Mapped[datetime]
    by: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")
    """Why an earlier one was wrong."""
    recorded_at: Mapped[datetime] = mapped_column(default=clock.now)


class TubeFill(Base):
    """How much of a container can be used. Empty: not checked, one tube holds every test of its kind."""

    __tablename__ = "lab_tube_fill"
    __table_args__ = (
        CheckConstraint(
            "source <> '' OR (max_fill_ul IS NULL AND dead_volume_ul IS NULL AND yield_percent IS NULL)",
            name="source_named",
        ),
        CheckConstraint("yield_percent BETWEEN 1 AND 100", name="yield_is_a_percentage"),
    )

    tube_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Tube.id), primary_key=True)
    max_fill_ul: Mapped[int | None]
    dead_volume_ul: Mapped[int | None]
    yield_percent: Mapped[int | None]
    """What of the fill is specimen after centrifugation (serum of blood); empty: all of it."""
    anticoagulated: Mapped[bool | None]
    """Counts in the denominator of indicator 5; empty: read from the additive's name."""
    preprinted_prefix: Mapped[str] = mapped_column(String(16), default="")
    """What the barcodes begin with that the supplier prints on this kind of tube; empty: not checked."""
    source: Mapped[str] = mapped_column(default="")
    state: Mapped[str] = mapped_column(String(16), default=ApprovalState.DRAFT)
    changed_by: Mapped[str] = mapped_column(default="")
    changed_at: Mapped[datetime] = mapped_column(default=clock.now)


class SpecimenPolicy(Identified, Base):
    """A decision of the laboratory's director about specimens; the newest row of a key counts, earlier ones stay."""

    __tablename__ = "lab_specimen_policy"
    __table_args__ = (Index("ix_lab_specimen_policy_key", "key", "valid_from"),)

    key: Mapped[str] = mapped_column(String(32))
    value: Mapped[int | None]
    """None: no limit."""
    set_by: Mapped[str]
    reason: Mapped[str]
    valid_from: Mapped[datetime] = mapped_column(default=clock.now)
