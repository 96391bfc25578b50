"""notify: deliveries, their attempts, and the access token all processes share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("dedupe_key", sa.String(), nullable=False),
        sa.Column("transport", sa.String(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("address_shown", sa.String(), nullable=False),
        sa.Column("template", sa.String(), nullable=False),
        sa.Column("parameters", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT),
        sa.Column("receipt", sa.String()),
        sa.Column("error", sa.String()),
        sa.UniqueConstraint("dedupe_key", name="uq_delivery_dedupe_key"),
        sa.CheckConstraint(
            "state IN ('waiting', 'sending', 'sent', 'failed', 'expired')", name=op.f("ck_delivery_state")
        ),
    )
    op.create_index(
        "ix_delivery_open",
        "delivery",
        ["next_attempt_at"],
        postgresql_where=sa.text("state IN ('waiting', 'sending')"),
    )
    op.create_index("ix_delivery_created_at", "delivery", ["created_at"])
    op.create_table(
        "delivery_attempt",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column(
            "delivery_id",
            sa.Uuid(),
            sa.ForeignKey("delivery.id", name="fk_delivery_attempt_delivery_id"),
            nullable=False,
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("error", sa.String()),
        sa.Column("ended_at", MOMENT, nullable=False),
    )
    op.create_index("ix_delivery_attempt_delivery_id", "delivery_attempt", ["delivery_id"])
    op.create_table(
        "wechat_token",
        sa.Column("app_id", sa.String(), primary_key=True),
        sa.Column("token", sa.LargeBinary()),
        sa.Column("expires_at", MOMENT),
        sa.Column("refreshing_until", MOMENT),
        sa.Column("generation", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("wechat_token")
    op.drop_table("delivery_attempt")
    op.drop_table("delivery")
