"""consents and limits: the hospital's decisions, refused looks by target, what a real-name service said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision: str | None = "0053"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "patient_policy",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_policy")),
    )
    op.create_index("ix_patient_policy_key", "patient_policy", ["key", "valid_from"])
    op.add_column("patient_binding_code", sa.Column("real_name", sa.String(), nullable=True))
    op.add_column("patient_binding", sa.Column("real_name", sa.String(), nullable=True))
    op.create_index(
        "ix_patient_binding_real_name",
        "patient_binding",
        ["bound_at"],
        postgresql_where=sa.text("real_name = 'unknown'"),
    )
    op.create_index("ix_patient_access_refused", "patient_access", ["target"], postgresql_where=sa.text("NOT allowed"))


def downgrade() -> None:
    op.drop_index("ix_patient_access_refused", table_name="patient_access")
    op.drop_index("ix_patient_binding_real_name", table_name="patient_binding")
    op.drop_column("patient_binding", "real_name")
    op.drop_column("patient_binding_code", "real_name")
    op.drop_index("ix_patient_policy_key", table_name="patient_policy")
    op.drop_table("patient_policy")
