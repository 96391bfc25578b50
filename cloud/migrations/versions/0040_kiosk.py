"""lis.kiosk: self-service machines and the visits to them; orders found by the visit's number."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision: str | None = "0039"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "lab_kiosk",
        sa.Column("code", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("printer_id", sa.Uuid(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("idle_s", sa.Integer(), nullable=False),
        sa.Column("enrol_hash", sa.LargeBinary(), nullable=True),
        sa.Column("enrol_until", MOMENT, nullable=True),
        sa.Column("enrolled_at", MOMENT, nullable=True),
        sa.Column("seen_at", MOMENT, nullable=True),
        sa.Column("locked_until", MOMENT, nullable=True),
        sa.Column("retired_at", MOMENT, nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["printer_id"], ["lab_printer.id"], name=op.f("fk_lab_kiosk_printer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_kiosk")),
        sa.UniqueConstraint("code", name=op.f("uq_lab_kiosk_code")),
    )
    op.create_table(
        "lab_kiosk_visit",
        sa.Column("kiosk_id", sa.Uuid(), nullable=False),
        sa.Column("how", sa.String(length=12), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("visit_number", sa.String(length=64), nullable=True),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["kiosk_id"], ["lab_kiosk.id"], name=op.f("fk_lab_kiosk_visit_kiosk_id")),
        sa.ForeignKeyConstraint(["order_id"], ["lab_order.id"], name=op.f("fk_lab_kiosk_visit_order_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_lab_kiosk_visit_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_kiosk_visit")),
    )
    op.create_index("ix_lab_kiosk_visit_kiosk_id_opened_at", "lab_kiosk_visit", ["kiosk_id", "opened_at"], unique=False)
    op.create_index(
        "ix_lab_order_visit_number",
        "lab_order",
        ["visit_number"],
        postgresql_where=sa.text("visit_number IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_lab_order_visit_number", table_name="lab_order")
    op.drop_table("lab_kiosk_visit")
    op.drop_table("lab_kiosk")
