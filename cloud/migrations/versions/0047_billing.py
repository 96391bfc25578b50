"""billing: charges, items, what is paid together, allocations, refunds of items; execution and refund exclude each
other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision: str | None = "0046"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)

CHARGE = """
CREATE FUNCTION charge_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state AND NOT (OLD.state || '>' || NEW.state = ANY (ARRAY[
        'payable>paying', 'payable>paid', 'payable>void', 'paying>payable', 'paying>paid'])) THEN
        RAISE EXCEPTION 'a charge does not go from % to %', OLD.state, NEW.state;
    END IF;
    IF (NEW.source, NEW.number) IS DISTINCT FROM (OLD.source, OLD.number)
       OR (OLD.state <> 'payable' AND (NEW.person_id, NEW.total_fen, NEW.version)
           IS DISTINCT FROM (OLD.person_id, OLD.total_fen, OLD.version))
       OR (OLD.state = 'paid' AND (NEW.paid_how, NEW.payment_id, NEW.paid_at)
           IS DISTINCT FROM (OLD.paid_how, OLD.payment_id, OLD.paid_at))
       OR (OLD.invoice_number IS NOT NULL AND NEW.invoice_number IS DISTINCT FROM OLD.invoice_number) THEN
        RAISE EXCEPTION 'whose a charge is, its amount, how it was paid and its invoice stay as they are';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER charge_moves BEFORE UPDATE ON charge FOR EACH ROW EXECUTE FUNCTION charge_moves();
"""
ITEM = """
CREATE FUNCTION charge_item_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.charge_id, NEW.version, NEW.line, NEW.fen, NEW.price_fen, NEW.quantity, NEW.goods)
           IS DISTINCT FROM (OLD.charge_id, OLD.version, OLD.line, OLD.fen, OLD.price_fen, OLD.quantity, OLD.goods) THEN
            RAISE EXCEPTION 'an item of a charge keeps what it is and what it costs';
        END IF;
        IF NEW.state = OLD.state THEN RETURN NEW; END IF;
        IF NOT (OLD.state || '>' || NEW.state = ANY (ARRAY[
            'payable>paying', 'payable>paid', 'payable>executed', 'payable>void',
            'paying>payable', 'paying>paid', 'paying>executed',
            'paid>executed', 'paid>refunding', 'executed>paid', 'refunding>refunded', 'refunding>paid'])) THEN
            RAISE EXCEPTION 'an item does not go from % to %', OLD.state, NEW.state;
        END IF;
        IF (OLD.state || '>' || NEW.state = 'executed>paid') <> (NEW.undone > OLD.undone) THEN
            RAISE EXCEPTION 'an execution is taken back one by one, and counted';
        END IF;
    ELSIF NEW.state NOT IN ('payable', 'paying') THEN
        RAISE EXCEPTION 'an item begins unpaid';
    END IF;
    IF NEW.state IN ('paid', 'executed', 'refunding', 'refunded')
       AND NOT EXISTS (SELECT FROM charge WHERE id = NEW.charge_id AND state = 'paid') THEN
        RAISE EXCEPTION 'an item is % only on a paid charge', NEW.state;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER charge_item_moves BEFORE INSERT OR UPDATE ON charge_item
    FOR EACH ROW EXECUTE FUNCTION charge_item_moves();
"""
# Sums are moved by the difference, not counted anew: a count would not see what another transaction has written a
# moment before, while the row itself is read again behind its lock.
ALLOCATION = """
CREATE FUNCTION charge_allocation_is_fixed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN RAISE EXCEPTION 'allocations are only appended to'; END IF;
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.bill_payment_id, NEW.payment_id, NEW.item_id, NEW.fen)
           IS DISTINCT FROM (OLD.bill_payment_id, OLD.payment_id, OLD.item_id, OLD.fen) THEN
            RAISE EXCEPTION 'an allocation is fixed when its payment settles';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.fen <> (SELECT fen FROM charge_item WHERE id = NEW.item_id) THEN
        RAISE EXCEPTION 'an item is paid whole';
    END IF;
    UPDATE bill_payment SET allocated_fen = allocated_fen + NEW.fen
     WHERE id = NEW.bill_payment_id AND state <> 'settled' AND payment_id = NEW.payment_id;
    IF NOT FOUND THEN RAISE EXCEPTION 'allocations are made once, as their payment settles'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER charge_allocation_is_fixed BEFORE INSERT OR UPDATE OR DELETE ON charge_allocation
    FOR EACH ROW EXECUTE FUNCTION charge_allocation_is_fixed();
