"""gateways.redecode: stored messages read anew: who asked, what differs, who approved, what became of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision: str | None = "0016"
branch_labels = None
depends_on = None

REDECODE, MESSAGE, AMENDMENT = "gateway_redecode", "gateway_redecode_message", "gateway_redecode_amendment"
MOMENT = sa.DateTime(timezone=True)
JSON = postgresql.JSONB()


def upgrade() -> None:
    op.add_column(
        "lab_qc_result", sa.Column("superseded", sa.Boolean(), nullable=False, server_default=sa.text("false"))
    )
    op.alter_column("lab_qc_result", "superseded", server_default=None)
    op.create_table(
        REDECODE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("link", sa.String(64), nullable=False),
        sa.Column("which", sa.String(16), nullable=False),
        sa.Column("inbox_id", sa.Uuid()),
        sa.Column("stored_from", MOMENT),
        sa.Column("stored_to", MOMENT),
        sa.Column("driver", sa.String(64), nullable=False),
        sa.Column("driver_version", sa.String(), nullable=False),
        sa.Column("options", JSON, nullable=False),
        sa.Column("options_known", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=False),
        sa.Column("asked_by_name", sa.String(), nullable=False),
        sa.Column("asked_reason", sa.String(), nullable=False),
        sa.Column("read_through", sa.Uuid()),
        sa.Column("read_at", MOMENT),
        sa.Column("cut", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.String()),
        sa.Column("decided_at", MOMENT),
        sa.Column("decided_by", sa.Uuid()),
        sa.Column("decided_by_name", sa.String()),
        sa.Column("decided_reason", sa.String()),
        sa.Column("applied_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_redecode")),
        sa.ForeignKeyConstraint(["gateway"], ["gateway.id"], name=op.f("fk_gateway_redecode_gateway")),
        sa.ForeignKeyConstraint(["inbox_id"], ["gateway_inbox.id"], name=op.f("fk_gateway_redecode_inbox_id")),
        sa.CheckConstraint("decided_by <> asked_by", name=op.f("ck_gateway_redecode_two_persons")),
    )
    op.create_index("ix_gateway_redecode_asked_at", REDECODE, ["asked_at"])
    op.create_table(
        MESSAGE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("redecode_id", sa.Uuid(), nullable=False),
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("was", sa.String(12), nullable=False),
        sa.Column("was_sha256", sa.String(64), nullable=False),
        sa.Column("was_driver", sa.String(), nullable=False),
        sa.Column("was_driver_version", sa.String(), nullable=False),
        sa.Column("before", JSON, nullable=False),
        sa.Column("after", JSON, nullable=False),
        sa.Column("reading", JSON, nullable=False),
        sa.Column("differences", JSON, nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("removed", sa.Integer(), nullable=False),
        sa.Column("ordinals", JSON),
        sa.Column("outcome", JSON),
        sa.Column("problem", sa.String()),
        sa.Column("applied_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_redecode_message")),
        sa.ForeignKeyConstraint(
            ["redecode_id"], [f"{REDECODE}.id"], name=op.f("fk_gateway_redecode_message_redecode_id")
        ),
        sa.ForeignKeyConstraint(["inbox_id"], ["gateway_inbox.id"], name=op.f("fk_gateway_redecode_message_inbox_id")),
        sa.UniqueConstraint("redecode_id", "inbox_id", name=op.f("uq_gateway_redecode_message_redecode_id_inbox_id")),
    )
    op.create_index("ix_gateway_redecode_message_inbox_id", MESSAGE, ["inbox_id"])
    op.create_table(
        AMENDMENT,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("redecode_id", sa.Uuid(), nullable=False),
        sa.Column("result_id", sa.Uuid(), nullable=False),
        sa.Column("new_result_id", sa.Uuid()),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("dismissed_at", MOMENT),
        sa.Column("dismissed_by", sa.Uuid()),
        sa.Column("dismissed_by_name", sa.String()),
        sa.Column("reason", sa.String()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_redecode_amendment")),
        sa.ForeignKeyConstraint(
            ["redecode_id"], [f"{REDECODE}.id"], name=op.f("fk_gateway_redecode_amendment_redecode_id")
        ),
        sa.ForeignKeyConstraint(["result_id"], ["lab_result.id"], name=op.f("fk_gateway_redecode_amendment_result_id")),
        sa.ForeignKeyConstraint(
            ["new_result_id"], ["lab_result.id"], name=op.f("fk_gateway_redecode_amendment_new_result_id")
        ),
        sa.ForeignKeyConstraint(
            ["specimen_id"], ["lab_specimen.id"], name=op.f("fk_gateway_redecode_amendment_specimen_id")
        ),
        sa.UniqueConstraint(
            "redecode_id", "result_id", name=op.f("uq_gateway_redecode_amendment_redecode_id_result_id")
        ),
    )
    op.create_index(
        "ix_gateway_redecode_amendment_open",
        AMENDMENT,
        ["specimen_id"],
        postgresql_where=sa.text("dismissed_at IS NULL"),
    )


def downgrade() -> None:
    for table in (AMENDMENT, MESSAGE, REDECODE):
        op.drop_table(table)
    op.drop_column("lab_qc_result", "superseded")
