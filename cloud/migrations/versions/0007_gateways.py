"""gateways: registry, inbox, cursors, gaps, leases and quarantine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision: str | None = "0006"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _gateway()
    _inbox()
    _cursors()
    _workers()
    _quarantine()


def downgrade() -> None:
    for table in (
        "gateway_quarantine",
        "gateway_ingest_worker",
        "gateway_partition_lease",
        "gateway_lost_range",
        "gateway_link_cursor",
        "gateway_inbox",
        "gateway",
    ):
        op.drop_table(table)


def _gateway() -> None:
    op.create_table(
        "gateway",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("campus_id", sa.Uuid(), sa.ForeignKey("campus.id"), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("epoch", sa.String(64)),
        sa.Column("worklist_revision_acked", sa.BigInteger(), nullable=False),
        sa.Column("worklist_revision_sent", sa.BigInteger(), nullable=False),
        sa.Column("worklist_sent_at", MOMENT),
        sa.Column("last_state", postgresql.JSONB()),
        sa.Column("last_state_at", MOMENT),
        sa.Column("last_seen_at", MOMENT),
        sa.Column("created_at", MOMENT, nullable=False),
    )


def _inbox() -> None:
    op.create_table(
        "gateway_inbox",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("gateway", sa.String(64), sa.ForeignKey("gateway.id"), nullable=False),
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.Column("link", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("clock_sure", sa.Boolean(), nullable=False),
        sa.Column("stored_at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("driver", sa.String(), nullable=False),
        sa.Column("driver_version", sa.String(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("items", postgresql.JSONB(), nullable=False),
        sa.Column("undecoded", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String()),
        sa.Column("message_id", sa.String()),
        sa.Column("charset", sa.String()),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("reason", sa.String()),
        sa.Column("outcome", postgresql.JSONB()),
        sa.Column("applied_at", MOMENT),
        sa.Column("applied_by", sa.String()),
        sa.Column("handled_at", MOMENT),
        sa.Column("handled_by", sa.String()),
        sa.UniqueConstraint("gateway", "epoch", "link", "sequence", name="uq_gateway_inbox_identity"),
    )
    op.create_index(
        "ix_gateway_inbox_pending",
        "gateway_inbox",
        ["gateway", "epoch", "link", "sequence"],
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_gateway_inbox_attention",
        "gateway_inbox",
        ["id"],
        postgresql_where=sa.text(
            "handled_at IS NULL AND (state IN ('quarantined', 'undecoded', 'incomplete') OR undecoded > 0)"
        ),
    )


def _cursors() -> None:
    op.create_table(
        "gateway_link_cursor",
        sa.Column("gateway", sa.String(64), sa.ForeignKey("gateway.id"), primary_key=True),
        sa.Column("epoch", sa.String(64), primary_key=True),
        sa.Column("link", sa.String(64), primary_key=True),
        sa.Column("applied_through", sa.BigInteger(), nullable=False),
        sa.Column("applied_at", MOMENT),
        sa.Column("gap_first", sa.BigInteger()),
        sa.Column("gap_last", sa.BigInteger()),
        sa.Column("gap_since", MOMENT),
        sa.Column("gap_requested_at", MOMENT),
        sa.Column("gap_requests", sa.Integer(), nullable=False),
    )
    op.create_table(
        "gateway_lost_range",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("gateway", sa.String(64), sa.ForeignKey("gateway.id"), nullable=False),
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.Column("link", sa.String(64), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("declared_at", MOMENT, nullable=False),
        sa.Column("declared_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
    )
    op.create_index("ix_gateway_lost_range_link", "gateway_lost_range", ["gateway", "epoch", "link", "first"])


def _workers() -> None:
    op.create_table(
        "gateway_partition_lease",
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("holder", sa.String()),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("taken_at", MOMENT),
    )
    op.create_table(
        "gateway_ingest_worker",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("alive_until", MOMENT, nullable=False),
    )


def _quarantine() -> None:
    op.create_table(
        "gateway_quarantine",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("gateway", sa.String(64)),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("first_at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("last_at", MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("handled_at", MOMENT),
        sa.Column("handled_by", sa.String()),
        sa.UniqueConstraint("topic", "sha256", name="uq_gateway_quarantine_payload"),
    )
    op.create_index("ix_gateway_quarantine_last_at", "gateway_quarantine", ["last_at"])
