"""Tables of the automatic verification: rule sets by version, decisions with their facts, stops, back-tests, drift.

A version is edited while it is a draft and never after; its rules are one JSON list (`verification.ruleset`), so that a
decision names everything it rests on by two ids: its rule set and its facts.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified
from cloud.kit.errors import Conflict
from cloud.web.i18n import mark as N_


class RuleSetState(StrEnum):
    DRAFT = "draft"
    TESTED = "tested"
    """Tested on history as it stands; any edit makes it a draft again."""
    APPROVED = "approved"
    """Live from `live_from` until a later version or until it is retired."""
    RETIRED = "retired"


MOVES: dict[RuleSetState, frozenset[RuleSetState]] = {
    RuleSetState.DRAFT: frozenset({RuleSetState.TESTED, RuleSetState.RETIRED}),
    RuleSetState.TESTED: frozenset({RuleSetState.DRAFT, RuleSetState.APPROVED, RuleSetState.RETIRED}),
    RuleSetState.APPROVED: frozenset({RuleSetState.RETIRED}),
    RuleSetState.RETIRED: frozenset(),
}


class RuleSetVersion(Identified, Created, Base):
    """One version of one rule set. `revision` moves with every edit and guards stale pages."""

    __tablename__ = "lab_rule_set"
    __table_args__ = (
        UniqueConstraint("code", "version"),
        CheckConstraint("state <> 'approved' OR (approved_by IS NOT NULL AND live_from IS NOT NULL)", name="approved"),
        CheckConstraint("approved_by IS NULL OR NOT (editors @> to_jsonb(approved_by))", name="two_persons"),
    )

    code: Mapped[str] = mapped_column(String(32))
    version: Mapped[int]
    name: Mapped[str]
    sections: Mapped[list[Any]] = mapped_column(default=list)
    """Codes of the sections whose tests it decides; empty: all."""
    rules: Mapped[list[Any]] = mapped_column(default=list)
    act: Mapped[str] = mapped_column(String(8), default="release")
    """What a pass does: "release"; "review" only (a person releases); "partial": releases what passes whole, and of a
    tube that does not, reviews the tests that pass while the others wait for a person."""
    state: Mapped[RuleSetState] = mapped_column(String(12), default=RuleSetState.DRAFT)
    shadow: Mapped[bool] = mapped_column(default=False)
    """Decides beside the laboratory, is recorded, and changes nothing."""
    revision: Mapped[int] = mapped_column(default=1)
    editors: Mapped[list[Any]] = mapped_column(default=list)
    """Ids of everybody who changed this version: none of them may approve it."""
    edited_by_name: Mapped[str]
    edited_at: Mapped[datetime]
    note: Mapped[str] = mapped_column(default="")
    """What this version changes and why."""
    tested_at: Mapped[datetime | None]
    backtest_id: Mapped[uuid.UUID | None]
    """The test on history that it stands on."""
    approved_by: Mapped[uuid.UUID | None]
    approved_by_name: Mapped[str | None]
    approved_at: Mapped[datetime | None]
    live_from: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    retired_by_name: Mapped[str | None]
    retired_reason: Mapped[str | None]

    def move_to(self, state: RuleSetState) -> None:
        """The only way `state` changes."""
        if state not in MOVES[RuleSetState(self.state)]:
            raise Conflict("rules.state", N_("规则集的状态不允许这样做，请刷新页面。"), state=str(self.state))
        self.state = state


class RuleRevision(Base):
    """The rules as they stood at one revision: a draft that was edited since still explains what it decided before."""

    __tablename__ = "lab_rule_revision"

    rule_set_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_rule_set.id"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rules: Mapped[list[Any]]
    sections: Mapped[list[Any]]


class AutoFacts(Identified, Base):
    """What was known of a specimen when rule sets decided on it (`verification.facts`), once for all of them."""

    __tablename__ = "lab_auto_facts"

    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    at: Mapped[datetime]
    sheet_version: Mapped[int]
    """The sheet's version that the facts were read at."""
    facts: Mapped[dict[str, Any]]


