"""lis.authority: who may do what to which tests from when to when, and whether it is enforced."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision: str | None = "0021"
branch_labels = None
depends_on = None

GRANT, POLICY = "lab_authority_grant", "lab_authority_policy"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        GRANT,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("staff_id", sa.Uuid(), nullable=False),
        sa.Column("act", sa.String(24), nullable=False),
        sa.Column("scope", sa.String(8), nullable=False),
        sa.Column("target", sa.String(32), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date()),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("granted_by", sa.Uuid()),
        sa.Column("granted_by_name", sa.String(), nullable=False),
        sa.Column("revoked_at", MOMENT),
        sa.Column("revoked_by", sa.Uuid()),
        sa.Column("revoked_by_name", sa.String()),
        sa.Column("revoked_reason", sa.String()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_authority_grant")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff_account.id"], name=op.f("fk_lab_authority_grant_staff_id")),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_lab_authority_grant_reason_given")),
        sa.CheckConstraint(
            "valid_to IS NULL OR valid_to >= valid_from", name=op.f("ck_lab_authority_grant_days_in_order")
        ),
        sa.CheckConstraint("(scope = 'all') = (target = '')", name=op.f("ck_lab_authority_grant_target_named")),
        sa.CheckConstraint("granted_by <> staff_id", name=op.f("ck_lab_authority_grant_not_to_oneself")),
    )
    op.create_index("ix_lab_authority_grant_staff_id_act", GRANT, ["staff_id", "act"])
    op.create_table(
        POLICY,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("act", sa.String(24), nullable=False),
        sa.Column("enforced", sa.Boolean(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("set_by_name", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("valid_from", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_authority_policy")),
    )


def downgrade() -> None:
    op.drop_table(POLICY)
    op.drop_table(GRANT)
