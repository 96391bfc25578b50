"""lis.autoverify: the rules of every revision, and which revision decided."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0034"
down_revision: str | None = "0033"
branch_labels = None
depends_on = None

REVISION, SET, DECISION = "lab_rule_revision", "lab_rule_set", "lab_auto_decision"
JSON = postgresql.JSONB()


def upgrade() -> None:
    op.create_table(
        REVISION,
        sa.Column("rule_set_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("rules", JSON, nullable=False),
        sa.Column("sections", JSON, nullable=False),
        sa.PrimaryKeyConstraint("rule_set_id", "revision", name=op.f("pk_lab_rule_revision")),
        sa.ForeignKeyConstraint(["rule_set_id"], [f"{SET}.id"], name=op.f("fk_lab_rule_revision_rule_set_id")),
    )
    op.execute(
        "INSERT INTO lab_rule_revision (rule_set_id, revision, rules, sections)"
        " SELECT id, revision, rules, sections FROM lab_rule_set"
    )
    op.add_column(DECISION, sa.Column("revision", sa.Integer()))
    op.execute(
        "UPDATE lab_auto_decision SET revision = lab_rule_set.revision FROM lab_rule_set"
        " WHERE lab_rule_set.id = lab_auto_decision.rule_set_id"
    )
    op.alter_column(DECISION, "revision", nullable=False)


def downgrade() -> None:
    op.drop_column(DECISION, "revision")
    op.drop_table(REVISION)
