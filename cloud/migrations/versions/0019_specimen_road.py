"""lis.specimens, lis.orders: whereabouts, aliquots, defects, what tests ask of tubes, oral requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision: str | None = "0018"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column(
        "lab_specimen", sa.Column("whereabouts", sa.String(length=16), server_default="at_hand", nullable=False)
    )
    op.add_column("lab_specimen", sa.Column("parent_id", sa.Uuid(), nullable=True))
    op.add_column("lab_specimen", sa.Column("volume_ml", sa.Numeric(precision=6, scale=2), nullable=True))
    op.add_column("lab_specimen_event", sa.Column("device", sa.String(length=64), server_default="", nullable=False))
    op.add_column(
        "lab_specimen_event", sa.Column("clock_source", sa.String(length=8), server_default="server", nullable=False)
    )
    op.add_column("lab_specimen_event", sa.Column("reason", sa.String(), server_default="", nullable=False))
    op.add_column("lab_specimen_event", sa.Column("submission", sa.Uuid(), nullable=True))
    op.add_column("lab_specimen_event", sa.Column("recorded_at", MOMENT, nullable=True))
    op.add_column("lab_order", sa.Column("collect_at", MOMENT, nullable=True))
    op.create_index(
        "ix_lab_specimen_parent_id",
        "lab_specimen",
        ["parent_id"],
        unique=False,
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index("ix_lab_specimen_received_at", "lab_specimen", ["received_at"], unique=False)
    op.create_index(
        "ix_lab_specimen_replaces_id",
        "lab_specimen",
        ["replaces_id"],
        unique=False,
        postgresql_where=sa.text("replaces_id IS NOT NULL"),
    )
    op.create_foreign_key(op.f("fk_lab_specimen_parent_id"), "lab_specimen", "lab_specimen", ["parent_id"], ["id"])
    _tables()


def _tables() -> None:
    op.create_table(
        "lab_specimen_defect",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("handling", sa.String(length=16), nullable=False),
        sa.Column("reason_code", sa.String(length=32), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("replacement_id", sa.Uuid(), nullable=True),
        sa.Column("agreed_with", sa.String(), nullable=False),
        sa.Column("told_at", MOMENT, nullable=True),
        sa.Column("told_by", sa.String(), nullable=True),
        sa.Column("told_whom", sa.String(), nullable=False),
        sa.Column("told_how", sa.String(length=16), nullable=False),
        sa.Column("undone_at", MOMENT, nullable=True),
        sa.Column("undone_by", sa.String(), nullable=True),
        sa.Column("undo_reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["replacement_id"], ["lab_specimen.id"], name=op.f("fk_lab_specimen_defect_replacement_id")
        ),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_specimen_defect_specimen_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_specimen_defect")),
    )
    op.create_index("ix_lab_specimen_defect_at", "lab_specimen_defect", ["at"], unique=False)
    op.create_index(op.f("ix_lab_specimen_defect_specimen_id"), "lab_specimen_defect", ["specimen_id"], unique=False)
    op.create_index(
        "ix_lab_specimen_defect_untold",
        "lab_specimen_defect",
        ["at"],
        unique=False,
        postgresql_where=sa.text("told_at IS NULL AND undone_at IS NULL AND handling = 'rejected'"),
    )
    op.create_index(
        "uq_lab_specimen_defect_rejection",
        "lab_specimen_defect",
        ["specimen_id"],
        unique=True,
        postgresql_where=sa.text("handling = 'rejected' AND undone_at IS NULL"),
    )
    op.create_table(
        "lab_test_collection",
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("volume_ul", sa.Integer(), nullable=True),
        sa.Column("line", sa.String(length=32), nullable=False),
        sa.Column("fasting", sa.Boolean(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("stable_room_h", sa.Integer(), nullable=True),
        sa.Column("stable_cold_h", sa.Integer(), nullable=True),
        sa.Column("stable_frozen_h", sa.Integer(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "source <> '' OR (volume_ul IS NULL AND fasting IS NULL AND stable_room_h IS NULL"
            " AND stable_cold_h IS NULL AND stable_frozen_h IS NULL)",
            name=op.f("ck_lab_test_collection_source_named"),
        ),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_test_collection_test_id")),
        sa.PrimaryKeyConstraint("test_id", name=op.f("pk_lab_test_collection")),
    )
    op.create_table(
        "lab_tube_fill",
        sa.Column("tube_id", sa.Uuid(), nullable=False),
        sa.Column("max_fill_ul", sa.Integer(), nullable=True),
        sa.Column("dead_volume_ul", sa.Integer(), nullable=True),
        sa.Column("yield_percent", sa.Integer(), nullable=True),
        sa.Column("anticoagulated", sa.Boolean(), nullable=True),
        sa.Column("preprinted_prefix", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("changed_by", sa.String(), nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "source <> '' OR (max_fill_ul IS NULL AND dead_volume_ul IS NULL AND yield_percent IS NULL)",
            name=op.f("ck_lab_tube_fill_source_named"),
        ),
        sa.CheckConstraint("yield_percent BETWEEN 1 AND 100", name=op.f("ck_lab_tube_fill_yield_is_a_percentage")),
        sa.ForeignKeyConstraint(["tube_id"], ["lab_tube.id"], name=op.f("fk_lab_tube_fill_tube_id")),
        sa.PrimaryKeyConstraint("tube_id", name=op.f("pk_lab_tube_fill")),
    )
    op.create_table(
        "lab_specimen_policy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Integer(), nullable=True),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("valid_from", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_specimen_policy")),
    )
    op.create_index("ix_lab_specimen_policy_key", "lab_specimen_policy", ["key", "valid_from"], unique=False)
    op.create_table(
        "lab_oral_request",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("tests", postgresql.JSONB(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("read_back", sa.Boolean(), nullable=False),
        sa.Column("taken_by", sa.String(), nullable=False),
        sa.Column("taken_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.Column("evidence", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["lab_order.id"], name=op.f("fk_lab_oral_request_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_oral_request")),
    )
    op.create_index(
        "ix_lab_oral_request_open",
        "lab_oral_request",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(op.f("ix_lab_oral_request_order_id"), "lab_oral_request", ["order_id"], unique=False)


def downgrade() -> None:
    for table in (
        "lab_oral_request",
        "lab_specimen_policy",
        "lab_tube_fill",
        "lab_test_collection",
        "lab_specimen_defect",
    ):
        op.drop_table(table)
    op.drop_column("lab_specimen_event", "recorded_at")
    op.drop_column("lab_specimen_event", "submission")
    op.drop_column("lab_specimen_event", "reason")
    op.drop_column("lab_specimen_event", "clock_source")
    op.drop_column("lab_specimen_event", "device")
    op.drop_index("ix_lab_specimen_received_at", table_name="lab_specimen")
    op.drop_index("ix_lab_specimen_replaces_id", table_name="lab_specimen")
    op.drop_column("lab_specimen", "volume_ml")
    op.drop_column("lab_specimen", "parent_id")
    op.drop_column("lab_specimen", "whereabouts")
    op.drop_column("lab_order", "collect_at")
