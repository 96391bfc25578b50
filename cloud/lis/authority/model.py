"""Grants of acts on tests to persons, and the director's decision whether they are enforced. Both append-only.

A grant is never changed: it ends by its last day or by being revoked, and a renewal is a further grant.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified


class AuthorityGrant(Identified, Created, Base):
    """One person may do one act to all tests, a section, a panel or one test, on the days `valid_from`..`valid_to`.

    It counts from the moment it was entered (`created_at`), also where `valid_from` lies before.
    """

    __tablename__ = "lab_authority_grant"
    __table_args__ = (
        Index("ix_lab_authority_grant_staff_id_act", "staff_id", "act"),
        CheckConstraint("reason <> ''", name="reason_given"),
        CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name="days_in_order"),
        CheckConstraint("(scope = 'all') = (target = '')", name="target_named"),
        CheckConstraint("granted_by <> staff_id", name="not_to_oneself"),
    )

    staff_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("staff_account.id"))
    act: Mapped[str] = mapped_column(String(24))
    """One of `words.ACTS`."""
    scope: Mapped[str] = mapped_column(String(8))
    """all, section, panel or test."""
    target: Mapped[str] = mapped_column(String(32))
    """Code of the section, panel or test; empty for all."""
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    """The last day on which it holds; none: until revoked."""
    reason: Mapped[str]
    """Why: the training, examination or appointment it rests on."""
    granted_by: Mapped[uuid.UUID | None]
    """Empty: the program itself (the demo's start)."""
    granted_by_name: Mapped[str]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[uuid.UUID | None]
    revoked_by_name: Mapped[str | None]
    revoked_reason: Mapped[str | None]


class AuthorityPolicy(Identified, Base):
    """Whether an act needs a grant (`enforced`) or the role alone decides. The newest row of an act (or of "", every
    act) rules; while there is none, the role alone decides and the page says so.
    """

    __tablename__ = "lab_authority_policy"

    act: Mapped[str] = mapped_column(String(24))
    enforced: Mapped[bool]
    set_by: Mapped[str]
    set_by_name: Mapped[str]
    reason: Mapped[str]
    valid_from: Mapped[datetime]
