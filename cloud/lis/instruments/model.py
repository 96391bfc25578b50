"""Tables of instruments and channels.

An instrument is met under `(gateway, link)`: the box it hangs on and the link's name there. What it calls a test is a
channel's `code`, whatever the driver reads as the code of an observation.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Numeric, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified
from cloud.lis.catalog.model import ApprovalState, Test


class InstrumentState(StrEnum):
    ACTIVE = "active"
    INACTIVE = "inactive"
    """No worklist is sent to it; what still arrives is kept."""


class ChannelKind(StrEnum):
    TEST = "test"
    MESSAGE = "message"
    """What the instrument says about the specimen or its own work (a suspicion, a grade, a picture): no value."""
    HAEMOLYSIS = "index_h"
    ICTERUS = "index_i"
    LIPAEMIA = "index_l"
    """A serum index: says how far the tube may be trusted, shown beside its values, read by rules, never reported."""


SERUM_INDEX = {ChannelKind.HAEMOLYSIS: "H", ChannelKind.ICTERUS: "I", ChannelKind.LIPAEMIA: "L"}
"""Letter of the index, by kind of channel."""


class Instrument(Identified, Created, Base):
    """One analyzer behind one link of one box."""

    __tablename__ = "lab_instrument"
    __table_args__ = (UniqueConstraint("gateway", "link", name="uq_lab_instrument_place"),)

    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str]
    gateway: Mapped[str] = mapped_column(String(64))
    link: Mapped[str] = mapped_column(String(64))
    driver: Mapped[str] = mapped_column(String(64))
    section: Mapped[str] = mapped_column(String(32), default="")
    state: Mapped[str] = mapped_column(String(16), default=InstrumentState.ACTIVE)


class InstrumentChannel(Identified, Created, Base):
    """One code of the instrument. Value of ours = value of the instrument times `factor`."""

    __tablename__ = "lab_instrument_channel"
    __table_args__ = (
        UniqueConstraint("instrument_id", "code", name="uq_lab_instrument_channel_code"),
        CheckConstraint("factor > 0", name="factor_positive"),
        CheckConstraint("(kind = 'test') = (test_id IS NOT NULL)", name="test_named"),
    )

    instrument_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_instrument.id"), index=True)
    code: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16), default=ChannelKind.TEST)
    test_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Test.id), index=True)
    """Empty where the code is a message."""
    factor: Mapped[Decimal] = mapped_column(Numeric(18, 9), default=Decimal(1))
    unit: Mapped[str] = mapped_column(String(32), default="")
    """The unit the instrument is expected to send; another one is held unless `also_units` names it. "": it sends
    none, or the test's own."""
    also_units: Mapped[str] = mapped_column(String(128), default="", server_default="")
    """Other units it may send, with commas between them: converted by the unit table (`results.conversion`)."""
    method: Mapped[str] = mapped_column(String(64), default="")
    """How this analyzer measures it, where ranges depend on it; "": the test's own method."""
    sendable: Mapped[bool] = mapped_column(default=True)
    """The instrument takes this code in an order (a calculated parameter often is not)."""
    state: Mapped[str] = mapped_column(String(16), default=ApprovalState.DRAFT)
    version: Mapped[int] = mapped_column(default=1)
    edited_by: Mapped[str | None]
    approved_by: Mapped[str | None]
    approved_at: Mapped[datetime | None]
