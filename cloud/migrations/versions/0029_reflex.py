"""lis.reflex: rules that add, repeat, dilute or comment, and what they did; the list of reruns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0029"
down_revision: str | None = "0028"
branch_labels = None
depends_on = None

RULE, ACTION, RESULT = "lab_reflex_rule", "lab_reflex_action", "lab_result"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        RULE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("condition", sa.String(), nullable=False),
        sa.Column("act", sa.String(8), nullable=False),
        sa.Column("tests", postgresql.JSONB(), nullable=False),
        sa.Column("dilution", sa.String(8), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("charged", sa.Boolean(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
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
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_reflex_rule")),
        sa.UniqueConstraint("code", "version", name="uq_lab_reflex_rule_version"),
        sa.CheckConstraint("source <> ''", name=op.f("ck_lab_reflex_rule_source_named")),
        sa.CheckConstraint("approved_by <> edited_by", name=op.f("ck_lab_reflex_rule_two_persons")),
    )
    op.create_table(
        ACTION,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("rule_id", sa.Uuid(), nullable=False),
        sa.Column("act", sa.String(8), nullable=False),
        sa.Column("result_id", sa.Uuid()),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("detail", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_reflex_action")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_reflex_action_specimen_id")),
        sa.ForeignKeyConstraint(["rule_id"], [f"{RULE}.id"], name=op.f("fk_lab_reflex_action_rule_id")),
        sa.UniqueConstraint("specimen_id", "code", "number", name="uq_lab_reflex_action_number"),
    )
    op.create_index("ix_lab_reflex_action_rule_id", ACTION, ["rule_id"])
    op.create_index(
        "ix_lab_result_rerun",
        RESULT,
        ["rerun_requested_at"],
        postgresql_where=sa.text("rerun_requested_at IS NOT NULL AND chosen AND state = 'received'"),
    )


def downgrade() -> None:
    op.drop_index("ix_lab_result_rerun", RESULT)
    op.drop_table(ACTION)
    op.drop_table(RULE)
