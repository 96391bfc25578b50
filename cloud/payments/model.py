"""Payments, refunds, the notices that channels sent, the ledger of what moved, and the cases that people must close.

Amounts are whole fen. Two things are held by the database itself, whoever writes: a payment's refunds together never
exceed what was paid (`reserved_fen`, kept equal to the sum of its living refunds by a trigger), and the ledger is only
appended to.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.kit.sealed import SealedText
from cloud.payments.drawers_model import CashShift


class PaymentState(StrEnum):
    """In their order; a payment never goes back."""

    OPEN = "open"
    """Stored; the channel may have heard of it or not."""
    PREPARED = "prepared"
    """The phone can pay."""
    CLOSING = "closing"
    """Its time is over; whether money came is being asked. What it was for is still held."""
    CLOSED = "closed"
    """The channel takes no money for it any more."""
    PAID = "paid"
    """Money came, by the channel's evidence; also behind CLOSED, when it came all the same (`late`)."""


ORDER = tuple(PaymentState)
UNSETTLED = (PaymentState.OPEN, PaymentState.PREPARED, PaymentState.CLOSING)


class Payment(Identified, Created, Base):
    """One payment by one person over one channel, for one order of ours (a booking, several bills, a deposit)."""

    __tablename__ = "payment"
    __table_args__ = (
        CheckConstraint("fen > 0", name="fen"),
        CheckConstraint(f"state IN {tuple(str(each) for each in PaymentState)}", name="state"),
        CheckConstraint("(state = 'paid') = (paid_fen IS NOT NULL)", name="paid"),
        CheckConstraint("reserved_fen >= 0 AND reserved_fen <= coalesce(paid_fen, 0)", name="refunds"),
        Index(
            "uq_payment_under_way",
            "purpose",
            "subject_id",
            unique=True,
            postgresql_where=text("state IN ('open', 'prepared', 'closing')"),
        ),
        Index("ix_payment_unsettled", "ask_at", postgresql_where=text("state IN ('open', 'prepared', 'closing')")),
        Index("ix_payment_channel_paid_at", "channel", "paid_at"),
        Index("ix_payment_payer_key_created_at", "payer_key", "created_at"),
        Index("ix_payment_transaction_id", "transaction_id"),
        Index("ix_payment_created_at", "created_at"),
    )

    number: Mapped[str] = mapped_column(unique=True)
    """The channel's ``out_trade_no``; ours alone, never used twice."""
    channel: Mapped[str]
    app_id: Mapped[str]
    merchant_id: Mapped[str]
    payer: Mapped[str]
    """The channel's id of who pays; empty for cash."""
    payer_key: Mapped[str]
    """Whose transactions page lists it: the account's id."""
    purpose: Mapped[str]
    subject_id: Mapped[uuid.UUID]
    """What it is for, in its own slice. At most one payment for it is under way; another may follow a closed one."""
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    fen: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(default="CNY")
    state: Mapped[str] = mapped_column(default=PaymentState.OPEN)
    until: Mapped[datetime]
    """The channel takes no money after this."""
    expires_at: Mapped[datetime]
    """When we begin to close it; not before `until`."""
    phone: Mapped[str | None] = mapped_column(SealedText("payment.phone"))
    """What the phone needs to pay, as JSON; kept so that the same page can be shown again."""
    ask_at: Mapped[datetime | None]
    """When the channel is asked next; None once settled or closed."""
    asked: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    transaction_id: Mapped[str | None]
    paid_fen: Mapped[int | None] = mapped_column(BigInteger)
    paid_at: Mapped[datetime | None]
    """By the channel's clock."""
    settled_at: Mapped[datetime | None]
    settled_by: Mapped[str | None]
    """Which evidence settled it: ``notice``, ``query``, ``close``, ``bill``, ``window``."""
    late: Mapped[bool] = mapped_column(default=False)
    """Money came after it was closed."""
    reserved_fen: Mapped[int] = mapped_column(BigInteger, default=0)
    """What refunds have taken or will take; kept by a trigger."""
    closed_at: Mapped[datetime | None]


class RefundState(StrEnum):
    WAITING = "waiting"
    """Stored with its number; not yet with the channel, or to be repeated."""
    ASKED = "asked"
    """A call is under way or nobody knows how it ended."""
    PROCESSING = "processing"
    """The channel has taken it; the bank works on it."""
    DONE = "done"
    """By the channel's evidence, or a signature at the window."""
    STUCK = "stuck"
    """The channel can't do it: a person decides."""
    DROPPED = "dropped"
    """A person gave it up before the channel had moved anything; what it reserved is free again."""


LIVING = (RefundState.WAITING, RefundState.ASKED, RefundState.PROCESSING, RefundState.DONE, RefundState.STUCK)
IN_FLIGHT = (RefundState.WAITING, RefundState.ASKED, RefundState.PROCESSING)


