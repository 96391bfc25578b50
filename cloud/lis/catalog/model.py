"""Tables of the catalogue.

Ranges and limits are versioned and dated: a correction is a new row, an approved row is never overwritten. `state` is
LIS-0's: a draft works in the demo, watermarked; production releases only against what the director approved.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud.kit.db import Base, Created, Identified


class ApprovalState(StrEnum):
    """Where a piece of medical content stands (LIS-0)."""

    DRAFT = "draft"
    APPROVED = "approved"
    RETIRED = "retired"


class ValueType(StrEnum):
    """What a result of the test looks like."""

    NUMERIC = "numeric"
    QUALITATIVE = "qualitative"
    TITRE = "titre"
    TEXT = "text"


class Tube(Identified, Base):
    """A container as it is ordered from the supplier: cap, additive, volume."""

    __tablename__ = "lab_tube"

    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str]
    cap_colour: Mapped[str]
    """Colour word as the ward says it (紫, 黄, 蓝)."""
    colour_hex: Mapped[str] = mapped_column(String(7))
    additive: Mapped[str]
    volume_ml: Mapped[Decimal] = mapped_column(Numeric(6, 2))
    """What is to be drawn, millilitres."""
    specimen_type: Mapped[str] = mapped_column(String(32))
    position: Mapped[int] = mapped_column(default=0)
    """Order of draw, smallest first."""
    source: Mapped[str] = mapped_column(default="")


class Test(Identified, Created, Base):
    """One test the laboratory reports. `unit` is the unit results are stored in; ``""`` with `unitless` true: none."""

    __test__ = False  # not a test of pytest's

    __tablename__ = "lab_test"
    __table_args__ = (
        CheckConstraint("unitless = (unit = '')", name="unit_or_unitless"),
        Index("ix_lab_test_pinyin", "pinyin"),
    )

    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str]
    name_en: Mapped[str]
    short_name: Mapped[str] = mapped_column(String(32))
    """What fits on a label and in a dense table ("WBC")."""
    pinyin: Mapped[str] = mapped_column(String(64))
    """Initials for the keyboard (白细胞计数: "bxbjs")."""
    unit: Mapped[str] = mapped_column(String(32))
    unitless: Mapped[bool]
    decimals: Mapped[int | None]
    """Digits after the point in which a numeric value is shown; none for others."""
    value_type: Mapped[str] = mapped_column(String(16))
    specimen_type: Mapped[str] = mapped_column(String(32))
    tube_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_tube.id"))
    section: Mapped[str] = mapped_column(String(32))
    method: Mapped[str] = mapped_column(default="")
    loinc: Mapped[str | None] = mapped_column(String(16))
    sensitive: Mapped[str] = mapped_column(String(16), default="")
    """Why a patient does not get it without a person (REP-1: "hiv", "genetics", "pathology" ...); "" if not."""
    orderable: Mapped[bool] = mapped_column(default=True)
    position: Mapped[int] = mapped_column(default=0)
    """Order on the report."""
    state: Mapped[str] = mapped_column(String(16), default=ApprovalState.DRAFT)
    source: Mapped[str] = mapped_column(default="")


class _Versioned:
    """Dated, versioned medical content; valid on days `valid_from` <= day < `valid_to`."""

    age_min_days: Mapped[int] = mapped_column(default=0)
    """First day of life included."""
    age_max_days: Mapped[int | None]
    """First day of life not included any more; none: no upper end."""
    low: Mapped[Decimal | None] = mapped_column(Numeric(18, 6))
    high: Mapped[Decimal | None] = mapped_column(Numeric(18, 6))
    source: Mapped[str]
    state: Mapped[str] = mapped_column(String(16), default=ApprovalState.DRAFT)
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]
    version: Mapped[int] = mapped_column(default=1)
    approved_by: Mapped[str | None]
    approved_at: Mapped[datetime | None]


class ReferenceRange(Identified, Created, _Versioned, Base):
    """One band of a test's reference interval. Both bounds are normal; `text` is the qualitative normal ("阴性")."""

    __tablename__ = "lab_reference_range"
    __table_args__ = (
        UniqueConstraint(
            "test_id", "specimen_type", "sex", "age_min_days", "version", name="uq_lab_reference_range_band"
        ),
        CheckConstraint("source <> ''", name="source_named"),
        CheckConstraint("low IS NOT NULL OR high IS NOT NULL OR text <> ''", name="says_something"),
        CheckConstraint("age_max_days IS NULL OR age_max_days > age_min_days", name="ages_in_order"),
    )

    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"), index=True)
    sex: Mapped[str] = mapped_column(String(1), default="")
    """ "M", "F", or "" for both."""
    specimen_type: Mapped[str] = mapped_column(String(32), default="")
    """"" : the test's own."""
    text: Mapped[str] = mapped_column(default="")


class CriticalLimit(Identified, Created, _Versioned, Base):
    """Values beyond which somebody is called at once (LIS-11). `inclusive`: the limit itself is critical (≤, ≥)."""

    __tablename__ = "lab_critical_limit"
    __table_args__ = (
        UniqueConstraint("test_id", "sex", "age_min_days", "version", name="uq_lab_critical_limit_band"),
        CheckConstraint("source <> ''", name="source_named"),
        CheckConstraint("low IS NOT NULL OR high IS NOT NULL", name="says_something"),
        CheckConstraint("age_max_days IS NULL OR age_max_days > age_min_days", name="ages_in_order"),
    )

    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"), index=True)
    sex: Mapped[str] = mapped_column(String(1), default="")
    inclusive: Mapped[bool] = mapped_column(default=False)


class Panel(Identified, Created, Base):
    """What a doctor orders with one word (血常规): tests in their order on the report."""

    __tablename__ = "lab_panel"

    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str]
    name_en: Mapped[str]
    short_name: Mapped[str] = mapped_column(String(32))
    pinyin: Mapped[str] = mapped_column(String(64))
    section: Mapped[str] = mapped_column(String(32))
    position: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(16), default=ApprovalState.DRAFT)
    source: Mapped[str] = mapped_column(default="")


class PanelTest(Base):
    """A test of a panel."""

    __tablename__ = "lab_panel_test"

    panel_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_panel.id"), primary_key=True)
    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"), primary_key=True)
    position: Mapped[int] = mapped_column(default=0)
