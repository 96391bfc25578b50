"""lis.critical: a case of values that came after their report was released, which nobody has confirmed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision: str | None = "0011"
branch_labels = None
depends_on = None

CASE = "lab_critical_case"
OF_A_RELEASE = ("report_version", "confirmed_at", "confirmed_by", "confirmed_by_name")


def upgrade() -> None:
    op.add_column(CASE, sa.Column("late_result_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(op.f("fk_lab_critical_case_late_result_id"), CASE, "lab_result", ["late_result_id"], ["id"])
    op.create_unique_constraint(op.f("uq_lab_critical_case_late_result_id"), CASE, ["late_result_id"])
    for column in OF_A_RELEASE:
        op.alter_column(CASE, column, nullable=True)


def downgrade() -> None:
    """Refused by the database while such cases are there: they belong to no release."""
    for column in OF_A_RELEASE:
        op.alter_column(CASE, column, nullable=False)
    op.drop_constraint(op.f("uq_lab_critical_case_late_result_id"), CASE, type_="unique")
    op.drop_constraint(op.f("fk_lab_critical_case_late_result_id"), CASE, type_="foreignkey")
    op.drop_column(CASE, "late_result_id")
