"""Control results, stored apart from patients' and exactly as they came. Judging them is the QC engine's part."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Index, Numeric, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Identified


class QcResult(Identified, Base):
    """One value of one control material. `test_id` is empty while the instrument's code has no channel."""

    __tablename__ = "lab_qc_result"
    __table_args__ = (
        UniqueConstraint("inbox_id", "ordinal"),
        Index("ix_lab_qc_result_instrument_id_code_received_at", "instrument_id", "code", "received_at"),
    )

    instrument_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_instrument.id"))
    """Empty: the link is not known as an instrument yet; `gateway` and `link` say where it came from."""
    gateway: Mapped[str]
    link: Mapped[str]
    test_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("lab_test.id"))
    inbox_id: Mapped[uuid.UUID]
    ordinal: Mapped[int]
    """Place (from 0) among the items of the message."""
    material: Mapped[str | None]
    level: Mapped[str | None]
    lot: Mapped[str | None]
    specimen: Mapped[str | None]
    """What the instrument put in the specimen field (control materials often carry a barcode of their own)."""
    code: Mapped[str]
    value: Mapped[str | None]
    """As sent, in the instrument's unit."""
    number: Mapped[Decimal | None] = mapped_column(Numeric)
    comparator: Mapped[str | None]
    unit: Mapped[str | None]
    flags: Mapped[list[Any]] = mapped_column(default=list)
    observed_at: Mapped[datetime | None]
    observed_at_raw: Mapped[str | None]
    received_at: Mapped[datetime] = mapped_column(index=True)
    superseded: Mapped[bool] = mapped_column(default=False)
    """A newer driver read the message otherwise: kept, and not among the controls any more."""
