"""lis.worklists: tubes that stood on an instrument and got no order."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision: str | None = "0014"
branch_labels = None
depends_on = None

TUBE = "lab_unanswered_tube"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        TUBE,
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("link", sa.String(64), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("barcode", sa.String()),
        sa.Column("rack", sa.String()),
        sa.Column("position", sa.String()),
        sa.Column("specimen_id", sa.Uuid(), sa.ForeignKey("lab_specimen.id")),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("last_asked_at", MOMENT, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("order_came_at", MOMENT),
        sa.Column("closed_at", MOMENT),
        sa.Column("closed_how", sa.String(12)),
        sa.Column("closed_by", sa.Uuid()),
        sa.Column("closed_by_name", sa.String()),
        sa.Column("close_reason", sa.String()),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    open_ = sa.text("state <> 'closed'")
    op.create_index(f"uq_{TUBE}_open", TUBE, ["gateway", "link", "what"], unique=True, postgresql_where=open_)
    op.create_index(f"ix_{TUBE}_what", TUBE, ["what"], postgresql_where=open_)
    op.create_index(f"ix_{TUBE}_asked_at", TUBE, ["asked_at"])


def downgrade() -> None:
    op.drop_table(TUBE)
