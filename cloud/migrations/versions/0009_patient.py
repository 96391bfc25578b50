"""patient: accounts, sign-in attempts, bindings and the codes that prove them, access record."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision: str | None = "0008"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
TABLES = (
    "patient_access",
    "patient_window_code",
    "patient_binding_code",
    "patient_binding",
    "patient_sign_in",
    "patient_account",
)


def upgrade() -> None:
    op.create_table(
        "patient_account",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("app_id", sa.String(), nullable=False),
        sa.Column("open_id", sa.String()),
        sa.Column("union_id", sa.String()),
        sa.Column("user_id", sa.String()),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.UniqueConstraint("channel", "app_id", "open_id", name="uq_patient_account_channel_open_id"),
    )
    op.create_table(
        "patient_sign_in",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("state_index", sa.String(), nullable=False),
        sa.Column("browser_index", sa.String(), nullable=False),
        sa.Column("next_page", sa.String(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT),
        sa.Column("code_index", sa.String()),
        sa.UniqueConstraint("state_index", name="uq_patient_sign_in_state_index"),
        sa.UniqueConstraint("code_index", name="uq_patient_sign_in_code_index"),
    )
    _create_binding()
    _create_codes()
    op.create_table(
        "patient_access",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("at", MOMENT, nullable=False),
        _account("patient_access"),
        sa.Column("person_id", sa.Uuid()),
        sa.Column("act", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_patient_access_account_id", "patient_access", ["account_id"])
    op.create_index("ix_patient_access_person_id_at", "patient_access", ["person_id", "at"])


def _create_binding() -> None:
    op.create_table(
        "patient_binding",
        sa.Column("id", sa.Uuid(), primary_key=True),
        _account("patient_binding"),
        _person("patient_binding"),
        sa.Column("relation", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("bound_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("why_ended", sa.String()),
        sa.CheckConstraint("relation IN ('self', 'family')", name=op.f("ck_patient_binding_relation")),
        sa.CheckConstraint("method IN ('sms', 'window')", name=op.f("ck_patient_binding_method")),
    )
    op.create_index(
        "uq_patient_binding_live",
        "patient_binding",
        ["account_id", "person_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "uq_patient_binding_self",
        "patient_binding",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL AND relation = 'self'"),
    )
    op.create_index("ix_patient_binding_person_id", "patient_binding", ["person_id"])


def _create_codes() -> None:
    op.create_table(
        "patient_binding_code",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("created_at", MOMENT, nullable=False),
        _account("patient_binding_code"),
        _person("patient_binding_code"),
        sa.Column("relation", sa.String(), nullable=False),
        sa.Column("code_hash", sa.String(), nullable=False),
        sa.Column("phone_shown", sa.String(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT),
    )
    op.create_index("ix_patient_binding_code_account_id", "patient_binding_code", ["account_id"])
    op.create_table(
        "patient_window_code",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("created_at", MOMENT, nullable=False),
        _account("patient_window_code"),
        sa.Column("code_index", sa.String(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT),
        sa.UniqueConstraint("code_index", name="uq_patient_window_code_code_index"),
    )
    op.create_index("ix_patient_window_code_account_id", "patient_window_code", ["account_id"])


def _account(table: str) -> sa.Column[uuid.UUID]:
    key = sa.ForeignKey("patient_account.id", name=f"fk_{table}_account_id")
    return sa.Column("account_id", sa.Uuid(), key, nullable=False)


def _person(table: str) -> sa.Column[uuid.UUID]:
    return sa.Column("person_id", sa.Uuid(), sa.ForeignKey("person.id", name=f"fk_{table}_person_id"), nullable=False)


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
