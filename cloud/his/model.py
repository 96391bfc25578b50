"""Tables of the hospital's own system as a neighbour: what it sent, what it is to get, and how its codes are ours.

An incoming message is stored with its bytes under its number before anything is done with it; an outgoing one is frozen
when it is made and kept until the HIS accepted it.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    Sequence,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified
from cloud.lis.reports.model import Report
from cloud.payments.model import LedgerEntry

control_numbers = Sequence("his_control_number_seq", metadata=Base.metadata)


class IncomingState(StrEnum):
    RECEIVED = "received"
    """Stored; what it says is not done yet."""
    APPLIED = "applied"
    REFUSED = "refused"
    """Read, but it cannot be done (unknown item, tube already received): answered AE with the reason."""
    MALFORMED = "malformed"
    """No message that we take: answered AR with the reason, or not answerable at all."""


class HisMessage(Identified, Base):
    """One message of the HIS. `control_id` is MSH-10; the same number from the same sender is the same message."""

    __tablename__ = "his_message"
    __table_args__ = (
        UniqueConstraint("sending_application", "sending_facility", "control_id", name="uq_his_message_number"),
        Index("ix_his_message_received_at", "received_at"),
    )

    sending_application: Mapped[str]
    sending_facility: Mapped[str]
    control_id: Mapped[str | None]
    """Empty: it has none, or another message of the same sender used it first."""
    kind: Mapped[str]
    """MSH-9 as ADT^A01."""
    received_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    last_received_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    times: Mapped[int] = mapped_column(default=1)
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    content_sha256: Mapped[str] = mapped_column(String(64))
    """Of the text without MSH-7: a HIS that sends again may write a new time."""
    charset: Mapped[str]
    state: Mapped[IncomingState] = mapped_column(String(12), default=IncomingState.RECEIVED)
    reason: Mapped[str | None]
    answer_code: Mapped[str | None] = mapped_column(String(2))
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    """What was answered, to be answered again to a repeat."""
    outcome: Mapped[dict[str, Any] | None]
    """Ids of what came of it (person, order)."""
    attempts: Mapped[int] = mapped_column(default=0)
    applied_at: Mapped[datetime | None]


class OutgoingState(StrEnum):
    WAITING = "waiting"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    """The HIS answered AE or AR: a person looks at it and sends it again."""
    PARKED = "parked"
    """The HIS answers other messages and never this one: set aside for a person, so that it stops nobody."""
    SUPERSEDED = "superseded"
    """A later message of the same report went (or goes) instead: sent now, it would turn the clock back."""


class HisOutbox(Identified, Base):
    """One message for the HIS: a version of a report, a movement of money, or items that were executed."""

    __tablename__ = "his_outbox"
    __table_args__ = (
        UniqueConstraint("report_id", "report_version", "kind", name="uq_his_outbox_version"),
        UniqueConstraint("key", name="uq_his_outbox_key"),
        CheckConstraint(
            "(ledger_id IS NULL) = (fen IS NULL) AND (ledger_id IS NULL) = (booked_at IS NULL)", name="fen"
        ),
        Index("ix_his_outbox_waiting", "number", postgresql_where=text("state = 'waiting'")),
        Index("ix_his_outbox_booked_at", "booked_at", postgresql_where=text("booked_at IS NOT NULL")),
    )

    number: Mapped[int] = mapped_column(BigInteger, control_numbers, unique=True)
    """The order of sending, and the digits of MSH-10."""
    control_id: Mapped[str] = mapped_column(String(20), unique=True)
    key: Mapped[str]
    """What it tells, once: the same fact is never told under two numbers."""
    lane: Mapped[str]
    """Messages of one lane (a patient's reports, a payment with its refunds) never overtake each other."""
    kind: Mapped[str] = mapped_column(String(10))
    """released, recalled, payment, refund or executed."""
    report_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Report.id))
    report_version: Mapped[int | None]
    ledger_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(LedgerEntry.id), unique=True)
    fen: Mapped[int | None] = mapped_column(BigInteger)
    """Of a movement of money: positive to the hospital, and when by the channel's clock."""
    booked_at: Mapped[datetime | None]
    title: Mapped[str] = mapped_column(default="", server_default="")
    """MSH-9 and the number that people know it by."""
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[OutgoingState] = mapped_column(String(10), default=OutgoingState.WAITING)
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    claimed_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    unanswered: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often it was sent and no proper answer came."""
    last_error: Mapped[str | None]
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    accepted_at: Mapped[datetime | None]


class HisMoneyDay(Identified, Base):
    """What the HIS had booked of a day when it was asked last, held against the ledger."""

    __tablename__ = "his_money_day"

    day: Mapped[date] = mapped_column(unique=True)
    read_at: Mapped[datetime]
    his_count: Mapped[int]
    his_paid_fen: Mapped[int] = mapped_column(BigInteger)
    his_refunded_fen: Mapped[int] = mapped_column(BigInteger)
    our_count: Mapped[int]
    our_paid_fen: Mapped[int] = mapped_column(BigInteger)
    our_refunded_fen: Mapped[int] = mapped_column(BigInteger)
    differences: Mapped[list[Any]]
    """One for each number that is not alike: what, number, the HIS's fen, ours."""


class HisMoneyDifference(Identified, Created, Base):
    """One number that the HIS's books and our ledger do not have alike: one ticket, however often it is read.

    It ends by itself when a later reading finds the books alike (``system``), and comes back if that changes; what a
    person closed with a reason stays closed.
    """

    __tablename__ = "his_money_difference"
    __table_args__ = (
        UniqueConstraint("kind", "number", name="uq_his_money_difference"),
        Index("ix_his_money_difference_day", "day"),
        Index("ix_his_money_difference_open", "day", postgresql_where=text("closed_at IS NULL")),
    )

    day: Mapped[date]
    kind: Mapped[str] = mapped_column(String(10))
    """missing, amount or strange."""
    number: Mapped[str]
    """Of the payment or of the refund."""
    his_fen: Mapped[int | None] = mapped_column(BigInteger)
    our_fen: Mapped[int | None] = mapped_column(BigInteger)
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
    closed_why: Mapped[str | None]


class HisPeer(Base):
    """Whether the HIS answers: one row, so that one absence is one pause for all messages and their order stays."""

    __tablename__ = "his_peer"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    failures: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    last_answer_at: Mapped[datetime | None]


class HisCode(Identified, Base):
    """A code of the HIS and ours, where they differ. Rows stand above the defaults of ``mapping.toml``."""

    __tablename__ = "his_code"
    __table_args__ = (UniqueConstraint("kind", "theirs", name="uq_his_code_theirs"),)

    kind: Mapped[str] = mapped_column(String(16))
    """item, department, identifier, priority or sex."""
    theirs: Mapped[str]
    ours: Mapped[str]
    set_by: Mapped[str]
    set_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
