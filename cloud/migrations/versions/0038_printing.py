"""lis.printing: printers, rules, the queue, and the record of copies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision: str | None = "0037"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("CREATE SEQUENCE lab_print_job_number_seq")
    op.create_table(
        "lab_printer",
        sa.Column("code", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("road", sa.String(length=8), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=True),
        sa.Column("two_sided", sa.Boolean(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("retired_at", MOMENT, nullable=True),
        sa.Column("seen_at", MOMENT, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("retry_at", MOMENT, nullable=True),
        sa.Column("busy_until", MOMENT, nullable=True),
        sa.Column("look_at", MOMENT, nullable=True),
        sa.Column("trouble", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_lab_printer_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_printer")),
        sa.UniqueConstraint("code", name=op.f("uq_lab_printer_code")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_lab_printer_token_hash")),
    )
    op.create_table(
        "lab_print_rule",
        sa.Column("printer_id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=True),
        sa.Column("section", sa.String(length=32), nullable=False),
        sa.Column("priority", sa.String(length=1), nullable=False),
        sa.Column("preliminary", sa.Boolean(), nullable=False),
        sa.Column("sensitive", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ended_by", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_lab_print_rule_department_id")),
        sa.ForeignKeyConstraint(["printer_id"], ["lab_printer.id"], name=op.f("fk_lab_print_rule_printer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_print_rule")),
    )
    op.create_table(
        "lab_print_job",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("printer_id", sa.Uuid(), nullable=False),
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("report_version", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=8), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("replaces_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("taken_at", MOMENT, nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("device_job", sa.Integer(), nullable=True),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("trouble", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["printer_id"], ["lab_printer.id"], name=op.f("fk_lab_print_job_printer_id")),
        sa.ForeignKeyConstraint(["replaces_id"], ["lab_print_job.id"], name=op.f("fk_lab_print_job_replaces_id")),
        sa.ForeignKeyConstraint(["report_id"], ["lab_report.id"], name=op.f("fk_lab_print_job_report_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_print_job")),
        sa.UniqueConstraint("number", name=op.f("uq_lab_print_job_number")),
        sa.UniqueConstraint("replaces_id", name=op.f("uq_lab_print_job_replaces_id")),
    )
    op.create_index(
        "ix_lab_print_job_open",
        "lab_print_job",
        ["printer_id", "number"],
        unique=False,
        postgresql_where=sa.text("state IN ('waiting', 'taken')"),
    )
    op.create_index("ix_lab_print_job_report_id", "lab_print_job", ["report_id"], unique=False)
    op.create_index("ix_lab_print_job_state_number", "lab_print_job", ["state", "number"], unique=False)
    op.create_index(
        "uq_lab_print_job_once_by_itself",
        "lab_print_job",
        ["report_id", "report_version", "printer_id"],
        unique=True,
        postgresql_where=sa.text("origin IN ('rule', 'amended') AND replaces_id IS NULL"),
    )
    op.create_table(
        "lab_print_copy",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("report_version", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("printer_id", sa.Uuid(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["lab_print_job.id"], name=op.f("fk_lab_print_copy_job_id")),
        sa.ForeignKeyConstraint(["printer_id"], ["lab_printer.id"], name=op.f("fk_lab_print_copy_printer_id")),
        sa.ForeignKeyConstraint(["report_id"], ["lab_report.id"], name=op.f("fk_lab_print_copy_report_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_print_copy")),
        sa.UniqueConstraint("job_id", name=op.f("uq_lab_print_copy_job_id")),
        sa.UniqueConstraint("report_id", "report_version", "number", name="uq_lab_print_copy_number"),
    )
    op.create_index("ix_lab_print_copy_at", "lab_print_copy", ["at"], unique=False)
    op.execute(
        "CREATE TRIGGER lab_print_copy_kept BEFORE UPDATE OR DELETE ON lab_print_copy FOR EACH ROW"
        " EXECUTE FUNCTION lab_results_refuse_change()"
    )


def downgrade() -> None:
    op.drop_table("lab_print_copy")
    op.drop_table("lab_print_job")
    op.drop_table("lab_print_rule")
    op.drop_table("lab_printer")
    op.execute("DROP SEQUENCE lab_print_job_number_seq")
