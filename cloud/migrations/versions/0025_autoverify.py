"""lis.autoverify: rule sets, decisions and their facts, stops, back-tests, daily pass rates and alarms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision: str | None = "0024"
branch_labels = None
depends_on = None

SET, FACTS, DECISION, STOP = "lab_rule_set", "lab_auto_facts", "lab_auto_decision", "lab_auto_stop"
BACKTEST, DAY, ALARM = "lab_backtest", "lab_auto_day", "lab_auto_alarm"
MOMENT = sa.DateTime(timezone=True)
JSON = postgresql.JSONB()


def upgrade() -> None:
    op.create_table(
        SET,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sections", JSON, nullable=False),
        sa.Column("rules", JSON, nullable=False),
        sa.Column("act", sa.String(8), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("shadow", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("editors", JSON, nullable=False),
        sa.Column("edited_by_name", sa.String(), nullable=False),
        sa.Column("edited_at", MOMENT, nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("tested_at", MOMENT),
        sa.Column("backtest_id", sa.Uuid()),
        sa.Column("approved_by", sa.Uuid()),
        sa.Column("approved_by_name", sa.String()),
        sa.Column("approved_at", MOMENT),
        sa.Column("live_from", MOMENT),
        sa.Column("retired_at", MOMENT),
        sa.Column("retired_by_name", sa.String()),
        sa.Column("retired_reason", sa.String()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_rule_set")),
        sa.UniqueConstraint("code", "version", name=op.f("uq_lab_rule_set_code_version")),
        sa.CheckConstraint(
            "state <> 'approved' OR (approved_by IS NOT NULL AND live_from IS NOT NULL)",
            name=op.f("ck_lab_rule_set_approved"),
        ),
        sa.CheckConstraint(
            "approved_by IS NULL OR NOT (editors @> to_jsonb(approved_by))", name=op.f("ck_lab_rule_set_two_persons")
        ),
    )
    op.create_table(
        FACTS,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("sheet_version", sa.Integer(), nullable=False),
        sa.Column("facts", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_auto_facts")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_auto_facts_specimen_id")),
    )
    op.create_index(op.f("ix_lab_auto_facts_specimen_id"), FACTS, ["specimen_id"])
    op.create_table(
        DECISION,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("facts_id", sa.Uuid(), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("rule_set_id", sa.Uuid(), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("action", sa.String(12), nullable=False),
        sa.Column("refusal", sa.String(64)),
        sa.Column("outcome", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_auto_decision")),
        sa.ForeignKeyConstraint(["facts_id"], [f"{FACTS}.id"], name=op.f("fk_lab_auto_decision_facts_id")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_auto_decision_specimen_id")),
        sa.ForeignKeyConstraint(["rule_set_id"], [f"{SET}.id"], name=op.f("fk_lab_auto_decision_rule_set_id")),
    )
    op.create_index("ix_lab_auto_decision_rule_set_id_at", DECISION, ["rule_set_id", "at"])
    op.create_index("ix_lab_auto_decision_at", DECISION, ["at"])
    op.create_index(op.f("ix_lab_auto_decision_facts_id"), DECISION, ["facts_id"])
    op.create_index(op.f("ix_lab_auto_decision_specimen_id"), DECISION, ["specimen_id"])
    op.create_table(
        STOP,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.String(80), nullable=False),
        sa.Column("stopped_at", MOMENT, nullable=False),
        sa.Column("stopped_by", sa.Uuid(), nullable=False),
        sa.Column("stopped_by_name", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("resumed_at", MOMENT),
        sa.Column("resumed_by", sa.Uuid()),
        sa.Column("resumed_by_name", sa.String()),
        sa.Column("resumed_reason", sa.String()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_auto_stop")),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_lab_auto_stop_reason_given")),
    )
    op.create_index(
        "uq_lab_auto_stop_open", STOP, ["scope"], unique=True, postgresql_where=sa.text("resumed_at IS NULL")
    )
    op.create_table(
        BACKTEST,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule_set_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.Column("asked_by", sa.Uuid()),
        sa.Column("asked_by_name", sa.String(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("done_at", MOMENT),
        sa.Column("rules", JSON, nullable=False),
        sa.Column("outcome", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_backtest")),
        sa.ForeignKeyConstraint(["rule_set_id"], [f"{SET}.id"], name=op.f("fk_lab_backtest_rule_set_id")),
    )
    op.create_index(op.f("ix_lab_backtest_rule_set_id"), BACKTEST, ["rule_set_id"])
    op.create_table(
        DAY,
        sa.Column("rule_set_id", sa.Uuid(), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("test_code", sa.String(32), nullable=False),
        sa.Column("decided", sa.Integer(), nullable=False),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.Column("hits", JSON, nullable=False),
        sa.PrimaryKeyConstraint("rule_set_id", "mode", "day", "test_code", name=op.f("pk_lab_auto_day")),
        sa.ForeignKeyConstraint(["rule_set_id"], [f"{SET}.id"], name=op.f("fk_lab_auto_day_rule_set_id")),
    )
    op.create_index(op.f("ix_lab_auto_day_day"), DAY, ["day"])
    op.create_table(
        ALARM,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule_set_id", sa.Uuid(), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("test_code", sa.String(32), nullable=False),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("expected", sa.Float(), nullable=False),
        sa.Column("low", sa.Float(), nullable=False),
        sa.Column("high", sa.Float(), nullable=False),
        sa.Column("decided", sa.Integer(), nullable=False),
        sa.Column("raised_at", MOMENT, nullable=False),
        sa.Column("acknowledged_at", MOMENT),
        sa.Column("acknowledged_by", sa.Uuid()),
        sa.Column("acknowledged_by_name", sa.String()),
        sa.Column("reason", sa.String()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_auto_alarm")),
        sa.ForeignKeyConstraint(["rule_set_id"], [f"{SET}.id"], name=op.f("fk_lab_auto_alarm_rule_set_id")),
        sa.UniqueConstraint(
            "rule_set_id", "mode", "day", "test_code", name=op.f("uq_lab_auto_alarm_rule_set_id_mode_day_test_code")
        ),
    )


def downgrade() -> None:
    for table in (ALARM, DAY, BACKTEST, STOP, DECISION, FACTS, SET):
        op.drop_table(table)
