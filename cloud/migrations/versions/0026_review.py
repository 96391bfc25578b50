"""lis.results: a specimen on hold; two persons for one test, from a day on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision: str | None = "0025"
branch_labels = None
depends_on = None

SHEET, POLICY = "lab_result_sheet", "lab_review_policy"


def upgrade() -> None:
    op.add_column(SHEET, sa.Column("hold_reason", sa.String()))
    op.add_column(SHEET, sa.Column("hold_at", sa.DateTime(timezone=True)))
    op.add_column(SHEET, sa.Column("hold_by", sa.Uuid()))
    op.add_column(SHEET, sa.Column("hold_by_name", sa.String()))
    op.add_column(POLICY, sa.Column("test_code", sa.String(32), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column(POLICY, "test_code")
    for name in ("hold_by_name", "hold_by", "hold_at", "hold_reason"):
        op.drop_column(SHEET, name)
