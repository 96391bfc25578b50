"""payments: the notices of one payment are found by its number."""

from __future__ import annotations

from alembic import op

revision = "0048"
down_revision: str | None = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_payment_notice_number", "payment_notice", ["number"])


def downgrade() -> None:
    op.drop_index("ix_payment_notice_number", "payment_notice")
