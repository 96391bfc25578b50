"""lis orders: catalogue, instruments, orders, specimens, worklists."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision: str | None = "0004"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
SEQUENCES = {"lab_order_number_seq": 100_000, "lab_accession_seq": 100_000_000}
"""Name and first number. Accessions start at nine digits: some analyzers strip leading zeros."""
TABLES = (
    "lab_tube",
    "lab_test",
    "lab_reference_range",
    "lab_critical_limit",
    "lab_panel",
    "lab_panel_test",
    "lab_instrument",
    "lab_instrument_channel",
    "lab_order",
    "lab_order_item",
    "lab_specimen",
    "lab_specimen_barcode",
    "lab_specimen_event",
    "lab_worklist_counter",
    "lab_worklist_row",
)
"""In the order they are made; dropped in the other."""

REFUSE_CHANGE = """
CREATE FUNCTION lab_specimen_event_is_appended_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what happened to a specimen is never changed or deleted';
END $$;
CREATE TRIGGER lab_specimen_event_appended_only BEFORE UPDATE OR DELETE ON lab_specimen_event
    FOR EACH ROW EXECUTE FUNCTION lab_specimen_event_is_appended_only();
"""


def upgrade() -> None:
    for name, start in SEQUENCES.items():
        op.execute(sa.schema.CreateSequence(sa.Sequence(name, start=start)))
    _catalog()
    _instruments()
    _orders()
    _specimens()
    _worklists()
    op.execute(REFUSE_CHANGE)


def downgrade() -> None:
    for name in reversed(TABLES):
        op.drop_table(name)
    op.execute("DROP FUNCTION lab_specimen_event_is_appended_only()")
    for name in SEQUENCES:
        op.execute(sa.schema.DropSequence(sa.Sequence(name)))


def _catalog() -> None:
    op.create_table(
        "lab_tube",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("cap_colour", sa.String(), nullable=False),
        sa.Column("colour_hex", sa.String(length=7), nullable=False),
        sa.Column("additive", sa.String(), nullable=False),
        sa.Column("volume_ml", sa.Numeric(precision=6, scale=2), nullable=False),
        sa.Column("specimen_type", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_tube")),
        sa.UniqueConstraint("code", name=op.f("uq_lab_tube_code")),
    )
    op.create_table(
        "lab_test",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("name_en", sa.String(), nullable=False),
        sa.Column("short_name", sa.String(length=32), nullable=False),
        sa.Column("pinyin", sa.String(length=64), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("unitless", sa.Boolean(), nullable=False),
        sa.Column("decimals", sa.Integer(), nullable=True),
        sa.Column("value_type", sa.String(length=16), nullable=False),
        sa.Column("specimen_type", sa.String(length=32), nullable=False),
        sa.Column("tube_id", sa.Uuid(), nullable=False),
        sa.Column("section", sa.String(length=32), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("loinc", sa.String(length=16), nullable=True),
        sa.Column("sensitive", sa.String(length=16), nullable=False),
        sa.Column("orderable", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("unitless = (unit = '')", name=op.f("ck_lab_test_unit_or_unitless")),
        sa.ForeignKeyConstraint(["tube_id"], ["lab_tube.id"], name=op.f("fk_lab_test_tube_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_test")),
        sa.UniqueConstraint("code", name=op.f("uq_lab_test_code")),
    )
    op.create_index("ix_lab_test_pinyin", "lab_test", ["pinyin"], unique=False)
    op.create_table(
        "lab_reference_range",
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("sex", sa.String(length=1), nullable=False),
        sa.Column("specimen_type", sa.String(length=32), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("age_min_days", sa.Integer(), nullable=False),
        sa.Column("age_max_days", sa.Integer(), nullable=True),
        sa.Column("low", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("high", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("approved_by", sa.String(), nullable=True),
        sa.Column("approved_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "low IS NOT NULL OR high IS NOT NULL OR text <> ''", name=op.f("ck_lab_reference_range_says_something")
        ),
        sa.CheckConstraint("source <> ''", name=op.f("ck_lab_reference_range_source_named")),
        sa.CheckConstraint(
            "age_max_days IS NULL OR age_max_days > age_min_days", name=op.f("ck_lab_reference_range_ages_in_order")
        ),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_reference_range_test_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_reference_range")),
        sa.UniqueConstraint(
            "test_id", "specimen_type", "sex", "age_min_days", "version", name="uq_lab_reference_range_band"
        ),
    )
    op.create_index(op.f("ix_lab_reference_range_test_id"), "lab_reference_range", ["test_id"], unique=False)
    op.create_table(
        "lab_critical_limit",
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("sex", sa.String(length=1), nullable=False),
        sa.Column("inclusive", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("age_min_days", sa.Integer(), nullable=False),
        sa.Column("age_max_days", sa.Integer(), nullable=True),
        sa.Column("low", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("high", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("approved_by", sa.String(), nullable=True),
        sa.Column("approved_at", MOMENT, nullable=True),
        sa.CheckConstraint("source <> ''", name=op.f("ck_lab_critical_limit_source_named")),
        sa.CheckConstraint(
            "age_max_days IS NULL OR age_max_days > age_min_days", name=op.f("ck_lab_critical_limit_ages_in_order")
        ),
        sa.CheckConstraint("low IS NOT NULL OR high IS NOT NULL", name=op.f("ck_lab_critical_limit_says_something")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_critical_limit_test_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_critical_limit")),
        sa.UniqueConstraint("test_id", "sex", "age_min_days", "version", name="uq_lab_critical_limit_band"),
    )
    op.create_index(op.f("ix_lab_critical_limit_test_id"), "lab_critical_limit", ["test_id"], unique=False)
    op.create_table(
        "lab_panel",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("name_en", sa.String(), nullable=False),
        sa.Column("short_name", sa.String(length=32), nullable=False),
        sa.Column("pinyin", sa.String(length=64), nullable=False),
        sa.Column("section", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_panel")),
        sa.UniqueConstraint("code", name=op.f("uq_lab_panel_code")),
    )
    op.create_table(
        "lab_panel_test",
        sa.Column("panel_id", sa.Uuid(), nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["panel_id"], ["lab_panel.id"], name=op.f("fk_lab_panel_test_panel_id")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_panel_test_test_id")),
        sa.PrimaryKeyConstraint("panel_id", "test_id", name=op.f("pk_lab_panel_test")),
    )


def _instruments() -> None:
    op.create_table(
        "lab_instrument",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("link", sa.String(length=64), nullable=False),
        sa.Column("driver", sa.String(length=64), nullable=False),
        sa.Column("section", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_instrument")),
        sa.UniqueConstraint("code", name=op.f("uq_lab_instrument_code")),
        sa.UniqueConstraint("gateway", "link", name="uq_lab_instrument_place"),
    )
    op.create_table(
        "lab_instrument_channel",
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=True),
        sa.Column("factor", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("sendable", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("factor > 0", name=op.f("ck_lab_instrument_channel_factor_positive")),
        sa.CheckConstraint(
            "(kind = 'test') = (test_id IS NOT NULL)", name=op.f("ck_lab_instrument_channel_test_named")
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["lab_instrument.id"], name=op.f("fk_lab_instrument_channel_instrument_id")
        ),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_instrument_channel_test_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_instrument_channel")),
        sa.UniqueConstraint("instrument_id", "code", name="uq_lab_instrument_channel_code"),
    )
    op.create_index(
        op.f("ix_lab_instrument_channel_instrument_id"), "lab_instrument_channel", ["instrument_id"], unique=False
    )
    op.create_index(op.f("ix_lab_instrument_channel_test_id"), "lab_instrument_channel", ["test_id"], unique=False)


def _orders() -> None:
    op.create_table(
        "lab_order",
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("campus_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("placer_number", sa.String(length=64), nullable=False),
        sa.Column("priority", sa.String(length=1), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("ordered_at", MOMENT, nullable=False),
        sa.Column("ordered_by", sa.String(), nullable=False),
        sa.Column("visit_number", sa.String(length=64), nullable=True),
        sa.Column("diagnosis", sa.String(), nullable=True),
        sa.Column("cancelled_at", MOMENT, nullable=True),
        sa.Column("cancel_reason", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["campus_id"], ["campus.id"], name=op.f("fk_lab_order_campus_id")),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_lab_order_department_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_lab_order_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_order")),
        sa.UniqueConstraint("number", name=op.f("uq_lab_order_number")),
        sa.UniqueConstraint("source", "placer_number", name="uq_lab_order_placer"),
    )
    op.create_index("ix_lab_order_ordered_at", "lab_order", ["ordered_at"], unique=False)
    op.create_index(op.f("ix_lab_order_person_id"), "lab_order", ["person_id"], unique=False)
    op.create_table(
        "lab_order_item",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("panel_id", sa.Uuid(), nullable=True),
        sa.Column("specimen_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("cancelled_at", MOMENT, nullable=True),
        sa.Column("cancel_reason", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["lab_order.id"], name=op.f("fk_lab_order_item_order_id")),
        sa.ForeignKeyConstraint(["panel_id"], ["lab_panel.id"], name=op.f("fk_lab_order_item_panel_id")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_order_item_test_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_order_item")),
    )
    op.create_index(op.f("ix_lab_order_item_order_id"), "lab_order_item", ["order_id"], unique=False)
    op.create_index(op.f("ix_lab_order_item_specimen_id"), "lab_order_item", ["specimen_id"], unique=False)
    op.create_index(op.f("ix_lab_order_item_test_id"), "lab_order_item", ["test_id"], unique=False)
    op.create_index(
        "uq_lab_order_item_live_test",
        "lab_order_item",
        ["order_id", "test_id"],
        unique=True,
        postgresql_where=sa.text("state <> 'cancelled'"),
    )


def _specimens() -> None:
    op.create_table(
        "lab_specimen",
        sa.Column("accession", sa.String(length=12), nullable=False),
        sa.Column("barcode", sa.String(length=32), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("campus_id", sa.Uuid(), nullable=False),
        sa.Column("tube_id", sa.Uuid(), nullable=False),
        sa.Column("specimen_type", sa.String(length=32), nullable=False),
        sa.Column("priority", sa.String(length=1), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("collected_at", MOMENT, nullable=True),
        sa.Column("collected_by", sa.String(), nullable=True),
        sa.Column("received_at", MOMENT, nullable=True),
        sa.Column("received_by", sa.String(), nullable=True),
        sa.Column("replaces_id", sa.Uuid(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["campus_id"], ["campus.id"], name=op.f("fk_lab_specimen_campus_id")),
        sa.ForeignKeyConstraint(["order_id"], ["lab_order.id"], name=op.f("fk_lab_specimen_order_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_lab_specimen_person_id")),
        sa.ForeignKeyConstraint(["replaces_id"], ["lab_specimen.id"], name=op.f("fk_lab_specimen_replaces_id")),
        sa.ForeignKeyConstraint(["tube_id"], ["lab_tube.id"], name=op.f("fk_lab_specimen_tube_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_specimen")),
        sa.UniqueConstraint("accession", name=op.f("uq_lab_specimen_accession")),
        sa.UniqueConstraint("barcode", name=op.f("uq_lab_specimen_barcode")),
    )
    op.create_index(op.f("ix_lab_specimen_order_id"), "lab_specimen", ["order_id"], unique=False)
    op.create_index(op.f("ix_lab_specimen_person_id"), "lab_specimen", ["person_id"], unique=False)
    op.create_index("ix_lab_specimen_state_received_at", "lab_specimen", ["state", "received_at"], unique=False)
    op.create_table(
        "lab_specimen_barcode",
        sa.Column("barcode", sa.String(length=32), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("preprinted", sa.Boolean(), nullable=False),
        sa.Column("bound_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_specimen_barcode_specimen_id")),
        sa.PrimaryKeyConstraint("barcode", name=op.f("pk_lab_specimen_barcode")),
    )
    op.create_index(op.f("ix_lab_specimen_barcode_specimen_id"), "lab_specimen_barcode", ["specimen_id"], unique=False)
    op.create_table(
        "lab_specimen_event",
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("reason_code", sa.String(length=32), nullable=True),
        sa.Column("detail", postgresql.JSONB(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_specimen_event_specimen_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_specimen_event")),
    )
    op.create_index(op.f("ix_lab_specimen_event_specimen_id"), "lab_specimen_event", ["specimen_id"], unique=False)


def _worklists() -> None:
    op.create_table(
        "lab_worklist_counter",
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gateway", name=op.f("pk_lab_worklist_counter")),
    )
    op.create_table(
        "lab_worklist_row",
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("specimen", sa.String(length=32), nullable=False),
        sa.Column("orders", postgresql.JSONB(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_worklist_row_specimen_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_worklist_row")),
        sa.UniqueConstraint("gateway", "revision", name="uq_lab_worklist_row_revision"),
    )
    op.create_index(
        "ix_lab_worklist_row_specimen", "lab_worklist_row", ["gateway", "specimen_id", "revision"], unique=False
    )
