"""his: how often a message went out and no answer came, so that one that is never answered stops nobody."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision: str | None = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("his_outbox", sa.Column("unanswered", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    op.execute("UPDATE his_outbox SET state = 'refused' WHERE state = 'parked'")
    op.execute("UPDATE his_outbox SET state = 'accepted' WHERE state = 'superseded'")
    op.drop_column("his_outbox", "unanswered")
