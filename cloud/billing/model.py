"""Charges and their items, what was paid together, which fen of a payment belong to which item, what went back.

A charge is paid as a whole (PAYABLE → PAYING → PAID, by its own row); from then on each item has a road of its own:
PAID → EXECUTED or PAID → REFUNDING → REFUNDED, never both. Triggers hold it, whoever writes: items move only along
`ITEM_MOVES`, allocations are an item's own amount and are appended only, with what was sent back they make up the
payment, and an item's refunds never exceed its allocation.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Numeric, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.payments.model import Payment, Refund
from cloud.people.model import Person

PURPOSE = "bills"
"""What payments for bills are called; their subject is a `BillPayment`."""

SOURCES = ("his", "manual")
KINDS = ("registration", "exam", "lab", "drug", "treatment", "material", "other")


class ChargeState(StrEnum):
    """A charge as a whole; what became of its items afterwards stands with them."""

    PAYABLE = "payable"
    PAYING = "paying"
    """One payment has it; nobody else can pay it meanwhile."""
    PAID = "paid"
    VOID = "void"
    """Taken back before it was paid."""


CHARGE_MOVES: dict[ChargeState, frozenset[ChargeState]] = {
    ChargeState.PAYABLE: frozenset({ChargeState.PAYING, ChargeState.PAID, ChargeState.VOID}),
    ChargeState.PAYING: frozenset({ChargeState.PAYABLE, ChargeState.PAID}),
    ChargeState.PAID: frozenset(),
    ChargeState.VOID: frozenset(),
}


class ItemState(StrEnum):
    PAYABLE = "payable"
    PAYING = "paying"
    PAID = "paid"
    EXECUTED = "executed"
    """Done, dispensed, received in the laboratory."""
    REFUNDING = "refunding"
    """Frozen against execution; the channel is being asked, or a person decides."""
    REFUNDED = "refunded"
    VOID = "void"


ITEM_MOVES: dict[ItemState, frozenset[ItemState]] = {
    ItemState.PAYABLE: frozenset({ItemState.PAYING, ItemState.PAID, ItemState.EXECUTED, ItemState.VOID}),
    ItemState.PAYING: frozenset({ItemState.PAYABLE, ItemState.PAID, ItemState.EXECUTED}),
    ItemState.PAID: frozenset({ItemState.EXECUTED, ItemState.REFUNDING}),
    ItemState.EXECUTED: frozenset({ItemState.PAID}),
    ItemState.REFUNDING: frozenset({ItemState.REFUNDED, ItemState.PAID}),
    ItemState.REFUNDED: frozenset(),
    ItemState.VOID: frozenset(),
}
"""EXECUTED to PAID is a step back with a reason (goods returned, a wrong scan) and counts `undone` up; REFUNDING to
PAID a refund that a person gave up before the channel had moved anything."""

PAID_HOW = ("payment", "elsewhere", "free")


class Charge(Identified, Created, Base):
    """One bill as its source numbers it (one order, one prescription). Paid as a whole."""

    __tablename__ = "charge"
    __table_args__ = (
        UniqueConstraint("source", "number", name="uq_charge_number"),
        CheckConstraint(f"source IN {SOURCES}", name="source"),
        CheckConstraint(f"kind IN {KINDS}", name="kind"),
        CheckConstraint(f"state IN {tuple(str(each) for each in ChargeState)}", name="state"),
        CheckConstraint("total_fen >= 0", name="total_fen"),
        CheckConstraint("(state = 'paid') = (paid_how IS NOT NULL)", name="paid_how"),
        CheckConstraint("(state = 'paying') = (paying_id IS NOT NULL)", name="paying"),
        Index("ix_charge_person_id_made_at", "person_id", "made_at"),
        Index("ix_charge_open", "person_id", "made_at", postgresql_where=text("state IN ('payable', 'paying')")),
        Index("ix_charge_paying_id", "paying_id", postgresql_where=text("paying_id IS NOT NULL")),
        Index("ix_charge_payment_id", "payment_id", postgresql_where=text("payment_id IS NOT NULL")),
        Index("ix_charge_made_at", "made_at"),
    )

    source: Mapped[str]
    number: Mapped[str]
    """The source's own number of the bill."""
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id))
    visit: Mapped[str | None]
    kind: Mapped[str]
    department_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Department.id))
    """Which department asked for it."""
    executing_department_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Department.id))
    made_at: Mapped[datetime]
    total_fen: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(default=ChargeState.PAYABLE)
    version: Mapped[int] = mapped_column(default=1)
    """Counts up when its source sends another content before it is paid."""
    digest: Mapped[str]
    """Of the content as its source sent it: the same again changes nothing."""
    paying_id: Mapped[uuid.UUID | None]
    """The `BillPayment` that has it while PAYING."""
    paid_how: Mapped[str | None]
    """``payment``: ours; ``elsewhere``: its source says that it was paid there; ``free``: nothing to pay."""
    payment_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Payment.id))
    paid_at: Mapped[datetime | None]
    receipt: Mapped[str | None]
    """The source's own receipt number where it was paid there."""
    invoice_number: Mapped[str | None] = mapped_column(unique=True)
    invoiced_at: Mapped[datetime | None]
    told_at: Mapped[datetime | None]
    """When the patient's phones were told of it."""


