"""The query: saved questions, initials of names, and the indexes that its answers and the pages of a patient need.

Revision ID: 0030
Revises: 0029
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0030"
down_revision: str | None = "0029"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_lab_order_department_id_ordered_at", "lab_order", ["department_id", "ordered_at"], None),
    ("ix_lab_order_ordered_by_ordered_at", "lab_order", ["ordered_by", "ordered_at"], None),
    ("ix_lab_report_released_at", "lab_report", ["released_at"], None),
    ("ix_lab_result_test_id_received_at", "lab_result", ["test_id", "received_at", "id"], "chosen"),
    ("ix_lab_result_test_id_number", "lab_result", ["test_id", "number"], "chosen AND number IS NOT NULL"),
    ("ix_lab_result_critical", "lab_result", ["received_at"], "chosen AND critical"),
)


def upgrade() -> None:
    op.create_table(
        "lab_saved_query",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("fields", postgresql.JSONB(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lab_saved_query"),
        sa.UniqueConstraint("owner_id", "name", name="uq_lab_saved_query_owner_id_name"),
    )
    op.add_column("person", sa.Column("initials", sa.String(), server_default="", nullable=False))
    _spell()
    for column in ("initials", "name"):
        op.create_index(f"ix_person_{column}", "person", [column], postgresql_ops={column: "text_pattern_ops"})
    for name, table, columns, where in INDEXES:
        op.create_index(name, table, columns, postgresql_where=None if where is None else sa.text(where))


def _spell() -> None:
    """Initials of the names that are there; the function is today's and each name is written once."""
    from cloud.people.pinyin import initials_of

    connection = op.get_bind()
    names = [row.name for row in connection.execute(sa.text("SELECT DISTINCT name FROM person WHERE name <> ''"))]
    write = sa.text("UPDATE person SET initials = :initials WHERE name = :name")
    op.create_index("ix_person_name_for_spelling", "person", ["name"])
    for first in range(0, len(names), 1000):
        spelled = [{"name": each, "initials": initials_of(each)} for each in names[first : first + 1000]]
        connection.execute(write, spelled)
    op.drop_index("ix_person_name_for_spelling", "person")


def downgrade() -> None:
    for name, table, _columns, _where in reversed(INDEXES):
        op.drop_index(name, table)
    op.drop_index("ix_person_name", "person")
    op.drop_index("ix_person_initials", "person")
    op.drop_column("person", "initials")
    op.drop_table("lab_saved_query")
