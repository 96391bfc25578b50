"""lis.transport: hand-over batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision: str | None = "0019"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("lab_batch_number_seq", start=10000)))
    op.create_table(
        "lab_transport_batch",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("packed_by", sa.String(), nullable=False),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("sent_by", sa.String(), nullable=True),
        sa.Column("courier", sa.String(), nullable=False),
        sa.Column("arrived_at", MOMENT, nullable=True),
        sa.Column("arrived_by", sa.String(), nullable=True),
        sa.Column("temperature_c", sa.Numeric(precision=4, scale=1), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=True),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.Column("close_reason", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["department_id"], ["department.id"], name=op.f("fk_lab_transport_batch_department_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_transport_batch")),
        sa.UniqueConstraint("number", name=op.f("uq_lab_transport_batch_number")),
    )
    op.create_index(
        "ix_lab_transport_batch_open",
        "lab_transport_batch",
        ["state", "sent_at"],
        unique=False,
        postgresql_where=sa.text("state <> 'closed'"),
    )
    op.create_index("ix_lab_transport_batch_sent_at", "lab_transport_batch", ["sent_at"], unique=False)
    op.create_table(
        "lab_batch_tube",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("put_in_at", MOMENT, nullable=False),
        sa.Column("put_in_by", sa.String(), nullable=False),
        sa.Column("taken_out_at", MOMENT, nullable=True),
        sa.Column("taken_out_by", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["batch_id"], ["lab_transport_batch.id"], name=op.f("fk_lab_batch_tube_batch_id")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_batch_tube_specimen_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_batch_tube")),
    )
    op.create_index(op.f("ix_lab_batch_tube_batch_id"), "lab_batch_tube", ["batch_id"], unique=False)
    op.create_index(op.f("ix_lab_batch_tube_specimen_id"), "lab_batch_tube", ["specimen_id"], unique=False)
    op.create_index(
        "uq_lab_batch_tube_live",
        "lab_batch_tube",
        ["specimen_id"],
        unique=True,
        postgresql_where=sa.text("taken_out_at IS NULL"),
    )
    op.create_table(
        "lab_batch_unexpected",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["lab_transport_batch.id"], name=op.f("fk_lab_batch_unexpected_batch_id")
        ),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_batch_unexpected_specimen_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_batch_unexpected")),
    )
    op.create_index(op.f("ix_lab_batch_unexpected_batch_id"), "lab_batch_unexpected", ["batch_id"], unique=False)


def downgrade() -> None:
    for table in ("lab_batch_unexpected", "lab_batch_tube", "lab_transport_batch"):
        op.drop_table(table)
    op.execute(sa.schema.DropSequence(sa.Sequence("lab_batch_number_seq")))
