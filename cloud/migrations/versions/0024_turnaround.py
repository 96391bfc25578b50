"""lis.turnaround: times of each specimen, targets, causes of late reports, histories of the stages, working hours."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0024"
down_revision: str | None = "0023"
branch_labels = None
depends_on = None

TIMES, TARGET, CAUSE = "lab_turnaround", "lab_turnaround_target", "lab_turnaround_cause"
HISTORY, HOURS = "lab_turnaround_history", "lab_turnaround_hours"
MOMENT = sa.DateTime(timezone=True)
ROAD = ("ordered", "printed", "collected", "sent", "received", "loaded", "resulted", "reviewed", "released")
BREACHED = (
    "CASE target_from"
    " WHEN 'ordered' THEN released_at - ordered_at > target_minutes * interval '1 minute'"
    " WHEN 'collected' THEN released_at - collected_at > target_minutes * interval '1 minute'"
    " WHEN 'received' THEN released_at - received_at > target_minutes * interval '1 minute' END"
)


def upgrade() -> None:
    op.create_table(
        TIMES,
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("priority", sa.String(1), nullable=False),
        sa.Column("sections", postgresql.ARRAY(sa.String(32)), nullable=False),
        *(sa.Column(f"{each}_at", MOMENT) for each in ROAD),
        sa.Column("target_minutes", sa.Integer()),
        sa.Column("target_from", sa.String(12)),
        sa.Column("breached", sa.Boolean(), sa.Computed(BREACHED, persisted=True)),
        sa.PrimaryKeyConstraint("specimen_id", name=op.f("pk_lab_turnaround")),
        sa.ForeignKeyConstraint(
            ["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_turnaround_specimen_id_lab_specimen")
        ),
        sa.ForeignKeyConstraint(["order_id"], ["lab_order.id"], name=op.f("fk_lab_turnaround_order_id_lab_order")),
        sa.ForeignKeyConstraint(
            ["department_id"], ["department.id"], name=op.f("fk_lab_turnaround_department_id_department")
        ),
    )
    op.create_index("ix_lab_turnaround_received_at", TIMES, ["received_at"])
    op.create_index("ix_lab_turnaround_released_at", TIMES, ["released_at"])
    op.create_table(
        TARGET,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("test_id", sa.Uuid()),
        sa.Column("section", sa.String(32), nullable=False),
        sa.Column("department_id", sa.Uuid()),
        sa.Column("priority", sa.String(1), nullable=False),
        sa.Column("start", sa.String(12), nullable=False),
        sa.Column("minutes", sa.Integer()),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("valid_from", MOMENT, nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("set_by_name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_turnaround_target")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_turnaround_target_test_id_lab_test")),
        sa.ForeignKeyConstraint(
            ["department_id"], ["department.id"], name=op.f("fk_lab_turnaround_target_department_id_department")
        ),
        sa.CheckConstraint("minutes > 0", name=op.f("ck_lab_turnaround_target_minutes_positive")),
        sa.CheckConstraint("source <> ''", name=op.f("ck_lab_turnaround_target_source_named")),
        sa.CheckConstraint("test_id IS NULL OR section = ''", name=op.f("ck_lab_turnaround_target_one_scope")),
    )
    op.create_index("ix_lab_turnaround_target_scope", TARGET, ["priority", "valid_from"])
    op.create_table(
        CAUSE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("by_name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_turnaround_cause")),
        sa.ForeignKeyConstraint(
            ["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_turnaround_cause_specimen_id_lab_specimen")
        ),
    )
    op.create_index(op.f("ix_lab_turnaround_cause_specimen_id"), CAUSE, ["specimen_id"])
    op.create_table(
        HISTORY,
        sa.Column("section", sa.String(32), nullable=False),
        sa.Column("priority", sa.String(1), nullable=False),
        sa.Column("point", sa.String(12), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("quantiles", postgresql.JSONB(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("section", "priority", "point", name=op.f("pk_lab_turnaround_history")),
    )
    op.create_table(
        HOURS,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("opens", sa.Time(), nullable=False),
        sa.Column("closes", sa.Time(), nullable=False),
        sa.Column("days", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("closed", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("set_at", MOMENT, nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_turnaround_hours")),
    )


def downgrade() -> None:
    for table in (HOURS, HISTORY, CAUSE, TARGET, TIMES):
        op.drop_table(table)