class Refund(Identified, Created, Base):
    """Money to go back. Number and amount are fixed before the first call and the same at every repetition."""

    __tablename__ = "refund"
    __table_args__ = (
        CheckConstraint("fen > 0", name="fen"),
        CheckConstraint(f"state IN {tuple(str(each) for each in RefundState)}", name="state"),
        CheckConstraint("route IN ('channel', 'cash', 'outside')", name="route"),
        Index("ix_refund_payment_id", "payment_id"),
        Index("ix_refund_due", "ask_at", postgresql_where=text("state IN ('waiting', 'asked', 'processing')")),
        Index(
            "uq_refund_at_channel",
            "payment_id",
            unique=True,
            postgresql_where=text("state = 'asked' AND route = 'channel'"),
        ),
    )

    number: Mapped[str] = mapped_column(unique=True)
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payment.id"))
    key: Mapped[str] = mapped_column(unique=True)
    """What it is for, in the words of who asked (``late:…``, ``booking:…``): asked twice, it is one refund."""
    fen: Mapped[int] = mapped_column(BigInteger)
    route: Mapped[str]
    """``channel``: the way it came; ``cash``: paid out at a window; ``outside``: made at the channel, not by us."""
    state: Mapped[str] = mapped_column(default=RefundState.WAITING)
    reason: Mapped[str]
    by: Mapped[str]
    asked: Mapped[int] = mapped_column(default=0)
    ask_at: Mapped[datetime | None]
    claimed_until: Mapped[datetime | None]
    """While ASKED: when the call counts as dead with its worker."""
    called_at: Mapped[datetime | None]
    """When the channel was last asked to move money for it."""
    error: Mapped[str | None]
    channel_number: Mapped[str | None]
    done_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
    """Who paid it out or gave it up, for those a person ended."""


class LedgerEntry(Identified, Base):
    """What really moved; appended only. Positive: to the hospital. A channel's sum is what it owes us."""

    __tablename__ = "payment_ledger"
    __table_args__ = (
        CheckConstraint("(refund_id IS NULL) = (fen > 0)", name="sign"),
        Index("uq_payment_ledger_paid", "payment_id", unique=True, postgresql_where=text("refund_id IS NULL")),
        CheckConstraint("(channel = 'cash') = (shift_id IS NOT NULL)", name="drawer"),
        Index("ix_payment_ledger_channel_at", "channel", "at"),
        Index("ix_payment_ledger_shift_id", "shift_id", postgresql_where=text("shift_id IS NOT NULL")),
    )

    at: Mapped[datetime]
    """By the channel's clock."""
    recorded_at: Mapped[datetime] = mapped_column(default=clock.now)
    channel: Mapped[str]
    """``cash`` for what a window paid out or took, whatever channel the payment came by."""
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payment.id"))
    refund_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("refund.id"), unique=True)
    shift_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(CashShift.id))
    """Whose drawer the cash went into or came out of; every cash entry has one, no other has."""
    fen: Mapped[int] = mapped_column(BigInteger)


class ChannelNotice(Identified, Base):
    """A notice as it came, once for each fact; a repetition only counts up. Those that prove nothing are kept too."""

    __tablename__ = "payment_notice"
    __table_args__ = (
        UniqueConstraint("channel", "key", name="uq_payment_notice_key"),
        Index("ix_payment_notice_received_at", "received_at"),
        Index("ix_payment_notice_number", "number"),
    )

    channel: Mapped[str]
    key: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(default=clock.now)
    times: Mapped[int] = mapped_column(default=1)
    kind: Mapped[str]
    number: Mapped[str]
    body: Mapped[str] = mapped_column(SealedText("payment.notice"))
    verdict: Mapped[str]
    """``settled``, ``known``, ``hint``, ``case``, ``no_payment``; of a bad one its code."""


class PaymentCase(Identified, Created, Base):
    """Something about money that a person must close with a reason; nothing was paid or refunded by it."""

    __tablename__ = "payment_case"
    __table_args__ = (
        UniqueConstraint("key", name="uq_payment_case_key"),
        Index("ix_payment_case_open", "created_at", postgresql_where=text("closed_at IS NULL")),
    )

    kind: Mapped[str]
    key: Mapped[str]
    """The same trouble seen again is the same case."""
    channel: Mapped[str]
    payment_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("payment.id"), index=True)
    facts: Mapped[dict[str, Any]]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
    closed_why: Mapped[str | None]


class BillDay(Identified, Base):
    """A day's bill of a channel, read and held against the ledger; read again, it is what it says now."""

    __tablename__ = "payment_bill_day"
    __table_args__ = (UniqueConstraint("channel", "day", name="uq_payment_bill_day"),)

    channel: Mapped[str]
    day: Mapped[date]
    read_at: Mapped[datetime]
    digest: Mapped[str]
    """SHA-256 of the file."""
    lines: Mapped[int]
    alike: Mapped[int]
    channel_fen: Mapped[int] = mapped_column(BigInteger)
    our_fen: Mapped[int] = mapped_column(BigInteger)
    keys: Mapped[list[Any]]
    """(payment number, refund number) of every line: what the next day's comparison needs at midnight."""
    closed_at: Mapped[datetime | None]
    """When a person signed that nothing of this day is open."""
    closed_by: Mapped[str | None]


class BillDifference(Identified, Created, Base):
    """One difference between a channel's bill and our ledger, closed by a person with a reason."""

    __tablename__ = "payment_difference"
    __table_args__ = (
        UniqueConstraint("channel", "kind", "number", "refund_number", name="uq_payment_difference"),
        Index("ix_payment_difference_open", "day", postgresql_where=text("closed_at IS NULL")),
    )

    channel: Mapped[str]
    day: Mapped[date]
    kind: Mapped[str]
    number: Mapped[str]
    refund_number: Mapped[str] = mapped_column(default="")
    channel_fen: Mapped[int | None] = mapped_column(BigInteger)
    our_fen: Mapped[int | None] = mapped_column(BigInteger)
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
    closed_why: Mapped[str | None]
