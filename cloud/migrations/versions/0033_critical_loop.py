"""lis.critical: when the ward heard and the doctor dealt with it, values the ward knows, time limits, ladders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0033"
down_revision: str | None = "0032"
branch_labels = None
depends_on = None

CASE, POLICY, LADDER, STEP = (
    "lab_critical_case",
    "lab_critical_policy",
    "lab_critical_ladder",
    "lab_critical_escalation",
)
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    for name, kind in (
        ("told_at", MOMENT),
        ("handled_at", MOMENT),
        ("handled_by_name", sa.String()),
        ("handling", sa.String()),
        ("known_from_id", sa.Uuid()),
    ):
        op.add_column(CASE, sa.Column(name, kind))
    op.create_foreign_key(op.f(f"fk_{CASE}_known_from_id_{CASE}"), CASE, CASE, ["known_from_id"], ["id"])
    op.execute(
        "UPDATE lab_critical_case SET told_at = (SELECT min(c.at) FROM lab_critical_contact c"
        " WHERE c.case_id = lab_critical_case.id AND c.outcome <> 'not_reached')"
    )
    op.drop_index("ix_lab_critical_case_open", CASE)
    op.create_index(
        "ix_lab_critical_case_open",
        CASE,
        ["detected_at"],
        postgresql_where=sa.text("state NOT IN ('read_back', 'cancelled', 'known')"),
    )
    op.create_index("ix_lab_critical_case_person", CASE, ["person_id", "detected_at"])
    op.create_index("ix_lab_critical_case_detected_at", CASE, ["detected_at"])
    op.create_table(
        POLICY,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("confirm_minutes", sa.Integer()),
        sa.Column("tell_minutes", sa.Integer()),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("valid_from", MOMENT, nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("set_by_name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{POLICY}")),
    )
    op.create_table(
        LADDER,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid()),
        sa.Column("steps", postgresql.JSONB(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("valid_from", MOMENT, nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("set_by_name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{LADDER}")),
        sa.ForeignKeyConstraint(
            ["department_id"], ["department.id"], name=op.f(f"fk_{LADDER}_department_id_department")
        ),
    )
    op.create_index("ix_lab_critical_ladder_department", LADDER, ["department_id", "valid_from"])
    op.create_table(
        STEP,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("telephone", sa.String(), nullable=False),
        sa.Column("delivery_id", sa.Uuid()),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{STEP}")),
        sa.UniqueConstraint("case_id", "position", name=op.f(f"uq_{STEP}_case_id_position")),
        sa.ForeignKeyConstraint(["case_id"], [f"{CASE}.id"], name=op.f(f"fk_{STEP}_case_id_{CASE}")),
    )
    op.create_index(op.f(f"ix_{STEP}_case_id"), STEP, ["case_id"])


def downgrade() -> None:
    for table in (STEP, LADDER, POLICY):
        op.drop_table(table)
    op.execute("UPDATE lab_critical_case SET state = 'read_back' WHERE state = 'known'")
    op.drop_index("ix_lab_critical_case_detected_at", CASE)
    op.drop_index("ix_lab_critical_case_person", CASE)
    op.drop_index("ix_lab_critical_case_open", CASE)
    op.create_index(
        "ix_lab_critical_case_open",
        CASE,
        ["detected_at"],
        postgresql_where=sa.text("state NOT IN ('read_back', 'cancelled')"),
    )
    op.drop_constraint(op.f(f"fk_{CASE}_known_from_id_{CASE}"), CASE, type_="foreignkey")
    for name in ("known_from_id", "handling", "handled_by_name", "handled_at", "told_at"):
        op.drop_column(CASE, name)
