"""Tables of the boxes and of what they sent: registry, leases, inbox, cursors, gaps and quarantine.

An inbox row is written once, under its identity ``(gateway, epoch, link, sequence)``; afterwards only `state` and the
columns beside it change, by the apply step that holds the partition's lease. Its bytes never do; what a driver made of
them is replaced by an approved newer reading, and the one before is kept (`cloud.gateways.redecode`).
"""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.hospital.model import Campus
from cloud.kit.db import Base, Created, Identified


class GatewayStatus(StrEnum):
    ACTIVE = "active"
    LOCKED_OUT = "locked_out"
    """Stolen or retired: what still arrives under its name is quarantined."""


class Gateway(Created, Base):
    """One box. `id` is the name in its topics and certificate."""

    __tablename__ = "gateway"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str]
    campus_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Campus.id))
    partition: Mapped[int]
    """The part of the topic space it sends in; the box's own configuration says the same."""
    state: Mapped[GatewayStatus] = mapped_column(String(12), default=GatewayStatus.ACTIVE)
    epoch: Mapped[str | None] = mapped_column(String(64))
    """Drawn when the box's database was made; another one means an emptied or replaced box."""
    worklist_revision_acked: Mapped[int] = mapped_column(BigInteger, default=0)
    """What the box said it stores."""
    worklist_revision_sent: Mapped[int] = mapped_column(BigInteger, default=0)
    worklist_sent_at: Mapped[datetime | None]
    last_state: Mapped[dict[str, Any] | None]
    last_state_at: Mapped[datetime | None]
    """The box's own clock when it described itself; `last_seen_at` is ours."""
    clock_ahead_ms: Mapped[int | None] = mapped_column(BigInteger)
    """How far that was ahead of ours when it arrived; what the message took on its way makes it smaller."""
    rolled_back: Mapped[dict[str, Any] | None]
    """Links whose count went back within this epoch: link -> what the box said, what is stored, when. Kept until
    somebody has looked or the box has a new epoch."""
    last_seen_at: Mapped[datetime | None]


class MessageStatus(StrEnum):
    PENDING = "pending"
    """Stored, and waiting for its turn in the sequence of its link."""
    APPLIED = "applied"
    QUARANTINED = "quarantined"
    """The laboratory could not take it; `reason` says why. It never blocks the link."""
    UNDECODED = "undecoded"
    """The box could not read it; the raw bytes wait for a corrected driver."""
    INCOMPLETE = "incomplete"
    """Acknowledged frames whose message never ended: shown, never applied."""


class InboxMessage(Identified, Base):
    """One instrument message as the box sent it, with its bytes."""

    __tablename__ = "gateway_inbox"
    __table_args__ = (
        UniqueConstraint("gateway", "epoch", "link", "sequence", name="uq_gateway_inbox_identity"),
        Index(
            "ix_gateway_inbox_pending",
            "gateway",
            "epoch",
            "link",
            "sequence",
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_gateway_inbox_attention",
            "id",
            postgresql_where=text(
                "handled_at IS NULL AND (state IN ('quarantined', 'undecoded', 'incomplete') OR undecoded > 0)"
            ),
        ),
    )

    gateway: Mapped[str] = mapped_column(ForeignKey(Gateway.id))
    epoch: Mapped[str] = mapped_column(String(64))
    link: Mapped[str] = mapped_column(String(64))
    sequence: Mapped[int] = mapped_column(BigInteger)
    received_at: Mapped[datetime]
    """The box's clock; `stored_at` is the database's."""
    clock_sure: Mapped[bool] = mapped_column(default=True)
    corrected_at: Mapped[datetime | None]
    """`received_at` as it really was, of a box that learned later how wrong its clock had been."""
    stored_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    driver: Mapped[str]
    driver_version: Mapped[str]
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[str] = mapped_column(String(64))
    items: Mapped[list[Any]]
    undecoded: Mapped[int] = mapped_column(default=0)
    """How many of `items` the driver could not read."""
    sender: Mapped[str | None]
    message_id: Mapped[str | None]
    charset: Mapped[str | None]
    state: Mapped[MessageStatus] = mapped_column(String(12), default=MessageStatus.PENDING)
    reason: Mapped[str | None]
    outcome: Mapped[dict[str, Any] | None]
    applied_at: Mapped[datetime | None]
    applied_by: Mapped[str | None]
    """Worker and fencing token of the lease under which it was applied."""
    handled_at: Mapped[datetime | None]
    handled_by: Mapped[str | None]
    """Who looked at it and needs it no more on the list of what waits for a person."""


class LinkCursor(Base):
    """How far one link of one epoch is applied, and the gap it stands at. Locked by the apply step."""

    __tablename__ = "gateway_link_cursor"

    gateway: Mapped[str] = mapped_column(ForeignKey(Gateway.id), primary_key=True)
    epoch: Mapped[str] = mapped_column(String(64), primary_key=True)
    link: Mapped[str] = mapped_column(String(64), primary_key=True)
    applied_through: Mapped[int] = mapped_column(BigInteger, default=0)
    applied_at: Mapped[datetime | None]
    gap_first: Mapped[int | None] = mapped_column(BigInteger)
    gap_last: Mapped[int | None] = mapped_column(BigInteger)
    gap_since: Mapped[datetime | None]
    gap_requested_at: Mapped[datetime | None]
    gap_requests: Mapped[int] = mapped_column(default=0)


