"""gateways: a box whose own count went back is remembered until somebody has looked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision: str | None = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("gateway", sa.Column("rolled_back", postgresql.JSONB()))


def downgrade() -> None:
    op.drop_column("gateway", "rolled_back")
