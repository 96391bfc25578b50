"""lis.reports: the forms that reports are made out on, the typesetting source, signatures as images."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0036"
down_revision: str | None = "0035"
branch_labels = None
depends_on = None

FORM, SOURCE, SIGNATURE = "lab_report_form", "lab_report_source", "lab_signature_image"


def upgrade() -> None:
    op.create_table(
        FORM,
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("name_en", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("settings", postgresql.JSONB(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("set_by_name", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_report_form")),
        sa.UniqueConstraint("code", "version", name=op.f("uq_lab_report_form_code_version")),
    )
    op.create_table(
        SOURCE,
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_lab_report_source")),
    )
    op.create_table(
        SIGNATURE,
        sa.Column("staff_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("media_type", sa.String()),
        sa.Column("data", sa.LargeBinary()),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_signature_image")),
        sa.ForeignKeyConstraint(["staff_id"], ["staff_account.id"], name=op.f("fk_lab_signature_image_staff_id")),
    )
    op.create_index("ix_lab_signature_image_staff_id_at", SIGNATURE, ["staff_id", "at"])
    op.create_index("ix_lab_signature_image_sha256", SIGNATURE, ["sha256"])
    for table in (FORM, SOURCE, SIGNATURE):
        op.execute(
            f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION lab_results_refuse_change()"
        )


def downgrade() -> None:
    op.drop_table(SIGNATURE)
    op.drop_table(SOURCE)
    op.drop_table(FORM)
