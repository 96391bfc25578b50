"""lis.instruments: the other units a channel may send."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision: str | None = "0034"
branch_labels = None
depends_on = None

CHANNEL = "lab_instrument_channel"


def upgrade() -> None:
    op.add_column(CHANNEL, sa.Column("also_units", sa.String(128), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column(CHANNEL, "also_units")
