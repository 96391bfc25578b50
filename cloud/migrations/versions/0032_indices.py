"""lis.results: serum indices among what instruments say about a tube."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision: str | None = "0031"
branch_labels = None
depends_on = None

NOTICE = "lab_instrument_notice"


def upgrade() -> None:
    op.add_column(NOTICE, sa.Column("serum_index", sa.String(1)))


def downgrade() -> None:
    op.drop_column(NOTICE, "serum_index")
