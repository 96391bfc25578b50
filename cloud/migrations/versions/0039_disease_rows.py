"""lis.infectious: who wrote a row of the list of diseases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision: str | None = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lab_infectious_disease", sa.Column("set_by", sa.String(), nullable=False, server_default="system"))


def downgrade() -> None:
    op.drop_column("lab_infectious_disease", "set_by")
