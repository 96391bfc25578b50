"""his: messages in and out, the neighbour's state, its codes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision: str | None = "0007"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.execute(sa.schema.CreateSequence(sa.Sequence("his_control_number_seq")))
    _incoming()
    _outgoing()
    op.create_table(
        "his_code",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("theirs", sa.String(), nullable=False),
        sa.Column("ours", sa.String(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("set_at", MOMENT, server_default=NOW, nullable=False),
        sa.UniqueConstraint("kind", "theirs", name="uq_his_code_theirs"),
    )


def downgrade() -> None:
    for table in ("his_code", "his_peer", "his_outbox", "his_message"):
        op.drop_table(table)
    op.execute(sa.schema.DropSequence(sa.Sequence("his_control_number_seq")))


def _incoming() -> None:
    op.create_table(
        "his_message",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("sending_application", sa.String(), nullable=False),
        sa.Column("sending_facility", sa.String(), nullable=False),
        sa.Column("control_id", sa.String()),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("received_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("last_received_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("charset", sa.String(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("reason", sa.String()),
        sa.Column("answer_code", sa.String(2)),
        sa.Column("answer", sa.LargeBinary()),
        sa.Column("outcome", postgresql.JSONB()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("applied_at", MOMENT),
        sa.UniqueConstraint("sending_application", "sending_facility", "control_id", name="uq_his_message_number"),
    )
    op.create_index("ix_his_message_received_at", "his_message", ["received_at"])


def _outgoing() -> None:
    op.create_table(
        "his_outbox",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("control_id", sa.String(20), nullable=False),
        sa.Column("report_id", sa.Uuid(), sa.ForeignKey("lab_report.id"), nullable=False),
        sa.Column("report_version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created_at", MOMENT, server_default=NOW, nullable=False),
        sa.Column("claimed_until", MOMENT),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String()),
        sa.Column("answer", sa.LargeBinary()),
        sa.Column("accepted_at", MOMENT),
        sa.UniqueConstraint("number", name="uq_his_outbox_number"),
        sa.UniqueConstraint("control_id", name="uq_his_outbox_control_id"),
        sa.UniqueConstraint("report_id", "report_version", "kind", name="uq_his_outbox_version"),
    )
    op.create_index("ix_his_outbox_waiting", "his_outbox", ["number"], postgresql_where=sa.text("state = 'waiting'"))
    op.create_table(
        "his_peer",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", MOMENT),
        sa.Column("last_error", sa.String()),
        sa.Column("last_answer_at", MOMENT),
    )
