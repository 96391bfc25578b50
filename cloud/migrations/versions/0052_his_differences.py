"""Differences between the HIS's books and the ledger as tickets that a person closes.

Revision ID: 0052
Revises: 0051
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision: str | None = "0051"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "his_money_difference",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("his_fen", sa.BigInteger(), nullable=True),
        sa.Column("our_fen", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.Column("closed_why", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_his_money_difference")),
        sa.UniqueConstraint("kind", "number", name="uq_his_money_difference"),
    )
    op.create_index("ix_his_money_difference_day", "his_money_difference", ["day"])
    op.create_index(
        "ix_his_money_difference_open",
        "his_money_difference",
        ["day"],
        postgresql_where=sa.text("closed_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("his_money_difference")
