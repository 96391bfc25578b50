"""identity and channels: sign-in by Alipay, guardians, consents by code, SMS behind a message, the JS-SDK ticket."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision: str | None = "0050"
branch_labels = None
depends_on = None

RELATION = "ck_patient_binding_relation"


def upgrade() -> None:
    op.add_column("delivery", sa.Column("fallback", sa.LargeBinary(), nullable=True))
    op.add_column("delivery", sa.Column("fallback_shown", sa.String(), nullable=True))
    op.add_column("patient_sign_in", sa.Column("channel", sa.String(), server_default="wechat", nullable=False))
    op.add_column("patient_binding_code", sa.Column("scopes", sa.String(), nullable=True))
    op.add_column("patient_binding_code", sa.Column("lasts_days", sa.Integer(), nullable=True))
    op.create_unique_constraint(
        "uq_patient_account_channel_user_id", "patient_account", ["channel", "app_id", "user_id"]
    )
    op.drop_constraint(op.f(RELATION), "patient_binding", type_="check")
    op.create_check_constraint(op.f(RELATION), "patient_binding", "relation IN ('self', 'family', 'guardian')")
    op.create_table(
        "wechat_ticket",
        sa.Column("app_id", sa.String(), nullable=False),
        sa.Column("ticket", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refreshing_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("app_id", name=op.f("pk_wechat_ticket")),
    )


def downgrade() -> None:
    op.drop_table("wechat_ticket")
    op.execute("UPDATE patient_binding SET relation = 'family' WHERE relation = 'guardian'")
    op.drop_constraint(op.f(RELATION), "patient_binding", type_="check")
    op.create_check_constraint(op.f(RELATION), "patient_binding", "relation IN ('self', 'family')")
    op.drop_constraint("uq_patient_account_channel_user_id", "patient_account", type_="unique")
    op.drop_column("patient_binding_code", "lasts_days")
    op.drop_column("patient_binding_code", "scopes")
    op.drop_column("patient_sign_in", "channel")
    op.drop_column("delivery", "fallback_shown")
    op.drop_column("delivery", "fallback")
