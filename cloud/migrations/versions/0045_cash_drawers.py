"""payments: cash drawers by shift, receipts printed once, days of the channels' bills closed by a person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0045"
down_revision: str | None = "0044"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("CREATE SEQUENCE receipt_number_seq")
    op.create_table(
        "cash_shift",
        sa.Column("cashier", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("opening_fen", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("by_hand", sa.Boolean(), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("expected_fen", sa.BigInteger(), nullable=True),
        sa.Column("counted_fen", sa.BigInteger(), nullable=True),
        sa.Column("pieces", postgresql.JSONB(), nullable=True),
        sa.Column("why", sa.String(), nullable=True),
        sa.Column("received_at", MOMENT, nullable=True),
        sa.Column("received_by", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("opening_fen >= 0 AND coalesce(counted_fen, 0) >= 0", name=op.f("ck_cash_shift_amounts")),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (counted_fen IS NULL) AND (closed_at IS NULL) = (expected_fen IS NULL)",
            name=op.f("ck_cash_shift_closed"),
        ),
        sa.CheckConstraint(
            "counted_fen = expected_fen OR why IS NOT NULL OR closed_at IS NULL", name=op.f("ck_cash_shift_difference")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cash_shift")),
    )
    op.create_index(
        "uq_cash_shift_open", "cash_shift", ["cashier"], unique=True, postgresql_where=sa.text("closed_at IS NULL")
    )
    op.create_index("ix_cash_shift_opened_at", "cash_shift", ["opened_at"])
    op.add_column("payment_ledger", sa.Column("shift_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_payment_ledger_shift_id"), "payment_ledger", "cash_shift", ["shift_id"], ["id"])
    op.create_index(
        "ix_payment_ledger_shift_id", "payment_ledger", ["shift_id"], postgresql_where=sa.text("shift_id IS NOT NULL")
    )
    # No window took cash before there were drawers, so no entry of the ledger stands against it.
    op.create_check_constraint(
        op.f("ck_payment_ledger_drawer"), "payment_ledger", "(channel = 'cash') = (shift_id IS NOT NULL)"
    )
    op.create_index("ix_payment_transaction_id", "payment", ["transaction_id"])
    op.create_index("ix_payment_created_at", "payment", ["created_at"])
    op.add_column("payment_bill_day", sa.Column("closed_at", MOMENT, nullable=True))
    op.add_column("payment_bill_day", sa.Column("closed_by", sa.String(), nullable=True))
    op.create_table(
        "receipt",
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.LargeBinary(), nullable=False),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("tendered_fen", sa.BigInteger(), nullable=True),
        sa.Column("printed_at", MOMENT, nullable=False),
        sa.Column("printed_by", sa.String(), nullable=False),
        sa.Column("copies", sa.Integer(), nullable=False),
        sa.Column("voided_at", MOMENT, nullable=True),
        sa.Column("voided_by", sa.String(), nullable=True),
        sa.Column("voided_why", sa.String(), nullable=True),
        sa.Column("replaces_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("fen > 0", name=op.f("ck_receipt_fen")),
        sa.CheckConstraint("(voided_at IS NULL) = (voided_why IS NULL)", name=op.f("ck_receipt_voided")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_receipt_payment_id")),
        sa.ForeignKeyConstraint(["replaces_id"], ["receipt.id"], name=op.f("fk_receipt_replaces_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt")),
        sa.UniqueConstraint("number", name=op.f("uq_receipt_number")),
    )
    op.create_index("ix_receipt_payment_id", "receipt", ["payment_id"])
    op.create_index("ix_receipt_printed_at", "receipt", ["printed_at"])
    op.create_index(
        "uq_receipt_living", "receipt", ["payment_id"], unique=True, postgresql_where=sa.text("voided_at IS NULL")
    )
    op.create_table(
        "receipt_copy",
        sa.Column("receipt_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["receipt_id"], ["receipt.id"], name=op.f("fk_receipt_copy_receipt_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt_copy")),
        sa.UniqueConstraint("receipt_id", "number", name=op.f("uq_receipt_copy_number")),
    )


def downgrade() -> None:
    for name in ("receipt_copy", "receipt"):
        op.drop_table(name)
    for name in ("closed_by", "closed_at"):
        op.drop_column("payment_bill_day", name)
    op.drop_index("ix_payment_created_at", "payment")
    op.drop_index("ix_payment_transaction_id", "payment")
    op.drop_constraint(op.f("ck_payment_ledger_drawer"), "payment_ledger", type_="check")
    op.drop_index("ix_payment_ledger_shift_id", "payment_ledger")
    op.drop_constraint(op.f("fk_payment_ledger_shift_id"), "payment_ledger", type_="foreignkey")
    op.drop_column("payment_ledger", "shift_id")
    op.drop_table("cash_shift")
    op.execute("DROP SEQUENCE receipt_number_seq")
