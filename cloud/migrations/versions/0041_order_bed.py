"""lis.orders: the bed of who an order is for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision: str | None = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lab_order", sa.Column("bed", sa.String(32)))


def downgrade() -> None:
    op.drop_column("lab_order", "bed")
