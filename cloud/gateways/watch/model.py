"""Tables of what is watched of boxes and instruments: what changed, how long a silence is expected, alarms of silence.

All moments are the cloud's own clock: a box whose clock is wrong is watched like any other.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from cloud.gateways.model import Gateway
from cloud.kit.db import Base, Identified
from cloud.lis.instruments.model import Instrument

BOX = ""
"""In place of a link: the box itself."""


class GatewayChange(Identified, Base):
    """One thing about a box or a link that became another, as the cloud heard of it. A trigger refuses UPDATE and
    DELETE. A box describes itself every 30 s: what came and went between two descriptions is not here.
    """

    __tablename__ = "gateway_change"
    __table_args__ = (Index("ix_gateway_change_gateway_at", "gateway", "at"),)

    gateway: Mapped[str] = mapped_column(ForeignKey(Gateway.id))
    link: Mapped[str] = mapped_column(String(64), default=BOX)
    what: Mapped[str] = mapped_column(String(16))
    """A key of `rules.CHANGES`."""
    before: Mapped[str | None]
    after: Mapped[str | None]
    detail: Mapped[str | None]
    at: Mapped[datetime]


class SilenceLimit(Identified, Base):
    """How long an instrument (or every instrument of a section) may say nothing. Append-only: the newest row rules.

    A row of an instrument with `inherits` gives it back to its section; where no row speaks, `rules.DEFAULTS` does.
    """

    __tablename__ = "gateway_silence_limit"
    __table_args__ = (
        CheckConstraint("(instrument_id IS NULL) <> (section IS NULL)", name="one_scope"),
        CheckConstraint("minutes > 0", name="minutes_positive"),
        Index("ix_gateway_silence_limit_scope", "instrument_id", "section", "set_at"),
    )

    instrument_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Instrument.id))
    section: Mapped[str | None] = mapped_column(String(32))
    """"" is every section that has no row of its own."""
    inherits: Mapped[bool] = mapped_column(default=False)
    minutes: Mapped[int | None]
    """None: its silence is never an alarm."""
    opens: Mapped[int] = mapped_column(default=0)
    """Minutes after midnight, hospital time, when work begins; with `closes` the same: around the clock."""
    closes: Mapped[int] = mapped_column(default=0)
    days: Mapped[list[Any]] = mapped_column(default=list)
    """Weekdays on which work begins, 1 Monday to 7 Sunday."""
    set_at: Mapped[datetime]
    set_by: Mapped[str]
    set_by_name: Mapped[str]
    reason: Mapped[str]


class SilenceAlarm(Identified, Base):
    """One silence that is too long, from its alarm to its end. Ends by itself when something is heard again."""

    __tablename__ = "gateway_silence_alarm"
    __table_args__ = (
        Index(
            "uq_gateway_silence_alarm_open", "gateway", "link", unique=True, postgresql_where=text("ended_at IS NULL")
        ),
        Index("ix_gateway_silence_alarm_gateway_opened_at", "gateway", "opened_at"),
    )

    gateway: Mapped[str] = mapped_column(ForeignKey(Gateway.id))
    link: Mapped[str] = mapped_column(String(64), default=BOX)
    instrument_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Instrument.id))
    silent_since: Mapped[datetime]
    """When it was heard last."""
    limit_s: Mapped[int]
    """The silence that was allowed, in seconds."""
    opened_at: Mapped[datetime]
    heard_at: Mapped[datetime | None]
    """When it spoke again."""
    ended_at: Mapped[datetime | None]
    """When the alarm ended: a moment after `heard_at`, or when the instrument was taken out of service."""
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[uuid.UUID | None]
    acknowledged_by_name: Mapped[str | None]
    reason: Mapped[str | None]
    """What was found and done, in the words of who acknowledged it."""
