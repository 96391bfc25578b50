"""Tables of the catalogue.

Ranges and limits are versioned and dated: a correction is a new row, an approved row is never overwritten. `state` is
LIS-0's: a draft works in the demo, watermarked; production releases only against what the director approved.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Numeric, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud.hospital.model import Department
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
    """A dilution, 1:80: it goes by doublings."""
    RATIO = "ratio"
    """A quotient of two measured things, a number (INR 1.2, albumin/creatinine 12 mg/g): never 1:80, never diluted."""
    TEXT = "text"

    @property
    def in_numbers(self) -> bool:
        """A value must be a number; formulas may read it."""
        return self in (ValueType.NUMERIC, ValueType.RATIO)


class Phase(StrEnum):
    """What a range may ask about a woman's cycle; told by the order, never by an instrument."""

    FOLLICULAR = "follicular"
    MIDCYCLE = "midcycle"
    LUTEAL = "luteal"
    POSTMENOPAUSAL = "postmenopausal"
    PREGNANT = "pregnant"


class _Maintained:
    """A row that is described once and changed by versions: while it is a draft in place, once it is approved only by a
    change that somebody else approves (`cloud.lis.catalog.record`)."""

    state: Mapped[str] = mapped_column(String(16), default=ApprovalState.DRAFT)
    version: Mapped[int] = mapped_column(default=1)
    edited_by: Mapped[str | None]
    """Who wrote what it says now; not the person who approves it. None: it came with the product."""
    approved_by: Mapped[str | None]
    approved_at: Mapped[datetime | None]


class Tube(Identified, _Maintained, Base):
    """A container as it is ordered from the supplier: cap, additive, volume."""

    __tablename__ = "lab_tube"

    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str]
    name_en: Mapped[str] = mapped_column(default="")
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


class Test(Identified, Created, _Maintained, Base):
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
    price_fen: Mapped[int | None]
    collection_note: Mapped[str] = mapped_column(default="")
    """What the ward has to know ("空腹", "冰浴送检")."""
    position: Mapped[int] = mapped_column(default=0)
    """Order on the report."""
    source: Mapped[str] = mapped_column(default="")


class _Versioned(_Maintained):
    """Dated, versioned medical content; valid on days `valid_from` <= day < `valid_to`. Each version is a row."""

    source: Mapped[str]
    valid_from: Mapped[date]
    valid_to: Mapped[date | None]


class _Band(_Versioned):
    """For whom and within which bounds."""

    sex: Mapped[str] = mapped_column(String(1), default="")
    """ "M", "F", or "" for both."""
    age_min_days: Mapped[int] = mapped_column(default=0)
    """First day of life included."""
    age_max_days: Mapped[int | None]
    """First day of life not included any more; none: no upper end."""
    specimen_type: Mapped[str] = mapped_column(String(32), default="")
    """"": of every specimen."""
    low: Mapped[Decimal | None] = mapped_column(Numeric(18, 6))
    high: Mapped[Decimal | None] = mapped_column(Numeric(18, 6))


class ReferenceRange(Identified, Created, _Band, Base):
    """One band of a test's reference interval. Both bounds are normal; `text` is the qualitative normal ("阴性")."""

    __tablename__ = "lab_reference_range"
    __table_args__ = (
        UniqueConstraint(
            "test_id",
            "specimen_type",
            "sex",
            "age_min_days",
            "phase",
            "gestation_min_weeks",
            "method",
            "instrument",
            "version",
            name="uq_lab_reference_range_band",
            postgresql_nulls_not_distinct=True,
        ),
        CheckConstraint("source <> ''", name="source_named"),
        CheckConstraint("low IS NOT NULL OR high IS NOT NULL OR text <> ''", name="says_something"),
        CheckConstraint("age_max_days IS NULL OR age_max_days > age_min_days", name="ages_in_order"),
        CheckConstraint(
            "gestation_max_weeks IS NULL OR gestation_max_weeks > coalesce(gestation_min_weeks, 0)",
            name="weeks_in_order",
        ),
    )

    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"), index=True)
    phase: Mapped[str] = mapped_column(String(16), default="")
    """A `Phase`, or "" where it does not matter."""
    gestation_min_weeks: Mapped[int | None]
    """First completed week of pregnancy included; with it (or the other) the band is for the pregnant only."""
    gestation_max_weeks: Mapped[int | None]
    """First week not included any more; none: until birth."""
    method: Mapped[str] = mapped_column(String(64), default="")
    """The method's name as the channel or the test has it; "": every method."""
    instrument: Mapped[str] = mapped_column(String(32), default="")
    """Code of one analyzer; "": every one and by hand."""
    text: Mapped[str] = mapped_column(default="")