class ChargeItem(Identified, Base):
    """One line of a charge. `fen` is the line's amount; its amount, price and quantity never change."""

    __tablename__ = "charge_item"
    __table_args__ = (
        UniqueConstraint("charge_id", "version", "line", name="uq_charge_item_line"),
        CheckConstraint("fen >= 0 AND price_fen >= 0 AND quantity > 0", name="amount"),
        CheckConstraint(f"state IN {tuple(str(each) for each in ItemState)}", name="state"),
        CheckConstraint("state <> 'executed' OR executed_at IS NOT NULL", name="executed"),
        Index("ix_charge_item_order_key", "order_key", postgresql_where=text("order_key IS NOT NULL")),
    )

    charge_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Charge.id), index=True)
    version: Mapped[int] = mapped_column(default=1)
    """Of the charge whose content it is; lines of earlier versions are VOID."""
    line: Mapped[str]
    """The source's name of the line; its position where the source has none."""
    position: Mapped[int]
    code: Mapped[str]
    name: Mapped[str]
    spec: Mapped[str] = mapped_column(default="")
    unit: Mapped[str] = mapped_column(default="")
    quantity: Mapped[Decimal] = mapped_column(Numeric(12, 3))
    price_fen: Mapped[int] = mapped_column(BigInteger)
    """Of one unit, rounded to the fen; the line's own amount is `fen`."""
    fen: Mapped[int] = mapped_column(BigInteger)
    goods: Mapped[bool] = mapped_column(default=False)
    """Something is handed over (drugs, material): once dispensed it must come back before money does."""
    state: Mapped[str] = mapped_column(default=ItemState.PAYABLE)
    order_key: Mapped[str | None]
    """What it pays for (`rules.order_key`): the laboratory's receipt of that order's specimen executes it."""
    executed_at: Mapped[datetime | None]
    """Also of an item that was done before it was paid: it stays to be paid, and is EXECUTED at once when it is."""
    executed_by: Mapped[str | None]
    executed_in: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Department.id))
    undone: Mapped[int] = mapped_column(default=0)
    """How often its execution was taken back."""


class BillPaymentState(StrEnum):
    OPEN = "open"
    SETTLED = "settled"
    CLOSED = "closed"


