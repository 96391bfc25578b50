"""Tables of reflex rules: versioned, dated, approved by another than who wrote them; and everything they did."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified
from cloud.lis.catalog.model import ApprovalState
from cloud.lis.reflex.rule import Act, Rule


class ReflexRule(Identified, Created, Base):
    """One version of a rule. Only an approved one acts."""

    __tablename__ = "lab_reflex_rule"
    __table_args__ = (
        UniqueConstraint("code", "version", name="uq_lab_reflex_rule_version"),
        CheckConstraint("source <> ''", name="source_named"),
        CheckConstraint("approved_by <> edited_by", name="two_persons"),
    )

    code: Mapped[str] = mapped_column(String(32))
    version: Mapped[int]
    title: Mapped[str]
    condition: Mapped[str]
    act: Mapped[str] = mapped_column(String(8))
    tests: Mapped[list[Any]]
    dilution: Mapped[str] = mapped_column(String(8), default="")
    text: Mapped[str] = mapped_column(default="")
    charged: Mapped[bool] = mapped_column(default=False)
    """The added tests are charged to the patient."""
    times: Mapped[int] = mapped_column(default=1)
    """At most so often on one specimen."""
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

    def rule(self) -> Rule:
        return Rule(
            self.condition, Act(self.act), tuple(self.tests), self.dilution, self.text, self.charged, self.times
        )


class ReflexAction(Identified, Created, Base):
    """What a rule did on a specimen, once for each time; `done` false: it could not, and `why`."""

    __tablename__ = "lab_reflex_action"
    __table_args__ = (
        UniqueConstraint("specimen_id", "code", "number", name="uq_lab_reflex_action_number"),
        Index("ix_lab_reflex_action_rule_id", "rule_id"),
    )

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"))
    code: Mapped[str] = mapped_column(String(32))
    number: Mapped[int]
    rule_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_reflex_rule.id"))
    act: Mapped[str] = mapped_column(String(8))
    result_id: Mapped[uuid.UUID | None]
    """The result that was the cause."""
    done: Mapped[bool]
    why: Mapped[str] = mapped_column(default="")
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Values that the condition read, tests that were added, the dilution."""
