"""lis_results: control results, results and what surrounds them, critical cases, reports and their versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision: str | None = "0005"
branch_labels = None
depends_on = None


FROZEN = (
    """
    CREATE FUNCTION lab_results_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$
    """,
    # The PDF is filled in once, after the release; everything else of a version is final.
    """
    CREATE TRIGGER lab_report_version_frozen BEFORE UPDATE ON lab_report_version FOR EACH ROW
    WHEN (OLD.pdf IS NOT NULL OR to_jsonb(OLD) - 'pdf' - 'pdf_sha256' <> to_jsonb(NEW) - 'pdf' - 'pdf_sha256')
    EXECUTE FUNCTION lab_results_refuse_change()
    """,
    """
    CREATE TRIGGER lab_report_version_kept BEFORE DELETE ON lab_report_version FOR EACH ROW
    EXECUTE FUNCTION lab_results_refuse_change()
    """,
    """
    CREATE TRIGGER lab_critical_contact_kept BEFORE UPDATE OR DELETE ON lab_critical_contact FOR EACH ROW
    EXECUTE FUNCTION lab_results_refuse_change()
    """,
)


def upgrade() -> None:
    op.create_table(
        "lab_disclosure_policy",
        sa.Column("critical_after_minutes", sa.Integer(), nullable=True),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_disclosure_policy")),
    )
    op.create_table(
        "lab_ingested_message",
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("outcome", postgresql.JSONB(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("inbox_id", name=op.f("pk_lab_ingested_message")),
    )
    op.create_table(
        "lab_review_policy",
        sa.Column("section", sa.String(), nullable=False),
        sa.Column("two_persons", sa.Boolean(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_review_policy")),
    )
    op.create_table(
        "lab_instrument_notice",
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("link", sa.String(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("specimen", sa.String(), nullable=True),
        sa.Column("specimen_id", sa.Uuid(), nullable=True),
        sa.Column("value", sa.String(), nullable=True),
        sa.Column("flags", postgresql.JSONB(), nullable=False),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("item", postgresql.JSONB(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["lab_instrument.id"], name=op.f("fk_lab_instrument_notice_instrument_id")
        ),
        sa.ForeignKeyConstraint(
            ["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_instrument_notice_specimen_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_instrument_notice")),
        sa.UniqueConstraint("inbox_id", "ordinal", name=op.f("uq_lab_instrument_notice_inbox_id_ordinal")),
    )
    op.create_index(
        op.f("ix_lab_instrument_notice_received_at"), "lab_instrument_notice", ["received_at"], unique=False
    )
    op.create_index(
        op.f("ix_lab_instrument_notice_specimen_id"), "lab_instrument_notice", ["specimen_id"], unique=False
    )
    op.create_table(
        "lab_qc_result",
        sa.Column("instrument_id", sa.Uuid(), nullable=True),
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("link", sa.String(), nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=True),
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("material", sa.String(), nullable=True),
        sa.Column("level", sa.String(), nullable=True),
        sa.Column("lot", sa.String(), nullable=True),
        sa.Column("specimen", sa.String(), nullable=True),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=True),
        sa.Column("number", sa.Numeric(), nullable=True),
        sa.Column("comparator", sa.String(), nullable=True),
        sa.Column("unit", sa.String(), nullable=True),
        sa.Column("flags", postgresql.JSONB(), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("observed_at_raw", sa.String(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["instrument_id"], ["lab_instrument.id"], name=op.f("fk_lab_qc_result_instrument_id")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_qc_result_test_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_qc_result")),
        sa.UniqueConstraint("inbox_id", "ordinal", name=op.f("uq_lab_qc_result_inbox_id_ordinal")),
    )
    op.create_index(
        "ix_lab_qc_result_instrument_id_code_received_at",
        "lab_qc_result",
        ["instrument_id", "code", "received_at"],
        unique=False,
    )
    op.create_index(op.f("ix_lab_qc_result_received_at"), "lab_qc_result", ["received_at"], unique=False)
    op.create_table(
        "lab_critical_case",
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("report_version", sa.Integer(), nullable=False),
        sa.Column("values", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_by", sa.Uuid(), nullable=False),
        sa.Column("confirmed_by_name", sa.String(), nullable=False),
        sa.Column("read_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_lab_critical_case_department_id")),
        sa.ForeignKeyConstraint(["order_id"], ["lab_order.id"], name=op.f("fk_lab_critical_case_order_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_lab_critical_case_person_id")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_critical_case_specimen_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_critical_case")),
        sa.UniqueConstraint(
            "specimen_id", "report_version", name=op.f("uq_lab_critical_case_specimen_id_report_version")
        ),
    )
    op.create_index(
        "ix_lab_critical_case_open",
        "lab_critical_case",
        ["detected_at"],
        unique=False,
        postgresql_where=sa.text("state NOT IN ('read_back', 'cancelled')"),
    )
    op.create_table(
        "lab_report",
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("campus_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("contains_critical", sa.Boolean(), nullable=False),
        sa.Column("sensitive", sa.Boolean(), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disclosed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disclosed_by", sa.String(), nullable=True),
        sa.Column("recalled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recalled_reason", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["campus_id"], ["campus.id"], name=op.f("fk_lab_report_campus_id")),
        sa.ForeignKeyConstraint(["order_id"], ["lab_order.id"], name=op.f("fk_lab_report_order_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_lab_report_person_id")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_report_specimen_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_report")),
        sa.UniqueConstraint("specimen_id", name=op.f("uq_lab_report_specimen_id")),
    )
    op.create_index(op.f("ix_lab_report_order_id"), "lab_report", ["order_id"], unique=False)
    op.create_index("ix_lab_report_person_id_released_at", "lab_report", ["person_id", "released_at"], unique=False)
    op.create_table(
        "lab_result",
        sa.Column("order_item_id", sa.Uuid(), nullable=False),
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("test_id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=True),
        sa.Column("inbox_id", sa.Uuid(), nullable=True),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("channel_code", sa.String(), nullable=True),
        sa.Column("raw_value", sa.String(), nullable=True),
        sa.Column("raw_unit", sa.String(), nullable=True),
        sa.Column("value_text", sa.String(), nullable=False),
        sa.Column("number", sa.Numeric(), nullable=True),
        sa.Column("comparator", sa.String(length=2), nullable=True),
        sa.Column("unit", sa.String(), nullable=True),
        sa.Column("flag", sa.String(length=2), nullable=False),
        sa.Column("critical", sa.Boolean(), nullable=False),
        sa.Column("sensitive", sa.Boolean(), nullable=False),
        sa.Column("draft", sa.Boolean(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("range_id", sa.Uuid(), nullable=True),
        sa.Column("range_low", sa.Numeric(), nullable=True),
        sa.Column("range_high", sa.Numeric(), nullable=True),
        sa.Column("range_text", sa.String(), nullable=True),
        sa.Column("decision", postgresql.JSONB(), nullable=False),
        sa.Column("previous_result_id", sa.Uuid(), nullable=True),
        sa.Column("previous_value", sa.String(), nullable=True),
        sa.Column("previous_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delta_percent", sa.Numeric(), nullable=True),
        sa.Column("instrument_flags", postgresql.JSONB(), nullable=False),
        sa.Column("comments", postgresql.JSONB(), nullable=False),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("instrument_run", sa.Integer(), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("observed_at_raw", sa.String(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("chosen", sa.Boolean(), nullable=False),
        sa.Column("after_release", sa.Boolean(), nullable=False),
        sa.Column("rerun_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("entered_by", sa.Uuid(), nullable=True),
        sa.Column("reviewed_by", sa.Uuid(), nullable=True),
        sa.Column("reviewed_by_name", sa.String(), nullable=True),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.Uuid(), nullable=True),
        sa.Column("released_by_name", sa.String(), nullable=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["instrument_id"], ["lab_instrument.id"], name=op.f("fk_lab_result_instrument_id")),
        sa.ForeignKeyConstraint(["order_item_id"], ["lab_order_item.id"], name=op.f("fk_lab_result_order_item_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_lab_result_person_id")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_result_specimen_id")),
        sa.ForeignKeyConstraint(["test_id"], ["lab_test.id"], name=op.f("fk_lab_result_test_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_result")),
        sa.UniqueConstraint("inbox_id", "ordinal", name=op.f("uq_lab_result_inbox_id_ordinal")),
    )
    op.create_index(
        "ix_lab_result_history",
        "lab_result",
        ["person_id", "test_id", "received_at"],
        unique=False,
        postgresql_where=sa.text("chosen AND state = 'released'"),
    )
    op.create_index(
        "ix_lab_result_open",
        "lab_result",
        ["specimen_id"],
        unique=False,
        postgresql_where=sa.text("chosen AND NOT after_release AND state IN ('received', 'reviewed')"),
    )
    op.create_index(op.f("ix_lab_result_order_item_id"), "lab_result", ["order_item_id"], unique=False)
    op.create_index(op.f("ix_lab_result_specimen_id"), "lab_result", ["specimen_id"], unique=False)
    op.create_index(
        "uq_lab_result_chosen", "lab_result", ["order_item_id"], unique=True, postgresql_where=sa.text("chosen")
    )
    op.create_table(
        "lab_result_attachment",
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_result_attachment_specimen_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_result_attachment")),
    )
    op.create_index(
        op.f("ix_lab_result_attachment_specimen_id"), "lab_result_attachment", ["specimen_id"], unique=False
    )
    op.create_table(
        "lab_result_sheet",
        sa.Column("specimen_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("comment", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_result_sheet_specimen_id")),
        sa.PrimaryKeyConstraint("specimen_id", name=op.f("pk_lab_result_sheet")),
    )
    op.create_table(
        "lab_critical_contact",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Uuid(), nullable=False),
        sa.Column("by_name", sa.String(), nullable=False),
        sa.Column("told", sa.String(), nullable=False),
        sa.Column("telephone", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(length=12), nullable=False),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["lab_critical_case.id"], name=op.f("fk_lab_critical_contact_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_critical_contact")),
    )
    op.create_index(op.f("ix_lab_critical_contact_case_id"), "lab_critical_contact", ["case_id"], unique=False)
    op.create_table(
        "lab_report_version",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("draft", sa.Boolean(), nullable=False),
        sa.Column("contains_critical", sa.Boolean(), nullable=False),
        sa.Column("sensitive", sa.Boolean(), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_by", sa.Uuid(), nullable=False),
        sa.Column("released_by_name", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("pdf", sa.LargeBinary(), nullable=True),
        sa.Column("pdf_sha256", sa.String(length=64), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["lab_report.id"], name=op.f("fk_lab_report_version_report_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_report_version")),
        sa.UniqueConstraint("report_id", "version", name=op.f("uq_lab_report_version_report_id_version")),
    )
    op.create_table(
        "lab_result_resend",
        sa.Column("result_id", sa.Uuid(), nullable=False),
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["result_id"], ["lab_result.id"], name=op.f("fk_lab_result_resend_result_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_result_resend")),
        sa.UniqueConstraint("inbox_id", "ordinal", name=op.f("uq_lab_result_resend_inbox_id_ordinal")),
    )
    op.create_index(op.f("ix_lab_result_resend_result_id"), "lab_result_resend", ["result_id"], unique=False)
    op.create_table(
        "lab_unmatched_result",
        sa.Column("inbox_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("gateway", sa.String(), nullable=False),
        sa.Column("link", sa.String(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=True),
        sa.Column("specimen_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.String(length=20), nullable=False),
        sa.Column("specimen", sa.String(), nullable=True),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=True),
        sa.Column("unit", sa.String(), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("item", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("result_id", sa.Uuid(), nullable=True),
        sa.Column("handled_by", sa.Uuid(), nullable=True),
        sa.Column("handled_by_name", sa.String(), nullable=True),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("handled_reason", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["instrument_id"], ["lab_instrument.id"], name=op.f("fk_lab_unmatched_result_instrument_id")
        ),
        sa.ForeignKeyConstraint(["result_id"], ["lab_result.id"], name=op.f("fk_lab_unmatched_result_result_id")),
        sa.ForeignKeyConstraint(["specimen_id"], ["lab_specimen.id"], name=op.f("fk_lab_unmatched_result_specimen_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_unmatched_result")),
        sa.UniqueConstraint("inbox_id", "ordinal", name=op.f("uq_lab_unmatched_result_inbox_id_ordinal")),
    )
    op.create_index(op.f("ix_lab_unmatched_result_specimen_id"), "lab_unmatched_result", ["specimen_id"], unique=False)
    op.create_index(
        "ix_lab_unmatched_result_waiting",
        "lab_unmatched_result",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )

    for statement in FROZEN:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("lab_unmatched_result")
    op.drop_table("lab_result_resend")
    op.drop_table("lab_report_version")
    op.drop_table("lab_critical_contact")
    op.drop_table("lab_result_sheet")
    op.drop_table("lab_result_attachment")
    op.drop_table("lab_result")
    op.drop_table("lab_report")
    op.drop_table("lab_critical_case")
    op.drop_table("lab_qc_result")
    op.drop_table("lab_instrument_notice")
    op.drop_table("lab_review_policy")
    op.drop_table("lab_ingested_message")
    op.drop_table("lab_disclosure_policy")
    op.execute("DROP FUNCTION lab_results_refuse_change()")