"""
BILL_PAYMENT = """
CREATE FUNCTION bill_payment_moves_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.fen, NEW.key, NEW.payer_key) IS DISTINCT FROM (OLD.fen, OLD.key, OLD.payer_key)
       OR (OLD.payment_id IS NOT NULL AND NEW.payment_id IS DISTINCT FROM OLD.payment_id)
       OR (OLD.state = 'settled' AND (NEW.state, NEW.allocated_fen, NEW.returned_fen)
           IS DISTINCT FROM (OLD.state, OLD.allocated_fen, OLD.returned_fen)) THEN
        RAISE EXCEPTION 'what a payment of bills covers stays as it is';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER bill_payment_moves_forward BEFORE UPDATE ON bill_payment
    FOR EACH ROW EXECUTE FUNCTION bill_payment_moves_forward();
"""
REFUND_LINE = """
CREATE FUNCTION bill_refund_line_takes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE moved bigint := 0;
BEGIN
    IF TG_OP = 'DELETE' THEN RAISE EXCEPTION 'refunds of items are only appended to'; END IF;
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.bill_refund_id, NEW.item_id, NEW.fen) IS DISTINCT FROM (OLD.bill_refund_id, OLD.item_id, OLD.fen)
           OR (OLD.dropped AND NOT NEW.dropped) THEN
            RAISE EXCEPTION 'a refund keeps its items and their amounts';
        END IF;
        IF NEW.dropped AND NOT OLD.dropped THEN moved := -OLD.fen; END IF;
    ELSE
        moved := NEW.fen;
    END IF;
    IF TG_OP = 'INSERT' OR moved <> 0 THEN
        UPDATE charge_allocation SET refunded_fen = refunded_fen + moved
         WHERE item_id = NEW.item_id
           AND payment_id = (SELECT payment_id FROM bill_refund WHERE id = NEW.bill_refund_id);
        IF NOT FOUND THEN RAISE EXCEPTION 'only what this payment paid goes back from it'; END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER bill_refund_line_takes BEFORE INSERT OR UPDATE OR DELETE ON bill_refund_line
    FOR EACH ROW EXECUTE FUNCTION bill_refund_line_takes();