class LostRange(Identified, Base):
    """Sequences that a person declared lost, so that the link goes on. One that arrives after all is applied late."""

    __tablename__ = "gateway_lost_range"
    __table_args__ = (Index("ix_gateway_lost_range_link", "gateway", "epoch", "link", "first"),)

    gateway: Mapped[str] = mapped_column(ForeignKey(Gateway.id))
    epoch: Mapped[str] = mapped_column(String(64))
    link: Mapped[str] = mapped_column(String(64))
    first: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)
    declared_at: Mapped[datetime]
    declared_by: Mapped[str]
    reason: Mapped[str]


class MessagePart(Base):
    """A piece of an envelope that its broker found too large; kept until all are there."""

    __tablename__ = "gateway_message_part"

    gateway: Mapped[str] = mapped_column(ForeignKey(Gateway.id), primary_key=True)
    epoch: Mapped[str] = mapped_column(String(64), primary_key=True)
    link: Mapped[str] = mapped_column(String(64), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Of the whole: pieces of different attempts do not mix."""
    number: Mapped[int] = mapped_column(primary_key=True)
    of: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary)
    stored_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class Comparison(StrEnum):
    """How far a comparison of a link with its box has come."""

    ASKED = "asked"
    """The box has not answered yet."""
    NARROWING = "narrowing"
    """There is a difference; the box was asked where."""
    REPAIRING = "repairing"
    """The box was asked for what is missing."""
    EQUAL = "equal"
    REPAIRED = "repaired"
    """Something was missing here, and has come."""
    DIFFERENT = "different"
    """For a person: see `findings`."""


class Reconciliation(Identified, Base):
    """One comparison of what a box holds of a link with what is stored here, and what was found."""

    __tablename__ = "gateway_reconciliation"
    __table_args__ = (
        UniqueConstraint("gateway", "link", "run", name="uq_gateway_reconciliation_run"),
        Index("ix_gateway_reconciliation_link", "gateway", "link", "started_at"),
        Index("ix_gateway_reconciliation_open", "started_at", postgresql_where=text("state <> 'equal'")),
    )

    gateway: Mapped[str] = mapped_column(ForeignKey(Gateway.id))
    epoch: Mapped[str] = mapped_column(String(64))
    link: Mapped[str] = mapped_column(String(64))
    run: Mapped[str] = mapped_column(String(64))
    """Drawn by whoever began it, the box (every hour) or a person here."""
    asked_by: Mapped[str | None]
    """Who wanted to know; None: the box by itself."""
    state: Mapped[Comparison] = mapped_column(String(12))
    started_at: Mapped[datetime]
    checked_at: Mapped[datetime | None]
    """When the last answer of the box was compared."""
    held_from: Mapped[int | None] = mapped_column(BigInteger)
    """The lowest sequence the box still holds."""
    first: Mapped[int | None] = mapped_column(BigInteger)
    last: Mapped[int | None] = mapped_column(BigInteger)
    """The first and the last sequence that were compared; not all between them have to be."""
    count_box: Mapped[int | None] = mapped_column(BigInteger)
    count_cloud: Mapped[int | None] = mapped_column(BigInteger)
    digest_box: Mapped[str | None] = mapped_column(String(64))
    digest_cloud: Mapped[str | None] = mapped_column(String(64))
    """Over the hashes of the compared ranges: equal where all of them are."""
    to_narrow: Mapped[list[Any]] = mapped_column(default=list)
    """Ranges that differ and were not looked into yet: [first, last]."""
    findings: Mapped[list[Any]] = mapped_column(default=list)
    """{"first", "last", "what": "missing_here" | "missing_on_box" | "altered" | "damaged_on_box", "repaired_at"}."""
    rounds: Mapped[int] = mapped_column(default=0)


class PartitionLease(Base):
    """Who receives and applies one partition. `token` rises with every change of hands (fencing)."""

    __tablename__ = "gateway_partition_lease"

    partition: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    holder: Mapped[str | None]
    token: Mapped[int] = mapped_column(BigInteger, default=0)
    expires_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    taken_at: Mapped[datetime | None]


class IngestWorker(Base):
    """The ingest workers that live, so that partitions are shared evenly."""

    __tablename__ = "gateway_ingest_worker"

    id: Mapped[str] = mapped_column(primary_key=True)
    alive_until: Mapped[datetime]


class Quarantine(Identified, Base):
    """A payload that is no message of a known box: kept whole, once for the same bytes on the same topic."""

    __tablename__ = "gateway_quarantine"
    __table_args__ = (UniqueConstraint("topic", "sha256", name="uq_gateway_quarantine_payload"),)

    topic: Mapped[str]
    gateway: Mapped[str | None] = mapped_column(String(64))
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str]
    first_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    last_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"), index=True)
    times: Mapped[int] = mapped_column(default=1)
    """How often it came; a box sends again what it got no receipt for."""
    handled_at: Mapped[datetime | None]
    handled_by: Mapped[str | None]
