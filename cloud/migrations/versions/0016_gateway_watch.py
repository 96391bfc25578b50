"""gateways.watch: what changed on boxes, limits and alarms of silence; how far a box's clock is from ours."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision: str | None = "0015"
branch_labels = None
depends_on = None

CHANGE, LIMIT, ALARM = "gateway_change", "gateway_silence_limit", "gateway_silence_alarm"
MOMENT = sa.DateTime(timezone=True)

APPEND_ONLY = """
CREATE FUNCTION gateway_change_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was seen of a gateway is never changed or deleted';
END;
$$
"""


def upgrade() -> None:
    op.add_column("gateway", sa.Column("clock_ahead_ms", sa.BigInteger()))
    op.create_table(
        CHANGE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("link", sa.String(64), nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("before", sa.String()),
        sa.Column("after", sa.String()),
        sa.Column("detail", sa.String()),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_change")),
        sa.ForeignKeyConstraint(["gateway"], ["gateway.id"], name=op.f("fk_gateway_change_gateway")),
    )
    op.create_index("ix_gateway_change_gateway_at", CHANGE, ["gateway", "at"])
    op.execute(APPEND_ONLY)
    op.execute(
        f"CREATE TRIGGER gateway_change_is_append_only BEFORE UPDATE OR DELETE ON {CHANGE}"
        " FOR EACH ROW EXECUTE FUNCTION gateway_change_is_append_only()"
    )
    op.create_table(
        LIMIT,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid()),
        sa.Column("section", sa.String(32)),
        sa.Column("inherits", sa.Boolean(), nullable=False),
        sa.Column("minutes", sa.Integer()),
        sa.Column("opens", sa.Integer(), nullable=False),
        sa.Column("closes", sa.Integer(), nullable=False),
        sa.Column("days", postgresql.JSONB(), nullable=False),
        sa.Column("set_at", MOMENT, nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("set_by_name", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_silence_limit")),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["lab_instrument.id"], name=op.f("fk_gateway_silence_limit_instrument_id")
        ),
        sa.CheckConstraint(
            "(instrument_id IS NULL) <> (section IS NULL)", name=op.f("ck_gateway_silence_limit_one_scope")
        ),
        sa.CheckConstraint("minutes > 0", name=op.f("ck_gateway_silence_limit_minutes_positive")),
    )
    op.create_index("ix_gateway_silence_limit_scope", LIMIT, ["instrument_id", "section", "set_at"])
    op.create_table(
        ALARM,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("gateway", sa.String(64), nullable=False),
        sa.Column("link", sa.String(64), nullable=False),
        sa.Column("instrument_id", sa.Uuid()),
        sa.Column("silent_since", MOMENT, nullable=False),
        sa.Column("limit_s", sa.Integer(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("heard_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.Column("acknowledged_at", MOMENT),
        sa.Column("acknowledged_by", sa.Uuid()),
        sa.Column("acknowledged_by_name", sa.String()),
        sa.Column("reason", sa.String()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_silence_alarm")),
        sa.ForeignKeyConstraint(["gateway"], ["gateway.id"], name=op.f("fk_gateway_silence_alarm_gateway")),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["lab_instrument.id"], name=op.f("fk_gateway_silence_alarm_instrument_id")
        ),
    )
    op.create_index(
        "uq_gateway_silence_alarm_open",
        ALARM,
        ["gateway", "link"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("ix_gateway_silence_alarm_gateway_opened_at", ALARM, ["gateway", "opened_at"])


def downgrade() -> None:
    op.drop_table(ALARM)
    op.drop_table(LIMIT)
    op.drop_table(CHANGE)
    op.execute("DROP FUNCTION gateway_change_is_append_only()")
    op.drop_column("gateway", "clock_ahead_ms")