"""


def upgrade() -> None:
    op.execute("CREATE SEQUENCE charge_number_seq")
    op.create_table(
        "charge",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("visit", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=True),
        sa.Column("executing_department_id", sa.Uuid(), nullable=True),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("paying_id", sa.Uuid(), nullable=True),
        sa.Column("paid_how", sa.String(), nullable=True),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("paid_at", MOMENT, nullable=True),
        sa.Column("receipt", sa.String(), nullable=True),
        sa.Column("invoice_number", sa.String(), nullable=True),
        sa.Column("invoiced_at", MOMENT, nullable=True),
        sa.Column("told_at", MOMENT, nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("source IN ('his', 'manual')", name=op.f("ck_charge_source")),
        sa.CheckConstraint(
            "kind IN ('registration', 'exam', 'lab', 'drug', 'treatment', 'material', 'other')",
            name=op.f("ck_charge_kind"),
        ),
        sa.CheckConstraint("state IN ('payable', 'paying', 'paid', 'void')", name=op.f("ck_charge_state")),
        sa.CheckConstraint("total_fen >= 0", name=op.f("ck_charge_total_fen")),
        sa.CheckConstraint("(state = 'paid') = (paid_how IS NOT NULL)", name=op.f("ck_charge_paid_how")),
        sa.CheckConstraint("(state = 'paying') = (paying_id IS NOT NULL)", name=op.f("ck_charge_paying")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_charge_person_id")),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_charge_department_id")),
        sa.ForeignKeyConstraint(
            ["executing_department_id"], ["department.id"], name=op.f("fk_charge_executing_department_id")
        ),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_charge_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charge")),
        sa.UniqueConstraint("source", "number", name="uq_charge_number"),
        sa.UniqueConstraint("invoice_number", name=op.f("uq_charge_invoice_number")),
    )
    op.create_index("ix_charge_person_id_made_at", "charge", ["person_id", "made_at"])
    op.create_index("ix_charge_made_at", "charge", ["made_at"])
    op.create_index(
        "ix_charge_open",
        "charge",
        ["person_id", "made_at"],
        postgresql_where=sa.text("state IN ('payable', 'paying')"),
    )
    for column in ("paying_id", "payment_id"):
        op.create_index(f"ix_charge_{column}", "charge", [column], postgresql_where=sa.text(f"{column} IS NOT NULL"))
    op.create_table(
        "charge_item",
        sa.Column("charge_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("line", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("spec", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("quantity", sa.Numeric(12, 3), nullable=False),
        sa.Column("price_fen", sa.BigInteger(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("goods", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("order_key", sa.String(), nullable=True),
        sa.Column("executed_at", MOMENT, nullable=True),
        sa.Column("executed_by", sa.String(), nullable=True),
        sa.Column("executed_in", sa.Uuid(), nullable=True),
        sa.Column("undone", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("fen >= 0 AND price_fen >= 0 AND quantity > 0", name=op.f("ck_charge_item_amount")),
        sa.CheckConstraint(
            "state IN ('payable', 'paying', 'paid', 'executed', 'refunding', 'refunded', 'void')",
            name=op.f("ck_charge_item_state"),
        ),
        sa.CheckConstraint("state <> 'executed' OR executed_at IS NOT NULL", name=op.f("ck_charge_item_executed")),
        sa.ForeignKeyConstraint(["charge_id"], ["charge.id"], name=op.f("fk_charge_item_charge_id")),
        sa.ForeignKeyConstraint(["executed_in"], ["department.id"], name=op.f("fk_charge_item_executed_in")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charge_item")),
        sa.UniqueConstraint("charge_id", "version", "line", name="uq_charge_item_line"),
    )
    op.create_index("ix_charge_item_charge_id", "charge_item", ["charge_id"])
    op.create_index(
        "ix_charge_item_order_key", "charge_item", ["order_key"], postgresql_where=sa.text("order_key IS NOT NULL")
    )
    op.create_table(
        "bill_payment",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("payer_key", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("allocated_fen", sa.BigInteger(), nullable=False),
        sa.Column("returned_fen", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("fen > 0 AND returned_fen >= 0 AND allocated_fen >= 0", name=op.f("ck_bill_payment_fen")),
        sa.CheckConstraint("state IN ('open', 'settled', 'closed')", name=op.f("ck_bill_payment_state")),
        sa.CheckConstraint(
            "state <> 'settled' OR allocated_fen + returned_fen = fen", name=op.f("ck_bill_payment_whole")
        ),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_bill_payment_payment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bill_payment")),
        sa.UniqueConstraint("key", name=op.f("uq_bill_payment_key")),
        sa.UniqueConstraint("payment_id", name=op.f("uq_bill_payment_payment_id")),
    )
    op.create_index("ix_bill_payment_open", "bill_payment", ["created_at"], postgresql_where=sa.text("state = 'open'"))
    op.create_table(
        "bill_payment_line",
        sa.Column("bill_payment_id", sa.Uuid(), nullable=False),
        sa.Column("charge_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["bill_payment_id"], ["bill_payment.id"], name=op.f("fk_bill_payment_line_bill_payment_id")
        ),
        sa.ForeignKeyConstraint(["charge_id"], ["charge.id"], name=op.f("fk_bill_payment_line_charge_id")),
        sa.PrimaryKeyConstraint("bill_payment_id", "charge_id", name=op.f("pk_bill_payment_line")),
    )
    op.create_index("ix_bill_payment_line_charge_id", "bill_payment_line", ["charge_id"])
    op.create_table(
        "charge_allocation",
        sa.Column("bill_payment_id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("refunded_fen", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("fen >= 0", name=op.f("ck_charge_allocation_fen")),
        sa.CheckConstraint("refunded_fen >= 0 AND refunded_fen <= fen", name=op.f("ck_charge_allocation_refunds")),
        sa.ForeignKeyConstraint(
            ["bill_payment_id"], ["bill_payment.id"], name=op.f("fk_charge_allocation_bill_payment_id")
        ),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_charge_allocation_payment_id")),
        sa.ForeignKeyConstraint(["item_id"], ["charge_item.id"], name=op.f("fk_charge_allocation_item_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charge_allocation")),
        sa.UniqueConstraint("item_id", name=op.f("uq_charge_allocation_item_id")),
    )
    for column in ("bill_payment_id", "payment_id"):
        op.create_index(f"ix_charge_allocation_{column}", "charge_allocation", [column])
    op.create_table(
        "bill_refund",
        sa.Column("charge_id", sa.Uuid(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=False),
        sa.Column("refund_id", sa.Uuid(), nullable=True),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("at_window", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("fen >= 0", name=op.f("ck_bill_refund_fen")),
        sa.CheckConstraint("state IN ('asked', 'done', 'dropped')", name=op.f("ck_bill_refund_state")),
        sa.CheckConstraint("route IN ('channel', 'cash')", name=op.f("ck_bill_refund_route")),
        sa.CheckConstraint("(refund_id IS NULL) = (fen = 0)", name=op.f("ck_bill_refund_refund")),
        sa.ForeignKeyConstraint(["charge_id"], ["charge.id"], name=op.f("fk_bill_refund_charge_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_bill_refund_payment_id")),
        sa.ForeignKeyConstraint(["refund_id"], ["refund.id"], name=op.f("fk_bill_refund_refund_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bill_refund")),
        sa.UniqueConstraint("refund_id", name=op.f("uq_bill_refund_refund_id")),
    )
    for column in ("charge_id", "payment_id"):
        op.create_index(f"ix_bill_refund_{column}", "bill_refund", [column])
    op.create_table(
        "bill_refund_line",
        sa.Column("bill_refund_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("fen >= 0", name=op.f("ck_bill_refund_line_fen")),
        sa.ForeignKeyConstraint(
            ["bill_refund_id"], ["bill_refund.id"], name=op.f("fk_bill_refund_line_bill_refund_id")
        ),
        sa.ForeignKeyConstraint(["item_id"], ["charge_item.id"], name=op.f("fk_bill_refund_line_item_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bill_refund_line")),
    )
    for column in ("bill_refund_id", "item_id"):
        op.create_index(f"ix_bill_refund_line_{column}", "bill_refund_line", [column])
    op.create_index(
        "uq_bill_refund_line_living",
        "bill_refund_line",
        ["item_id"],
        unique=True,
        postgresql_where=sa.text("NOT dropped"),
    )
    op.create_table(
        "billing_policy",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Integer(), nullable=True),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("valid_from", MOMENT, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_policy")),
    )
    op.create_index("ix_billing_policy_key", "billing_policy", ["key", "valid_from"])
    for text in (CHARGE, ITEM, ALLOCATION, BILL_PAYMENT, REFUND_LINE):
        op.execute(text)


def downgrade() -> None:
    for name in (
        "billing_policy",
        "bill_refund_line",
        "bill_refund",
        "charge_allocation",
        "bill_payment_line",
        "bill_payment",
        "charge_item",
        "charge",
    ):
        op.drop_table(name)
    for name in (
        "bill_refund_line_takes",
        "bill_payment_moves_forward",
        "charge_allocation_is_fixed",
        "charge_item_moves",
        "charge_moves",
    ):
        op.execute(f"DROP FUNCTION {name}()")
    op.execute("DROP SEQUENCE charge_number_seq")
