"""lis.catalog: ranges by cycle phase, gestation, method, instrument; limits by department; versions, change record."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision: str | None = "0017"
branch_labels = None
depends_on = None

RANGE, LIMIT, GOAL, CHANGE = "lab_reference_range", "lab_critical_limit", "lab_quality_goal", "lab_catalog_change"
MAINTAINED = ("lab_tube", "lab_test", "lab_panel", "lab_instrument_channel")
MOMENT = sa.DateTime(timezone=True)
JSON = postgresql.JSONB()
OPEN = sa.text("state IN ('waiting', 'approved')")


def _add(table: str, name: str, kind: sa.types.TypeEngine[Any], default: str | None) -> None:
    """A column; `default`: what the rows that are there get (the model gives new rows theirs)."""
    given = None if default is None else sa.text(default)
    op.add_column(table, sa.Column(name, kind, nullable=default is None, server_default=given))
    if default is not None:
        op.alter_column(table, name, server_default=None)


def upgrade() -> None:
    for table in ("lab_tube", "lab_instrument_channel"):
        _add(table, "state", sa.String(16), "'draft'")
    for table in MAINTAINED:
        _add(table, "version", sa.Integer(), "1")
        _add(table, "edited_by", sa.String(), None)
        _add(table, "approved_by", sa.String(), None)
        _add(table, "approved_at", MOMENT, None)
    _add("lab_tube", "name_en", sa.String(), "''")
    _add("lab_test", "price_fen", sa.Integer(), None)
    _add("lab_test", "collection_note", sa.String(), "''")
    _add("lab_panel", "price_fen", sa.Integer(), None)
    _add("lab_instrument_channel", "method", sa.String(64), "''")
    _add("lab_order", "cycle_phase", sa.String(16), "''")
    _add("lab_order", "gestation_weeks", sa.Integer(), None)
    _ranges()
    _limits()
    _goals()
    _changes()


def _ranges() -> None:
    _add(RANGE, "edited_by", sa.String(), None)
    _add(RANGE, "phase", sa.String(16), "''")
    _add(RANGE, "gestation_min_weeks", sa.Integer(), None)
    _add(RANGE, "gestation_max_weeks", sa.Integer(), None)
    _add(RANGE, "method", sa.String(64), "''")
    _add(RANGE, "instrument", sa.String(32), "''")
    op.drop_constraint("uq_lab_reference_range_band", RANGE)
    op.create_unique_constraint(
        "uq_lab_reference_range_band",
        RANGE,
        [
            "test_id",
            "specimen_type",
            "sex",
            "age_min_days",
            "phase",
            "gestation_min_weeks",
            "method",
            "instrument",
            "version",
        ],
        postgresql_nulls_not_distinct=True,
    )
    op.create_check_constraint(
        op.f("ck_lab_reference_range_weeks_in_order"),
        RANGE,
        "gestation_max_weeks IS NULL OR gestation_max_weeks > coalesce(gestation_min_weeks, 0)",
    )


def _limits() -> None:
    _add(LIMIT, "edited_by", sa.String(), None)
    _add(LIMIT, "specimen_type", sa.String(32), "''")
    op.alter_column(LIMIT, "inclusive", new_column_name="low_inclusive")
    _add(LIMIT, "high_inclusive", sa.Boolean(), "false")
    op.execute("UPDATE lab_critical_limit SET high_inclusive = low_inclusive")
    _add(LIMIT, "texts", JSON, "'[]'::jsonb")
    _add(LIMIT, "department_id", sa.Uuid(), None)
    _add(LIMIT, "diagnosis", sa.String(64), "''")
    _add(LIMIT, "first_only", sa.Boolean(), "false")
    _add(LIMIT, "repeat_after_hours", sa.Integer(), None)
    op.create_foreign_key(op.f("fk_lab_critical_limit_department_id"), LIMIT, "department", ["department_id"], ["id"])
    op.drop_constraint("uq_lab_critical_limit_band", LIMIT)
    op.create_unique_constraint(
        "uq_lab_critical_limit_band",
        LIMIT,
        ["test_id", "specimen_type", "sex", "age_min_days", "department_id", "diagnosis", "version"],
        postgresql_nulls_not_distinct=True,
    )
    op.drop_constraint("ck_lab_critical_limit_says_something", LIMIT)
    op.create_check_constraint(
        op.f("ck_lab_critical_limit_says_something"),
        LIMIT,
        "low IS NOT NULL OR high IS NOT NULL OR jsonb_array_length(texts) > 0",
    )
    op.create_check_constraint(
        op.f("ck_lab_critical_limit_repeat_positive"), LIMIT, "repeat_after_hours IS NULL OR repeat_after_hours > 0"
    )


def _goals() -> None:
    op.create_table(
        GOAL,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("tea_percent", sa.Numeric(9, 4)),
        sa.Column("tea_absolute", sa.Numeric(18, 6)),
        sa.Column("cv_percent", sa.Numeric(9, 4)),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date()),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("edited_by", sa.String()),
        sa.Column("approved_by", sa.String()),
        sa.Column("approved_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_quality_goal")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_quality_goal_test_id")),
        sa.UniqueConstraint("test_id", "version", name=op.f("uq_lab_quality_goal_test_id_version")),
        sa.CheckConstraint("source <> ''", name=op.f("ck_lab_quality_goal_source_named")),
        sa.CheckConstraint(
            "tea_percent IS NOT NULL OR tea_absolute IS NOT NULL OR cv_percent IS NOT NULL",
            name=op.f("ck_lab_quality_goal_says_something"),
        ),
    )
    op.create_index(op.f("ix_lab_quality_goal_test_id"), GOAL, ["test_id"])


def _changes() -> None:
    op.create_table(
        CHANGE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("test_id", sa.Uuid()),
        sa.Column("before", JSON),
        sa.Column("after", JSON, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        sa.Column("made_by_name", sa.String(), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("decided_by", sa.String()),
        sa.Column("decided_by_name", sa.String()),
        sa.Column("decided_at", MOMENT),
        sa.Column("decided_reason", sa.String()),
        sa.Column("applied_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_catalog_change")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_catalog_change_test_id")),
        sa.CheckConstraint(
            "decided_by IS NULL OR decided_by <> made_by", name=op.f("ck_lab_catalog_change_two_persons")
        ),
    )
    op.create_index(op.f("ix_lab_catalog_change_test_id"), CHANGE, ["test_id"])
    op.create_index("ix_lab_catalog_change_subject", CHANGE, ["kind", "subject_id", "made_at"])
    op.create_index("ix_lab_catalog_change_open", CHANGE, ["made_at"], postgresql_where=OPEN)
    op.create_index("uq_lab_catalog_change_open", CHANGE, ["kind", "subject_id"], unique=True, postgresql_where=OPEN)


def downgrade() -> None:
    op.drop_table(CHANGE)
    op.drop_table(GOAL)
    op.execute("DELETE FROM lab_critical_limit WHERE low IS NULL AND high IS NULL OR department_id IS NOT NULL")
    op.execute("DELETE FROM lab_critical_limit WHERE diagnosis <> '' OR specimen_type <> ''")
    op.drop_constraint(op.f("ck_lab_critical_limit_repeat_positive"), LIMIT)
    op.drop_constraint("ck_lab_critical_limit_says_something", LIMIT)
    op.drop_constraint("uq_lab_critical_limit_band", LIMIT)
    op.drop_constraint(op.f("fk_lab_critical_limit_department_id"), LIMIT)
    for name in (
        "edited_by",
        "specimen_type",
        "high_inclusive",
        "texts",
        "department_id",
        "diagnosis",
        "first_only",
        "repeat_after_hours",
    ):
        op.drop_column(LIMIT, name)
    op.alter_column(LIMIT, "low_inclusive", new_column_name="inclusive")
    op.create_check_constraint(
        op.f("ck_lab_critical_limit_says_something"), LIMIT, "low IS NOT NULL OR high IS NOT NULL"
    )
    op.create_unique_constraint("uq_lab_critical_limit_band", LIMIT, ["test_id", "sex", "age_min_days", "version"])
    op.execute(
        "DELETE FROM lab_reference_range WHERE phase <> '' OR gestation_min_weeks IS NOT NULL"
        " OR gestation_max_weeks IS NOT NULL OR method <> '' OR instrument <> ''"
    )
    op.drop_constraint(op.f("ck_lab_reference_range_weeks_in_order"), RANGE)
    op.drop_constraint("uq_lab_reference_range_band", RANGE)
    for name in ("edited_by", "phase", "gestation_min_weeks", "gestation_max_weeks", "method", "instrument"):
        op.drop_column(RANGE, name)
    op.create_unique_constraint(
        "uq_lab_reference_range_band", RANGE, ["test_id", "specimen_type", "sex", "age_min_days", "version"]
    )
    for name in ("cycle_phase", "gestation_weeks"):
        op.drop_column("lab_order", name)
    op.drop_column("lab_instrument_channel", "method")
    op.drop_column("lab_panel", "price_fen")
    for name in ("price_fen", "collection_note"):
        op.drop_column("lab_test", name)
    op.drop_column("lab_tube", "name_en")
    for table in MAINTAINED:
        for name in ("version", "edited_by", "approved_by", "approved_at"):
            op.drop_column(table, name)
    for table in ("lab_tube", "lab_instrument_channel"):
        op.drop_column(table, "state")