class AutoDecision(Identified, Base):
    """What one rule set said of it. `mode` "live" or "shadow"; `action` what came of it."""

    __tablename__ = "lab_auto_decision"
    __table_args__ = (
        Index("ix_lab_auto_decision_rule_set_id_at", "rule_set_id", "at"),
        Index("ix_lab_auto_decision_at", "at"),
    )

    facts_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_auto_facts.id"), index=True)
    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_specimen.id"), index=True)
    rule_set_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_rule_set.id"))
    revision: Mapped[int]
    """Of the rule set when it decided."""
    mode: Mapped[str] = mapped_column(String(8))
    at: Mapped[datetime]
    passed: Mapped[bool]
    action: Mapped[str] = mapped_column(String(12), default="none")
    """none (shadow, or held), reviewed, released, partial (what passed is reviewed, the rest waits);
    refused: a guard of review or release said no."""
    refusal: Mapped[str | None] = mapped_column(String(64))
    outcome: Mapped[dict[str, Any]]
    """`verification.deciding.Decision.to_json`: of each test, the finding of each rule."""


class AutoStop(Identified, Base):
    """Somebody stopped automatic verification: of all, one test or one instrument. In force until resumed."""

    __tablename__ = "lab_auto_stop"
    __table_args__ = (
        Index("uq_lab_auto_stop_open", "scope", unique=True, postgresql_where=text("resumed_at IS NULL")),
        CheckConstraint("reason <> ''", name="reason_given"),
    )

    scope: Mapped[str] = mapped_column(String(80))
    """``all``, ``test:<code>`` or ``instrument:<code>``."""
    stopped_at: Mapped[datetime]
    stopped_by: Mapped[uuid.UUID]
    stopped_by_name: Mapped[str]
    reason: Mapped[str]
    resumed_at: Mapped[datetime | None]
    resumed_by: Mapped[uuid.UUID | None]
    resumed_by_name: Mapped[str | None]
    resumed_reason: Mapped[str | None]


class Backtest(Identified, Base):
    """A rule set tried on the laboratory's own history. `rules` are those that were tried."""

    __tablename__ = "lab_backtest"

    rule_set_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_rule_set.id"), index=True)
    revision: Mapped[int]
    since: Mapped[date]
    until: Mapped[date]
    """First and last day of receipt."""
    most: Mapped[int]
    """At most so many specimens, the newest."""
    asked_at: Mapped[datetime]
    asked_by: Mapped[uuid.UUID | None]
    asked_by_name: Mapped[str]
    state: Mapped[str] = mapped_column(String(8), default="waiting")
    """waiting, done or failed."""
    done_at: Mapped[datetime | None]
    rules: Mapped[list[Any]]
    outcome: Mapped[dict[str, Any]] = mapped_column(default=dict)


class AutoDay(Base):
    """How many values of a test a rule set decided on a day, and how many it passed: counted from the decisions."""

    __tablename__ = "lab_auto_day"

    rule_set_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_rule_set.id"), primary_key=True)
    mode: Mapped[str] = mapped_column(String(8), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True, index=True)
    test_code: Mapped[str] = mapped_column(String(32), primary_key=True)
    decided: Mapped[int]
    passed: Mapped[int]
    hits: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """How many were held by each rule (by id; guards by their kind)."""


class AutoAlarm(Identified, Base):
    """The pass rate of a test on one day lies outside what its own days before let expect."""

    __tablename__ = "lab_auto_alarm"
    __table_args__ = (UniqueConstraint("rule_set_id", "mode", "day", "test_code"),)

    rule_set_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_rule_set.id"))
    mode: Mapped[str] = mapped_column(String(8))
    day: Mapped[date]
    test_code: Mapped[str] = mapped_column(String(32))
    rate: Mapped[float]
    expected: Mapped[float]
    low: Mapped[float]
    high: Mapped[float]
    decided: Mapped[int]
    raised_at: Mapped[datetime]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[uuid.UUID | None]
    acknowledged_by_name: Mapped[str | None]
    reason: Mapped[str | None]
