"""Tables of reading stored messages anew: who asked, what a newer driver reads otherwise, who approved, what became.

The bytes of a message never change. Its old reading stays here (`RedecodeMessage.before`) when the new one is applied.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.gateways.model import Gateway, InboxMessage
from cloud.kit.db import Base, Identified
from cloud.lis.results.model import Result
from cloud.lis.specimens.model import Specimen


class Which(StrEnum):
    """Which messages of a link are read anew."""

    OLDER = "older"
    """Applied, and read by another release of the driver."""
    UNDECODED = "undecoded"
    """Not read, or not all of it."""
    REFUSED = "refused"
    """Read, and refused by the laboratory."""
    ALL = "all"
    ONE = "one"


class RedecodeState(StrEnum):
    ASKED = "asked"
    """A job reads; nothing is applied."""
    READY = "ready"
    """Something differs: a second person decides."""
    NOTHING = "nothing"
    """Nothing differs: there is nothing to decide."""
    REFUSED = "refused"
    APPROVED = "approved"
    """A job applies it."""
    APPLIED = "applied"
    FAILED = "failed"
    """It could not be read at all; `problem` says why."""


class Redecode(Identified, Base):
    """One request, and the decision about it."""

    __tablename__ = "gateway_redecode"
    __table_args__ = (
        CheckConstraint("decided_by <> asked_by", name="two_persons"),
        Index("ix_gateway_redecode_asked_at", "asked_at"),
    )

    gateway: Mapped[str] = mapped_column(ForeignKey(Gateway.id))
    link: Mapped[str] = mapped_column(String(64))
    which: Mapped[Which] = mapped_column(String(16))
    inbox_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(InboxMessage.id))
    """Of one message alone."""
    stored_from: Mapped[datetime | None]
    stored_to: Mapped[datetime | None]
    """Stored in the cloud from then, and before then."""
    driver: Mapped[str] = mapped_column(String(64))
    """"auto": each message is recognised by itself."""
    driver_version: Mapped[str]
    options: Mapped[dict[str, Any]]
    """What the box's configuration tells the driver of this instrument now."""
    options_known: Mapped[bool]
    """False: the box has not said them (an older one), or serves the link with another driver."""
    state: Mapped[RedecodeState] = mapped_column(String(12))
    asked_at: Mapped[datetime]
    asked_by: Mapped[uuid.UUID]
    asked_by_name: Mapped[str]
    asked_reason: Mapped[str]
    read_through: Mapped[uuid.UUID | None]
    """The last message that was read: where the job goes on after a stop."""
    read_at: Mapped[datetime | None]
    cut: Mapped[bool] = mapped_column(default=False)
    """There were more messages than are read at once."""
    problem: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[uuid.UUID | None]
    decided_by_name: Mapped[str | None]
    decided_reason: Mapped[str | None]
    applied_at: Mapped[datetime | None]


class MessageFate(StrEnum):
    SAME = "same"
    DIFFERS = "differs"
    UNREADABLE = "unreadable"
    """The driver failed on it: it stays as it is."""
    APPLIED = "applied"
    MOVED = "moved"
    """Something else happened to it since it was read: left alone."""
    NOT_TAKEN = "not_taken"
    """The laboratory refused it; `problem` says why."""


class RedecodeMessage(Identified, Base):
    """One message of a request: both readings side by side."""

    __tablename__ = "gateway_redecode_message"
    __table_args__ = (
        UniqueConstraint("redecode_id", "inbox_id"),
        Index("ix_gateway_redecode_message_inbox_id", "inbox_id"),
    )

    redecode_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Redecode.id))
    inbox_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(InboxMessage.id))
    state: Mapped[MessageFate] = mapped_column(String(12))
    was: Mapped[str] = mapped_column(String(12))
    """The message's own state when it was read."""
    was_sha256: Mapped[str] = mapped_column(String(64))
    """Over its reading then: another one at the time of applying means that it was changed in between."""
    was_driver: Mapped[str]
    was_driver_version: Mapped[str]
    before: Mapped[list[Any]]
    after: Mapped[list[Any]]
    reading: Mapped[dict[str, Any]]
    """Driver, version, state, reason, sender, message_id and charset of the new reading."""
    differences: Mapped[list[Any]]
    """{"what", "before", "after", "fields"}: places in `before` and `after`."""
    added: Mapped[int]
    changed: Mapped[int]
    removed: Mapped[int]
    ordinals: Mapped[list[Any] | None]
    """Under which ordinal each item of `after` is stored in the laboratory's tables, once applied."""
    outcome: Mapped[dict[str, Any] | None]
    problem: Mapped[str | None]
    applied_at: Mapped[datetime | None]


class RedecodeAmendment(Identified, Base):
    """A released value that a new reading contradicts: over when its report was amended, or somebody says why not."""

    __tablename__ = "gateway_redecode_amendment"
    __table_args__ = (
        UniqueConstraint("redecode_id", "result_id"),
        Index("ix_gateway_redecode_amendment_open", "specimen_id", postgresql_where=text("dismissed_at IS NULL")),
    )

    redecode_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Redecode.id))
    result_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Result.id))
    new_result_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Result.id))
    specimen_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Specimen.id))
    asked_at: Mapped[datetime]
    dismissed_at: Mapped[datetime | None]
    dismissed_by: Mapped[uuid.UUID | None]
    dismissed_by_name: Mapped[str | None]
    reason: Mapped[str | None]
