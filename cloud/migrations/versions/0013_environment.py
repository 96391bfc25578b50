"""lis.environment: points of devices, their readings, their alarms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision: str | None = "0012"
branch_labels = None
depends_on = None

POINT, READING, ALARM = "lab_environment_point", "lab_environment_reading", "lab_environment_alarm"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        POINT,
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("link", sa.String(64), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=True),
        sa.Column("value", sa.String(), nullable=True),
        sa.Column("number", sa.Numeric(), nullable=True),
        sa.Column("alarms", postgresql.JSONB(), nullable=False),
        sa.Column("observed_at", MOMENT, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_environment_point")),
        sa.UniqueConstraint("gateway", "link", "device", "name", name="uq_lab_environment_point_place"),
    )
    op.create_table(
        READING,
        sa.Column("point_id", sa.Uuid(), nullable=False),
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("value", sa.String(), nullable=True),
        sa.Column("number", sa.Numeric(), nullable=True),
        sa.Column("unit", sa.String(), nullable=True),
        sa.Column("alarms", postgresql.JSONB(), nullable=False),
        sa.Column("observed_at", MOMENT, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["point_id"], [f"{POINT}.id"], name=op.f("fk_lab_environment_reading_point_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_environment_reading")),
        sa.UniqueConstraint("inbox_id", "ordinal", name=op.f("uq_lab_environment_reading_inbox_id_ordinal")),
    )
    op.create_index("ix_lab_environment_reading_point_id_observed_at", READING, ["point_id", "observed_at"])
    op.create_table(
        ALARM,
        sa.Column("point_id", sa.Uuid(), nullable=False),
        sa.Column("alarm", sa.String(), nullable=False),
        sa.Column("began_at", MOMENT, nullable=False),
        sa.Column("began_value", sa.String(), nullable=True),
        sa.Column("worst_value", sa.String(), nullable=True),
        sa.Column("worst_number", sa.Numeric(), nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("acknowledged_at", MOMENT, nullable=True),
        sa.Column("acknowledged_by", sa.Uuid(), nullable=True),
        sa.Column("acknowledged_by_name", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["point_id"], [f"{POINT}.id"], name=op.f("fk_lab_environment_alarm_point_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_environment_alarm")),
    )
    op.create_index(op.f("ix_lab_environment_alarm_point_id"), ALARM, ["point_id"])
    op.create_index(
        "uq_lab_environment_alarm_standing",
        ALARM,
        ["point_id", "alarm"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_lab_environment_alarm_open",
        ALARM,
        ["began_at"],
        postgresql_where=sa.text("ended_at IS NULL OR acknowledged_at IS NULL"),
    )


def downgrade() -> None:
    for table in (ALARM, READING, POINT):
        op.drop_table(table)
