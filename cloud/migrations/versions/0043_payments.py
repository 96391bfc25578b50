"""payments: payments, refunds, the ledger, notices and cases; what refunds take never exceeds what was paid."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0043"
down_revision: str | None = "0042"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)

# The sum is moved by the difference, not counted anew: a count would not see a refund that another transaction has
# made a moment before, while the payment's own row is read again behind its lock.
RESERVE = """
CREATE FUNCTION refund_reserves() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE moved bigint := 0;
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.payment_id <> OLD.payment_id OR NEW.fen <> OLD.fen OR NEW.number <> OLD.number) THEN
        RAISE EXCEPTION 'a refund keeps its payment, its amount and its number';
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') AND NEW.state <> 'dropped' THEN moved := moved + NEW.fen; END IF;
    IF TG_OP IN ('UPDATE', 'DELETE') AND OLD.state <> 'dropped' THEN moved := moved - OLD.fen; END IF;
    IF moved <> 0 THEN
        UPDATE payment SET reserved_fen = reserved_fen + moved
         WHERE id = CASE WHEN TG_OP = 'DELETE' THEN OLD.payment_id ELSE NEW.payment_id END;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER refund_reserves AFTER INSERT OR UPDATE OR DELETE ON refund
    FOR EACH ROW EXECUTE FUNCTION refund_reserves();
"""
FORWARD = """
CREATE FUNCTION payment_moves_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE stations text[] := ARRAY['open', 'prepared', 'closing', 'closed', 'paid'];
BEGIN
    IF array_position(stations, NEW.state::text) < array_position(stations, OLD.state::text) THEN
        RAISE EXCEPTION 'a payment never goes back from % to %', OLD.state, NEW.state;
    END IF;
    IF (NEW.number, NEW.fen, NEW.channel, NEW.purpose, NEW.subject_id)
       IS DISTINCT FROM (OLD.number, OLD.fen, OLD.channel, OLD.purpose, OLD.subject_id)
       OR (OLD.paid_fen IS NOT NULL AND (NEW.paid_fen, NEW.transaction_id)
           IS DISTINCT FROM (OLD.paid_fen, OLD.transaction_id)) THEN
        RAISE EXCEPTION 'what a payment is for, its amount and its evidence never change';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payment_moves_forward BEFORE UPDATE ON payment
    FOR EACH ROW EXECUTE FUNCTION payment_moves_forward();
"""
APPENDED = """
CREATE FUNCTION payment_ledger_is_appended_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the ledger is only appended to'; END $$;
CREATE TRIGGER payment_ledger_appended_only BEFORE UPDATE OR DELETE ON payment_ledger
    FOR EACH ROW EXECUTE FUNCTION payment_ledger_is_appended_only();
