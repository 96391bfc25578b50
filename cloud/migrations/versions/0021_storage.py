"""lis.storage: units, racks, places, discards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision: str | None = "0020"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("lab_discard_number_seq", start=1000)))
    op.create_table(
        "lab_storage_unit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_storage_unit")),
        sa.UniqueConstraint("code", name=op.f("uq_lab_storage_unit_code")),
    )
    op.create_table(
        "lab_storage_rack",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("columns", sa.Integer(), nullable=False),
        sa.Column("keep_days", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "(rows > 0) = (columns > 0) AND rows <= 26 AND columns <= 50", name=op.f("ck_lab_storage_rack_grid")
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["lab_storage_unit.id"], name=op.f("fk_lab_storage_rack_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_storage_rack")),
        sa.UniqueConstraint("code", name=op.f("uq_lab_storage_rack_code")),
    )
    op.create_index(op.f("ix_lab_storage_rack_unit_id"), "lab_storage_rack", ["unit_id"], unique=False)
    op.create_table(
        "lab_stored_tube",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rack_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.String(length=16), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("stored_at", MOMENT, nullable=False),
        sa.Column("stored_by", sa.String(), nullable=False),
        sa.Column("discard_on", sa.Date(), nullable=True),
        sa.Column("left_at", MOMENT, nullable=True),
        sa.Column("left_by", sa.String(), nullable=True),
        sa.Column("left_how", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["rack_id"], ["lab_storage_rack.id"], name=op.f("fk_lab_stored_tube_rack_id")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_stored_tube_specimen_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_stored_tube")),
    )
    op.create_index(
        "ix_lab_stored_tube_due",
        "lab_stored_tube",
        ["discard_on"],
        unique=False,
        postgresql_where=sa.text("left_at IS NULL"),
    )
    op.create_index("ix_lab_stored_tube_specimen_id", "lab_stored_tube", ["specimen_id"], unique=False)
    op.create_index(
        "uq_lab_stored_tube_place",
        "lab_stored_tube",
        ["rack_id", "position"],
        unique=True,
        postgresql_where=sa.text("left_at IS NULL"),
    )
    op.create_index(
        "uq_lab_stored_tube_tube",
        "lab_stored_tube",
        ["specimen_id"],
        unique=True,
        postgresql_where=sa.text("left_at IS NULL"),
    )
    op.create_table(
        "lab_discard",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("rack_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("proposed_by", sa.String(), nullable=False),
        sa.Column("confirmed_by", sa.String(), nullable=True),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["rack_id"], ["lab_storage_rack.id"], name=op.f("fk_lab_discard_rack_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_discard")),
        sa.UniqueConstraint("number", name=op.f("uq_lab_discard_number")),
    )
    op.create_table(
        "lab_discard_tube",
        sa.Column("discard_id", sa.Uuid(), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("kept_why", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["discard_id"], ["lab_discard.id"], name=op.f("fk_lab_discard_tube_discard_id")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_discard_tube_specimen_id")),
        sa.PrimaryKeyConstraint("discard_id", "specimen_id", name=op.f("pk_lab_discard_tube")),
    )
    op.create_index(op.f("ix_lab_discard_tube_specimen_id"), "lab_discard_tube", ["specimen_id"], unique=False)


def downgrade() -> None:
    for table in ("lab_discard_tube", "lab_discard", "lab_stored_tube", "lab_storage_rack", "lab_storage_unit"):
        op.drop_table(table)
    op.execute(sa.schema.DropSequence(sa.Sequence("lab_discard_number_seq")))
