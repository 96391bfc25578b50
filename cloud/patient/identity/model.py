"""Accounts of a channel, sign-in attempts, bindings to persons and the codes that prove them, and who looked at what.

What an account may do is not here: it is a `PersonGrant` in the people slice, so that a merge can suspend it at once.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit import clock
from cloud.kit.db import Base, Created, Identified
from cloud.patient.identity.rules import GUARDIAN, RELATIONS

METHODS = ("sms", "window")


class PatientAccount(Identified, Created, Base):
    """One user of one channel's app, as the channel names them; says nothing yet about who that is."""

    __tablename__ = "patient_account"
    __table_args__ = (
        UniqueConstraint("channel", "app_id", "open_id", name="uq_patient_account_channel_open_id"),
        UniqueConstraint("channel", "app_id", "user_id", name="uq_patient_account_channel_user_id"),
    )

    channel: Mapped[str]
    """``wechat`` or ``alipay``."""
    app_id: Mapped[str]
    open_id: Mapped[str | None]
    union_id: Mapped[str | None]
    user_id: Mapped[str | None]
    """Alipay's older name for a user."""
    seen_at: Mapped[datetime] = mapped_column(default=clock.now)


class SignInAttempt(Identified, Created, Base):
    """One walk to the channel and back: `state` belongs to one browser and is good once; so is the code it brings."""

    __tablename__ = "patient_sign_in"

    channel: Mapped[str] = mapped_column(default="wechat", server_default="wechat")
    """Whose answer may use it up."""
    state_index: Mapped[str] = mapped_column(unique=True)
    browser_index: Mapped[str]
    next_page: Mapped[str]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    code_index: Mapped[str | None] = mapped_column(unique=True)


class Binding(Identified, Base):
    """An account was proved to belong to a person (``self``) or to somebody who books for them (``family``)."""

    __tablename__ = "patient_binding"
    __table_args__ = (
        CheckConstraint(f"relation IN {(*RELATIONS, GUARDIAN)}", name="relation"),
        CheckConstraint(f"method IN {METHODS}", name="method"),
        Index(
            "uq_patient_binding_live",
            "account_id",
            "person_id",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "uq_patient_binding_self",
            "account_id",
            unique=True,
            postgresql_where=text("ended_at IS NULL AND relation = 'self'"),
        ),
        Index("ix_patient_binding_person_id", "person_id"),
        Index("ix_patient_binding_real_name", "bound_at", postgresql_where=text("real_name = 'unknown'")),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("patient_account.id"))
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    relation: Mapped[str]
    method: Mapped[str]
    by: Mapped[str]
    bound_at: Mapped[datetime] = mapped_column(default=clock.now)
    ended_at: Mapped[datetime | None]
    real_name: Mapped[str | None]
    """What the real-name service said: ``same``, ``different``, ``unknown`` (asked again); empty: not asked."""
    why_ended: Mapped[str | None]
    """``unbound``, or ``verified_again`` when a newer binding took its place."""


class BindingCode(Identified, Created, Base):
    """Six digits sent to the phone on the hospital's file. Kept as a keyed hash; five tries; good once."""

    __tablename__ = "patient_binding_code"

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("patient_account.id"), index=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("person.id"))
    relation: Mapped[str]
    code_hash: Mapped[str]
    phone_shown: Mapped[str]
    scopes: Mapped[str | None]
    """What entering it lets the account read, separated by spaces; empty: it binds."""
    lasts_days: Mapped[int | None]
    """Empty, with `scopes`: until it is taken back."""
    real_name: Mapped[str | None]
    """What the real-name service said before the code was sent; the binding keeps it."""
    tries: Mapped[int] = mapped_column(default=0)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class WindowCode(Identified, Created, Base):
    """The short code a phone shows at the window, where staff look at the patient's card. Kept as a keyed hash."""

    __tablename__ = "patient_window_code"

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("patient_account.id"), index=True)
    code_index: Mapped[str] = mapped_column(unique=True)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class AccessRecord(Identified, Base):
    """Which account opened (or was refused) what; appended. The person sees it on the page "my"."""

    __tablename__ = "patient_access"
    __table_args__ = (
        Index("ix_patient_access_person_id_at", "person_id", "at"),
        Index("ix_patient_access_refused", "target", postgresql_where=text("NOT allowed")),
    )

    at: Mapped[datetime] = mapped_column(default=clock.now)
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("patient_account.id"), index=True)
    person_id: Mapped[uuid.UUID | None]
    """Whose data; empty for a refusal, which must not tell whose it would have been."""
    act: Mapped[str]
    """``report.open``, ``report.pdf`` ... (`acts.WORDS`)"""
    target: Mapped[str]
    allowed: Mapped[bool]


class PatientPolicy(Identified, Base):
    """A decision of the hospital about accounts; the newest row of a key counts, earlier ones stay."""

    __tablename__ = "patient_policy"
    __table_args__ = (Index("ix_patient_policy_key", "key", "valid_from"),)

    key: Mapped[str]
    value: Mapped[int]
    set_by: Mapped[str]
    reason: Mapped[str]
    valid_from: Mapped[datetime] = mapped_column(default=clock.now)
