"""lis.infectious: notifiable diseases and their markers, cases with evidence and steps, report cards."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0028"
down_revision: str | None = "0027"
branch_labels = None
depends_on = None

DISEASE, MARKER, CASE = "lab_infectious_disease", "lab_infectious_marker", "lab_infectious_case"
EVIDENCE, STEP, CARD = "lab_infectious_evidence", "lab_infectious_step", "lab_infectious_card"
MOMENT = sa.DateTime(timezone=True)
OPEN = sa.text("state IN ('open', 'told')")
APPEND_ONLY = """
CREATE FUNCTION lab_infectious_step_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was done about a case is never changed or deleted';
END;
$$
"""


def _reference(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}_{target}"))


def upgrade() -> None:
    op.execute("CREATE SEQUENCE lab_infectious_case_seq")
    op.create_table(
        DISEASE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("name_en", sa.String(), nullable=False),
        sa.Column("legal_class", sa.String(1), nullable=False),
        sa.Column("deadline_hours", sa.Integer(), nullable=False),
        sa.Column("episode_days", sa.Integer(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date()),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{DISEASE}")),
        sa.UniqueConstraint("code", "valid_from", name=op.f(f"uq_{DISEASE}_code_valid_from")),
        sa.CheckConstraint("source <> ''", name=op.f(f"ck_{DISEASE}_source_named")),
        sa.CheckConstraint("deadline_hours > 0 AND episode_days > 0", name=op.f(f"ck_{DISEASE}_positive")),
    )
    op.create_table(
        MARKER,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("disease", sa.String(32), nullable=False),
        sa.Column("condition", sa.String(12), nullable=False),
        sa.Column("threshold", sa.Numeric(18, 6)),
        sa.Column("screening", sa.Boolean(), nullable=False),
        sa.Column("hint", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{MARKER}")),
        _reference(MARKER, "test_id", "lab_test"),
        sa.CheckConstraint("source <> ''", name=op.f(f"ck_{MARKER}_source_named")),
    )
    op.create_index("ix_lab_infectious_marker_test", MARKER, ["test_id", "disease"])
    op.create_table(
        CASE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("disease", sa.String(32), nullable=False),
        sa.Column("disease_id", sa.Uuid(), nullable=False),
        sa.Column("screening", sa.Boolean(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.Column("last_at", MOMENT, nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("told_at", MOMENT),
        sa.Column("closed_at", MOMENT),
        sa.Column("duplicate_of", sa.Uuid()),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{CASE}")),
        sa.UniqueConstraint("number", name=op.f(f"uq_{CASE}_number")),
        _reference(CASE, "person_id", "person"),
        _reference(CASE, "disease_id", DISEASE),
        _reference(CASE, "order_id", "lab_order"),
        _reference(CASE, "department_id", "department"),
        _reference(CASE, "duplicate_of", CASE),
        sa.CheckConstraint(
            "(state = 'duplicate') = (duplicate_of IS NOT NULL)", name=op.f(f"ck_{CASE}_duplicate_named")
        ),
    )
    op.create_index("ix_lab_infectious_case_person", CASE, ["person_id", "disease", "last_at"])
    op.create_index("ix_lab_infectious_case_due", CASE, ["due_at"], postgresql_where=OPEN)
    op.create_table(
        EVIDENCE,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("result_id", sa.Uuid(), nullable=False),
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("marker_id", sa.Uuid(), nullable=False),
        sa.Column("test_name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("released_at", MOMENT, nullable=False),
        sa.Column("withdrawn_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{EVIDENCE}")),
        sa.UniqueConstraint("case_id", "result_id", name=op.f(f"uq_{EVIDENCE}_case_id_result_id")),
        _reference(EVIDENCE, "case_id", CASE),
        _reference(EVIDENCE, "result_id", "lab_result"),
        _reference(EVIDENCE, "report_id", "lab_report"),
        _reference(EVIDENCE, "marker_id", MARKER),
    )
    for column in ("case_id", "result_id", "report_id"):
        op.create_index(op.f(f"ix_{EVIDENCE}_{column}"), EVIDENCE, [column])
    op.create_table(
        STEP,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("by_name", sa.String(), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("detail", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{STEP}")),
        _reference(STEP, "case_id", CASE),
    )
    op.create_index(op.f(f"ix_{STEP}_case_id"), STEP, ["case_id"])
    op.execute(APPEND_ONLY)
    op.execute(
        f"CREATE TRIGGER lab_infectious_step_is_append_only BEFORE UPDATE OR DELETE ON {STEP}"
        " FOR EACH ROW EXECUTE FUNCTION lab_infectious_step_is_append_only()"
    )
    op.create_table(
        CARD,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("number", sa.String(64), nullable=False),
        sa.Column("source", sa.String(8), nullable=False),
        sa.Column("case_id", sa.Uuid()),
        sa.Column("person_id", sa.Uuid()),
        sa.Column("mrn", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("disease", sa.String(32), nullable=False),
        sa.Column("fields", postgresql.JSONB(), nullable=False),
        sa.Column("doctor", sa.String(), nullable=False),
        sa.Column("reported_at", MOMENT, nullable=False),
        sa.Column("matched_by", sa.String(), nullable=False),
        sa.Column("entered_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{CARD}")),
        _reference(CARD, "case_id", CASE),
        _reference(CARD, "person_id", "person"),
    )
    op.create_index("uq_lab_infectious_card_number", CARD, ["source", "number"], unique=True)
    op.create_index("ix_lab_infectious_card_person", CARD, ["person_id", "disease"])
    op.create_index(op.f(f"ix_{CARD}_case_id"), CARD, ["case_id"])


def downgrade() -> None:
    for table in (CARD, STEP, EVIDENCE, CASE, MARKER, DISEASE):
        op.drop_table(table)
    op.execute("DROP FUNCTION lab_infectious_step_is_append_only()")
    op.execute("DROP SEQUENCE lab_infectious_case_seq")
