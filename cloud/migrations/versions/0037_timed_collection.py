"""lis.orders, lis.specimens: when a test is to be drawn, and what its time counts from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision: str | None = "0036"
branch_labels = None
depends_on = None

ITEM, COLLECTION, START = "lab_order_item", "lab_test_collection", "lab_timed_start"
LIVE = "uq_lab_order_item_live_test"
MOMENT = sa.DateTime(timezone=True)
NOT_CANCELLED = sa.text("state <> 'cancelled'")


def upgrade() -> None:
    for table in (ITEM, COLLECTION):
        op.add_column(table, sa.Column("timing", sa.String(32), nullable=False, server_default=""))
    op.drop_index(LIVE, ITEM)
    op.create_index(LIVE, ITEM, ["order_id", "test_id", "timing"], unique=True, postgresql_where=NOT_CANCELLED)
    op.create_table(
        START,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.String(8), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_timed_start")),
        sa.ForeignKeyConstraint(["order_id"], ["lab_order.id"], name=op.f("fk_lab_timed_start_order_id")),
    )
    op.create_index(op.f("ix_lab_timed_start_order_id"), START, ["order_id"])


def downgrade() -> None:
    """Refused by the index where a test was ordered for several times: those orders would be one."""
    op.drop_table(START)
    op.drop_index(LIVE, ITEM)
    op.create_index(LIVE, ITEM, ["order_id", "test_id"], unique=True, postgresql_where=NOT_CANCELLED)
    for table in (COLLECTION, ITEM):
        op.drop_column(table, "timing")
