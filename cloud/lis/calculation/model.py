"""Tables of calculated tests.

A formula is versioned, dated data with its source and state (LIS-0): a change is a new version, an approved one is
never overwritten. Who edited a version does not approve it; the database refuses too.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified
from cloud.lis.calculation.formula import Definition
from cloud.lis.catalog.model import ApprovalState
from cloud.lis.orders.model import OrderItem


class Formula(Identified, Created, Base):
    """One version of how a test is calculated."""

    __tablename__ = "lab_formula"
    __table_args__ = (
        UniqueConstraint("test_id", "version", name="uq_lab_formula_version"),
        CheckConstraint("source <> ''", name="source_named"),
        CheckConstraint("approved_by <> edited_by", name="two_persons"),
    )

    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"), index=True)
    version: Mapped[int]
    expression: Mapped[str]
    parts: Mapped[dict[str, Any]]
    """`operands`, `parameters`, `limits`, `examples` (`formula.Definition`)."""
    adds_itself: Mapped[bool] = mapped_column(default=False)
    """Is added to the specimen, uncharged, as soon as every operand is there."""
    though_measured: Mapped[bool] = mapped_column(default=False)
    """Also where an instrument in use measures the test; otherwise the instrument's value is waited for."""
    source: Mapped[str]
    state: Mapped[str] = mapped_column(String(16), default=ApprovalState.DRAFT)
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    edited_by: Mapped[str]
    edited_by_name: Mapped[str]
    edited_reason: Mapped[str] = mapped_column(default="")
    approved_by: Mapped[str | None]
    approved_by_name: Mapped[str | None]
    approved_at: Mapped[datetime | None]

    def definition(self, test: str) -> Definition:
        """`test`: the code of `test_id`."""
        return Definition.of_json(test, self.expression, self.parts)


class AddedItem(Base):
    """Why an order item stands on a specimen that nobody ordered: a formula or a reflex rule, charged or not."""

    __tablename__ = "lab_added_item"

    order_item_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(OrderItem.id), primary_key=True)
    reason: Mapped[str] = mapped_column(String(16))
    """``calculated`` or ``reflex``."""
    charged: Mapped[bool]
    rule_id: Mapped[uuid.UUID]
    """The version of the formula or of the reflex rule."""
    result_id: Mapped[uuid.UUID | None]
    """The result that was the cause."""
    added_at: Mapped[datetime]
