"""What the HIS is told of money and of executed items, beside the reports; what it had booked of a day.

Revision ID: 0050
Revises: 0049
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0050"
down_revision: str | None = "0049"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("his_outbox", sa.Column("key", sa.String(), nullable=True))
    op.add_column("his_outbox", sa.Column("lane", sa.String(), nullable=True))
    op.add_column("his_outbox", sa.Column("ledger_id", sa.Uuid(), nullable=True))
    op.add_column("his_outbox", sa.Column("fen", sa.BigInteger(), nullable=True))
    op.add_column("his_outbox", sa.Column("booked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("his_outbox", sa.Column("title", sa.String(), server_default="", nullable=False))
    op.execute(
        "UPDATE his_outbox SET key = 'report:' || report_id || ':' || report_version || ':' || kind,"
        " lane = 'person:' || lab_report.person_id, title = 'ORU^R01 ' || control_id"
        " FROM lab_report WHERE lab_report.id = his_outbox.report_id"
    )
    op.alter_column("his_outbox", "key", nullable=False)
    op.alter_column("his_outbox", "lane", nullable=False)
    op.alter_column("his_outbox", "report_id", nullable=True)
    op.alter_column("his_outbox", "report_version", nullable=True)
    op.create_unique_constraint("uq_his_outbox_key", "his_outbox", ["key"])
    op.create_unique_constraint("uq_his_outbox_ledger_id", "his_outbox", ["ledger_id"])
    op.create_foreign_key(
        "fk_his_outbox_ledger_id_payment_ledger", "his_outbox", "payment_ledger", ["ledger_id"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_his_outbox_fen"),
        "his_outbox",
        "num_nulls(ledger_id, fen, booked_at) IN (0, 3)",
    )
    op.create_index(
        "ix_his_outbox_booked_at", "his_outbox", ["booked_at"], postgresql_where=sa.text("booked_at IS NOT NULL")
    )
    op.create_table(
        "his_money_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("his_count", sa.Integer(), nullable=False),
        sa.Column("his_paid_fen", sa.BigInteger(), nullable=False),
        sa.Column("his_refunded_fen", sa.BigInteger(), nullable=False),
        sa.Column("our_count", sa.Integer(), nullable=False),
        sa.Column("our_paid_fen", sa.BigInteger(), nullable=False),
        sa.Column("our_refunded_fen", sa.BigInteger(), nullable=False),
        sa.Column("differences", postgresql.JSONB(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_his_money_day"),
        sa.UniqueConstraint("day", name="uq_his_money_day_day"),
    )


def downgrade() -> None:
    """Messages about money and executed items are no reports; an older program cannot hold them."""
    op.drop_table("his_money_day")
    op.drop_index("ix_his_outbox_booked_at", "his_outbox")
    op.execute("DELETE FROM his_outbox WHERE report_id IS NULL")
    op.drop_constraint(op.f("ck_his_outbox_fen"), "his_outbox")
    op.drop_constraint("fk_his_outbox_ledger_id_payment_ledger", "his_outbox")
    op.drop_constraint("uq_his_outbox_ledger_id", "his_outbox")
    op.drop_constraint("uq_his_outbox_key", "his_outbox")
    for name in ("title", "booked_at", "fen", "ledger_id", "lane", "key"):
        op.drop_column("his_outbox", name)
    op.alter_column("his_outbox", "report_id", nullable=False)
    op.alter_column("his_outbox", "report_version", nullable=False)