"""


def upgrade() -> None:
    op.execute("CREATE SEQUENCE payment_number_seq")
    op.create_table(
        "payment",
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("app_id", sa.String(), nullable=False),
        sa.Column("merchant_id", sa.String(), nullable=False),
        sa.Column("payer", sa.String(), nullable=False),
        sa.Column("payer_key", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("phone", sa.LargeBinary(), nullable=True),
        sa.Column("ask_at", MOMENT, nullable=True),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("transaction_id", sa.String(), nullable=True),
        sa.Column("paid_fen", sa.BigInteger(), nullable=True),
        sa.Column("paid_at", MOMENT, nullable=True),
        sa.Column("settled_at", MOMENT, nullable=True),
        sa.Column("settled_by", sa.String(), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("reserved_fen", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("fen > 0", name=op.f("ck_payment_fen")),
        sa.CheckConstraint("(state = 'paid') = (paid_fen IS NOT NULL)", name=op.f("ck_payment_paid")),
        sa.CheckConstraint(
            "reserved_fen >= 0 AND reserved_fen <= coalesce(paid_fen, 0)", name=op.f("ck_payment_refunds")
        ),
        sa.CheckConstraint("state IN ('open', 'prepared', 'closing', 'closed', 'paid')", name=op.f("ck_payment_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_payment_idempotency_key")),
        sa.UniqueConstraint("number", name=op.f("uq_payment_number")),
    )
    op.create_index("ix_payment_channel_paid_at", "payment", ["channel", "paid_at"])
    op.create_index("ix_payment_payer_key_created_at", "payment", ["payer_key", "created_at"])
    op.create_index(
        "ix_payment_unsettled",
        "payment",
        ["ask_at"],
        postgresql_where=sa.text("state IN ('open', 'prepared', 'closing')"),
    )
    op.create_index(
        "uq_payment_under_way",
        "payment",
        ["purpose", "subject_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('open', 'prepared', 'closing')"),
    )
    op.create_table(
        "refund",
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("ask_at", MOMENT, nullable=True),
        sa.Column("claimed_until", MOMENT, nullable=True),
        sa.Column("called_at", MOMENT, nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("channel_number", sa.String(), nullable=True),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("fen > 0", name=op.f("ck_refund_fen")),
        sa.CheckConstraint("route IN ('channel', 'cash', 'outside')", name=op.f("ck_refund_route")),
        sa.CheckConstraint(
            "state IN ('waiting', 'asked', 'processing', 'done', 'stuck', 'dropped')", name=op.f("ck_refund_state")
        ),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_refund_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refund")),
        sa.UniqueConstraint("key", name=op.f("uq_refund_key")),
        sa.UniqueConstraint("number", name=op.f("uq_refund_number")),
    )
    op.create_index(
        "ix_refund_due", "refund", ["ask_at"], postgresql_where=sa.text("state IN ('waiting', 'asked', 'processing')")
    )
    op.create_index("ix_refund_payment_id", "refund", ["payment_id"])
    op.create_index(
        "uq_refund_at_channel",
        "refund",
        ["payment_id"],
        unique=True,
        postgresql_where=sa.text("state = 'asked' AND route = 'channel'"),
    )
    op.create_table(
        "payment_ledger",
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("refund_id", sa.Uuid(), nullable=True),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("(refund_id IS NULL) = (fen > 0)", name=op.f("ck_payment_ledger_sign")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_payment_ledger_payment_id")),
        sa.ForeignKeyConstraint(["refund_id"], ["refund.id"], name=op.f("fk_payment_ledger_refund_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_ledger")),
        sa.UniqueConstraint("refund_id", name=op.f("uq_payment_ledger_refund_id")),
    )
    op.create_index("ix_payment_ledger_channel_at", "payment_ledger", ["channel", "at"])
    op.create_index(
        "uq_payment_ledger_paid",
        "payment_ledger",
        ["payment_id"],
        unique=True,
        postgresql_where=sa.text("refund_id IS NULL"),
    )
    op.create_table(
        "payment_notice",
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_notice")),
        sa.UniqueConstraint("channel", "key", name=op.f("uq_payment_notice_key")),
    )
    op.create_index("ix_payment_notice_received_at", "payment_notice", ["received_at"])
    op.create_table(
        "payment_case",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("closed_by", sa.String(), nullable=True),
        sa.Column("closed_why", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_payment_case_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_case")),
        sa.UniqueConstraint("key", name=op.f("uq_payment_case_key")),
    )
    op.create_index(
        "ix_payment_case_open", "payment_case", ["created_at"], postgresql_where=sa.text("closed_at IS NULL")
    )
    op.create_index("ix_payment_case_payment_id", "payment_case", ["payment_id"])
    for text in (RESERVE, FORWARD, APPENDED):
        op.execute(text)


def downgrade() -> None:
    for name in ("payment_case", "payment_notice", "payment_ledger", "refund", "payment"):
        op.drop_table(name)
    for name in ("payment_ledger_is_appended_only", "payment_moves_forward", "refund_reserves"):
        op.execute(f"DROP FUNCTION {name}()")
    op.execute("DROP SEQUENCE payment_number_seq")
