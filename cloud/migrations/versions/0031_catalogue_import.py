"""lis.catalog: workbooks that were imported, kept with who applied them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision: str | None = "0030"
branch_labels = None
depends_on = None

TABLE = "lab_catalog_import"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        sa.Column("made_by_name", sa.String(), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("applied_at", MOMENT),
        sa.Column("lines", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_catalog_import")),
    )
    op.create_index(op.f("ix_lab_catalog_import_made_at"), TABLE, ["made_at"])


def downgrade() -> None:
    op.drop_table(TABLE)
