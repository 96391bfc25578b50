"""Cash drawers by cashier and shift, and the receipts that a window prints. Amounts are whole fen.

A cash entry of the ledger stands in exactly one shift, so a drawer is the ledger itself, cut by shift: no second book.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Sequence, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit import clock
from cloud.kit.db import Base, Identified
from cloud.kit.sealed import SealedText

RECEIPT_NUMBERS = Sequence("receipt_number_seq")


class CashShift(Identified, Base):
    """One cashier's drawer from opening to hand-over. `expected_fen` is counted from the ledger when it is closed."""

    __tablename__ = "cash_shift"
    __table_args__ = (
        CheckConstraint("opening_fen >= 0 AND coalesce(counted_fen, 0) >= 0", name="amounts"),
        CheckConstraint(
            "(closed_at IS NULL) = (counted_fen IS NULL) AND (closed_at IS NULL) = (expected_fen IS NULL)",
            name="closed",
        ),
        CheckConstraint("counted_fen = expected_fen OR why IS NOT NULL OR closed_at IS NULL", name="difference"),
        Index("uq_cash_shift_open", "cashier", unique=True, postgresql_where=text("closed_at IS NULL")),
        Index("ix_cash_shift_opened_at", "opened_at"),
    )

    cashier: Mapped[str]
    """The actor (``staff:<id>``) who answers for the money."""
    place: Mapped[str] = mapped_column(default="")
    opening_fen: Mapped[int] = mapped_column(BigInteger, default=0)
    """The float that was in it."""
    opened_at: Mapped[datetime] = mapped_column(default=clock.now)
    by_hand: Mapped[bool]
    """False: nobody opened it; the first cash did, with no float."""
    closed_at: Mapped[datetime | None]
    expected_fen: Mapped[int | None] = mapped_column(BigInteger)
    counted_fen: Mapped[int | None] = mapped_column(BigInteger)
    pieces: Mapped[dict[str, Any] | None]
    """How many of each note and coin were counted, by its worth in fen."""
    why: Mapped[str | None]
    """What explains the difference between counted and expected."""
    received_at: Mapped[datetime | None]
    """When the accounts office signed that it has the money."""
    received_by: Mapped[str | None]


class Receipt(Identified, Base):
    """The one printed receipt of a payment. A part refund voids it and prints another for the rest."""

    __tablename__ = "receipt"
    __table_args__ = (
        CheckConstraint("fen > 0", name="fen"),
        CheckConstraint("(voided_at IS NULL) = (voided_why IS NULL)", name="voided"),
        Index("uq_receipt_living", "payment_id", unique=True, postgresql_where=text("voided_at IS NULL")),
        Index("ix_receipt_payment_id", "payment_id"),
        Index("ix_receipt_printed_at", "printed_at"),
    )

    number: Mapped[str] = mapped_column(unique=True)
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payment.id"))
    fen: Mapped[int] = mapped_column(BigInteger)
    """What was paid less what had been refunded when it was printed."""
    holder: Mapped[str] = mapped_column(SealedText("receipt.holder"))
    """The patient's name as printed."""
    lines: Mapped[list[Any]]
    """``[{"name", "fen", ...}]`` as printed; a copy shows the same."""
    tendered_fen: Mapped[int | None] = mapped_column(BigInteger)
    """Cash handed over, where it was paid so."""
    printed_at: Mapped[datetime] = mapped_column(default=clock.now)
    printed_by: Mapped[str]
    copies: Mapped[int] = mapped_column(default=0)
    """How often it was printed again."""
    voided_at: Mapped[datetime | None]
    voided_by: Mapped[str | None]
    voided_why: Mapped[str | None]
    replaces_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("receipt.id"))


class ReceiptCopy(Identified, Base):
    """Each time a receipt was printed again: who, when, why."""

    __tablename__ = "receipt_copy"
    __table_args__ = (UniqueConstraint("receipt_id", "number", name="uq_receipt_copy_number"),)

    receipt_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("receipt.id"))
    number: Mapped[int]
    at: Mapped[datetime] = mapped_column(default=clock.now)
    by: Mapped[str]
    why: Mapped[str]
