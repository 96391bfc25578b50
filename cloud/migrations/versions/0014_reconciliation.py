"""gateways: comparisons with the boxes, messages that come in parts, times that a box corrected later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision: str | None = "0013"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("gateway_inbox", sa.Column("corrected_at", MOMENT))
    op.create_table(
        "gateway_message_part",
        sa.Column("gateway", sa.String(64), sa.ForeignKey("gateway.id"), primary_key=True),
        sa.Column("epoch", sa.String(64), primary_key=True),
        sa.Column("link", sa.String(64), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("of", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("stored_at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
    )
    op.create_table(
        "gateway_reconciliation",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("gateway", sa.String(64), sa.ForeignKey("gateway.id"), nullable=False),
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.Column("link", sa.String(64), nullable=False),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("asked_by", sa.String()),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("checked_at", MOMENT),
        sa.Column("held_from", sa.BigInteger()),
        sa.Column("first", sa.BigInteger()),
        sa.Column("last", sa.BigInteger()),
        sa.Column("count_box", sa.BigInteger()),
        sa.Column("count_cloud", sa.BigInteger()),
        sa.Column("digest_box", sa.String(64)),
        sa.Column("digest_cloud", sa.String(64)),
        sa.Column("to_narrow", postgresql.JSONB(), nullable=False),
        sa.Column("findings", postgresql.JSONB(), nullable=False),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.UniqueConstraint("gateway", "link", "run", name="uq_gateway_reconciliation_run"),
    )
    op.create_index("ix_gateway_reconciliation_link", "gateway_reconciliation", ["gateway", "link", "started_at"])
    op.create_index(
        "ix_gateway_reconciliation_open",
        "gateway_reconciliation",
        ["started_at"],
        postgresql_where=sa.text("state <> 'equal'"),
    )


def downgrade() -> None:
    op.drop_table("gateway_reconciliation")
    op.drop_table("gateway_message_part")
    op.drop_column("gateway_inbox", "corrected_at")
