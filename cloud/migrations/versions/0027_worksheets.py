"""lis.worksheets: grids to type into, first entries; the words a test's result may be."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0027"
down_revision: str | None = "0026"
branch_labels = None
depends_on = None

SHEET, ROW, FIRST, DOUBLE, CHOICE = (
    "lab_worksheet",
    "lab_worksheet_row",
    "lab_first_entry",
    "lab_double_entry",
    "lab_test_choice",
)
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("lab_worksheet_number_seq", start=1_000)))
    op.create_table(
        SHEET,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("number", sa.String(16), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("test_ids", postgresql.JSONB(), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=False),
        sa.Column("made_by_name", sa.String(), nullable=False),
        sa.Column("closed_at", MOMENT),
        sa.Column("closed_by_name", sa.String()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_worksheet")),
        sa.UniqueConstraint("number", name=op.f("uq_lab_worksheet_number")),
    )
    op.create_index("ix_lab_worksheet_open", SHEET, ["created_at"], postgresql_where=sa.text("closed_at IS NULL"))
    op.create_table(
        ROW,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("worksheet_id", sa.Uuid(), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_worksheet_row")),
        sa.ForeignKeyConstraint(["worksheet_id"], [f"{SHEET}.id"], name=op.f("fk_lab_worksheet_row_worksheet_id")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_worksheet_row_specimen_id")),
        sa.UniqueConstraint("worksheet_id", "specimen_id", name=op.f("uq_lab_worksheet_row_worksheet_id_specimen_id")),
        sa.UniqueConstraint("worksheet_id", "position", name=op.f("uq_lab_worksheet_row_worksheet_id_position")),
    )
    op.create_index(op.f("ix_lab_worksheet_row_specimen_id"), ROW, ["specimen_id"])
    op.create_table(
        FIRST,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("typed", sa.String(), nullable=False),
        sa.Column("entered_by", sa.Uuid(), nullable=False),
        sa.Column("entered_by_name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_first_entry")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_first_entry_specimen_id")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_first_entry_test_id")),
        sa.UniqueConstraint("specimen_id", "test_id", name=op.f("uq_lab_first_entry_specimen_id_test_id")),
    )
    op.create_table(
        DOUBLE,
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("two_persons", sa.Boolean(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("set_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("test_id", name=op.f("pk_lab_double_entry")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_double_entry_test_id")),
    )
    op.create_table(
        CHOICE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(8), nullable=False),
        sa.Column("text", sa.String(64), nullable=False),
        sa.Column("rank", sa.Integer()),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_test_choice")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_test_choice_test_id")),
        sa.UniqueConstraint("test_id", "key", name=op.f("uq_lab_test_choice_test_id_key")),
        sa.UniqueConstraint("test_id", "text", name=op.f("uq_lab_test_choice_test_id_text")),
    )


def downgrade() -> None:
    for table in (CHOICE, DOUBLE, FIRST, ROW, SHEET):
        op.drop_table(table)
    op.execute(sa.schema.DropSequence(sa.Sequence("lab_worksheet_number_seq")))