class CriticalLimit(Identified, Created, _Band, Base):
    """Values beyond which somebody is called at once (LIS-11)."""

    __tablename__ = "lab_critical_limit"
    __table_args__ = (
        UniqueConstraint(
            "test_id",
            "specimen_type",
            "sex",
            "age_min_days",
            "department_id",
            "diagnosis",
            "version",
            name="uq_lab_critical_limit_band",
            postgresql_nulls_not_distinct=True,
        ),
        CheckConstraint("source <> ''", name="source_named"),
        CheckConstraint("low IS NOT NULL OR high IS NOT NULL OR jsonb_array_length(texts) > 0", name="says_something"),
        CheckConstraint("age_max_days IS NULL OR age_max_days > age_min_days", name="ages_in_order"),
        CheckConstraint("repeat_after_hours IS NULL OR repeat_after_hours > 0", name="repeat_positive"),
    )

    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"), index=True)
    low_inclusive: Mapped[bool] = mapped_column(default=False)
    """The low limit itself is critical (≤)."""
    high_inclusive: Mapped[bool] = mapped_column(default=False)
    """The high limit itself is critical (≥)."""
    texts: Mapped[list[Any]] = mapped_column(default=list)
    """Qualitative values that are critical ("阳性")."""
    department_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Department.id))
    """Only for patients of this department; none: of every one."""
    diagnosis: Mapped[str] = mapped_column(String(64), default="")
    """Only where the order's diagnosis holds this word; "": always."""
    first_only: Mapped[bool] = mapped_column(default=False)
    """Called the first time in an episode only (仅报首次)."""
    repeat_after_hours: Mapped[int | None]
    """Called again when it is still critical that long after the last call; none: every time."""


class QualityGoal(Identified, Created, _Versioned, Base):
    """How wrong a result may be: allowable total error (TEa) and allowable imprecision (CV) of a test."""

    __tablename__ = "lab_quality_goal"
    __table_args__ = (
        UniqueConstraint("test_id", "version"),
        CheckConstraint("source <> ''", name="source_named"),
        CheckConstraint(
            "tea_percent IS NOT NULL OR tea_absolute IS NOT NULL OR cv_percent IS NOT NULL", name="says_something"
        ),
    )

    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"), index=True)
    tea_percent: Mapped[Decimal | None] = mapped_column(Numeric(9, 4))
    """Of the target. Where both are given the greater one holds."""
    tea_absolute: Mapped[Decimal | None] = mapped_column(Numeric(18, 6))
    """In the test's unit."""
    cv_percent: Mapped[Decimal | None] = mapped_column(Numeric(9, 4))


class Panel(Identified, Created, _Maintained, Base):
    """What a doctor orders with one word (血常规): tests in their order on the report."""

    __tablename__ = "lab_panel"

    code: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str]
    name_en: Mapped[str]
    short_name: Mapped[str] = mapped_column(String(32))
    pinyin: Mapped[str] = mapped_column(String(64))
    section: Mapped[str] = mapped_column(String(32))
    price_fen: Mapped[int | None]
    position: Mapped[int] = mapped_column(default=0)
    source: Mapped[str] = mapped_column(default="")


class PanelTest(Base):
    """A test of a panel."""

    __tablename__ = "lab_panel_test"

    panel_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_panel.id"), primary_key=True)
    test_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("lab_test.id"), primary_key=True)
    position: Mapped[int] = mapped_column(default=0)