class BillPayment(Identified, Created, Base):
    """Several charges paid together: what a payment is for. `lines` are fixed when it begins."""

    __tablename__ = "bill_payment"
    __table_args__ = (
        CheckConstraint("fen > 0 AND returned_fen >= 0 AND allocated_fen >= 0", name="fen"),
        CheckConstraint(f"state IN {tuple(str(each) for each in BillPaymentState)}", name="state"),
        CheckConstraint("state <> 'settled' OR allocated_fen + returned_fen = fen", name="whole"),
        Index("ix_bill_payment_open", "created_at", postgresql_where=text("state = 'open'")),
    )

    key: Mapped[str] = mapped_column(unique=True)
    """The submit's own: a second tap is the same payment."""
    payer_key: Mapped[str]
    by: Mapped[str]
    fen: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(default=BillPaymentState.OPEN)
    payment_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Payment.id), unique=True)
    allocated_fen: Mapped[int] = mapped_column(BigInteger, default=0)
    """Of its allocations; kept by a trigger."""
    returned_fen: Mapped[int] = mapped_column(BigInteger, default=0)
    """What went back at once, since its charge could not be paid any more."""


class BillPaymentLine(Base):
    """A charge as it was when its payment began."""

    __tablename__ = "bill_payment_line"

    bill_payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(BillPayment.id), primary_key=True)
    charge_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Charge.id), primary_key=True, index=True)
    version: Mapped[int]
    fen: Mapped[int] = mapped_column(BigInteger)


class Allocation(Identified, Created, Base):
    """Which fen of a payment paid an item: fixed when it settles, appended only, one for each item."""

    __tablename__ = "charge_allocation"
    __table_args__ = (
        CheckConstraint("fen >= 0", name="fen"),
        CheckConstraint("refunded_fen >= 0 AND refunded_fen <= fen", name="refunds"),
    )

    bill_payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(BillPayment.id), index=True)
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Payment.id), index=True)
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(ChargeItem.id), unique=True)
    fen: Mapped[int] = mapped_column(BigInteger)
    refunded_fen: Mapped[int] = mapped_column(BigInteger, default=0)
    """What living refunds take of it; kept by a trigger."""


class BillRefundState(StrEnum):
    ASKED = "asked"
    DONE = "done"
    DROPPED = "dropped"


class BillRefund(Identified, Created, Base):
    """Items of one charge whose money goes back by one refund of its payment."""

    __tablename__ = "bill_refund"
    __table_args__ = (
        CheckConstraint("fen >= 0", name="fen"),
        CheckConstraint(f"state IN {tuple(str(each) for each in BillRefundState)}", name="state"),
        CheckConstraint("route IN ('channel', 'cash')", name="route"),
        CheckConstraint("(refund_id IS NULL) = (fen = 0)", name="refund"),
    )

    charge_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Charge.id), index=True)
    payment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Payment.id), index=True)
    refund_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Refund.id), unique=True)
    """None where nothing has to move (all its items cost nothing)."""
    fen: Mapped[int] = mapped_column(BigInteger)
    route: Mapped[str]
    at_window: Mapped[bool]
    by: Mapped[str]
    reason: Mapped[str]
    state: Mapped[str] = mapped_column(default=BillRefundState.ASKED)
    done_at: Mapped[datetime | None]


class BillRefundLine(Identified, Base):
    """What a refund takes of an item's allocation."""

    __tablename__ = "bill_refund_line"
    __table_args__ = (
        Index("uq_bill_refund_line_living", "item_id", unique=True, postgresql_where=text("NOT dropped")),
        CheckConstraint("fen >= 0", name="fen"),
    )

    bill_refund_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(BillRefund.id), index=True)
    item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(ChargeItem.id), index=True)
    fen: Mapped[int] = mapped_column(BigInteger)
    dropped: Mapped[bool] = mapped_column(default=False)


class BillingPolicy(Identified, Base):
    """A decision of the hospital about bills; the newest row of a key counts, earlier ones stay."""

    __tablename__ = "billing_policy"
    __table_args__ = (Index("ix_billing_policy_key", "key", "valid_from"),)

    key: Mapped[str]
    value: Mapped[int | None]
    """None: as delivered."""
    set_by: Mapped[str]
    reason: Mapped[str]
    valid_from: Mapped[datetime] = mapped_column(default=clock.now)
