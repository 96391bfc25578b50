"""lis.calculation: formulas, items that joined a specimen by themselves; what a result comes from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision: str | None = "0022"
branch_labels = None
depends_on = None

FORMULA, ADDED, RESULT = "lab_formula", "lab_added_item", "lab_result"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        FORMULA,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("expression", sa.String(), nullable=False),
        sa.Column("parts", postgresql.JSONB(), nullable=False),
        sa.Column("adds_itself", sa.Boolean(), nullable=False),
        sa.Column("though_measured", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date()),
        sa.Column("edited_by", sa.String(), nullable=False),
        sa.Column("edited_by_name", sa.String(), nullable=False),
        sa.Column("edited_reason", sa.String(), nullable=False),
        sa.Column("approved_by", sa.String()),
        sa.Column("approved_by_name", sa.String()),
        sa.Column("approved_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_formula")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_formula_test_id")),
        sa.UniqueConstraint("test_id", "version", name="uq_lab_formula_version"),
        sa.CheckConstraint("source <> ''", name=op.f("ck_lab_formula_source_named")),
        sa.CheckConstraint("approved_by <> edited_by", name=op.f("ck_lab_formula_two_persons")),
    )
    op.create_index(op.f("ix_lab_formula_test_id"), FORMULA, ["test_id"])
    op.create_table(
        ADDED,
        sa.Column("order_item_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("charged", sa.Boolean(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("result_id", sa.Uuid()),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("order_item_id", name=op.f("pk_lab_added_item")),
        sa.ForeignKeyConstraint(["order_item_id"], ["lab_order_item.id"], name=op.f("fk_lab_added_item_order_item_id")),
    )
    # The default stays: millions of stored rows and every analyzer's new ones are measured.
    op.add_column(RESULT, sa.Column("source", sa.String(12), nullable=False, server_default="instrument"))
    op.add_column(RESULT, sa.Column("formula_id", sa.Uuid()))
    op.create_foreign_key(op.f("fk_lab_result_formula_id"), RESULT, FORMULA, ["formula_id"], ["id"])
    op.execute("UPDATE lab_result SET source = 'typed' WHERE instrument_id IS NULL AND entered_by IS NOT NULL")
    # What was calculated again after its release waits for a person.
    op.create_index(
        "ix_lab_result_recalculated",
        RESULT,
        ["received_at"],
        postgresql_where=sa.text("source = 'calculated' AND after_release AND state = 'received'"),
    )


def downgrade() -> None:
    op.drop_index("ix_lab_result_recalculated", RESULT)
    op.drop_column(RESULT, "formula_id")
    op.drop_column(RESULT, "source")
    op.drop_table(ADDED)
    op.drop_table(FORMULA)
