"""registration: numbers of clinic sessions, bookings, the waiting list, blocks and what the hospital has settled."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision: str | None = "0048"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("CREATE SEQUENCE booking_number_seq")
    op.create_table(
        "registration_settings",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hold_s", sa.Integer(), nullable=False),
        sa.Column("open_per_person", sa.Integer(), nullable=False),
        sa.Column("per_department_day", sa.Integer(), nullable=False),
        sa.Column("per_doctor_day", sa.Integer(), nullable=False),
        sa.Column("per_day", sa.Integer(), nullable=False),
        sa.Column("per_month", sa.Integer(), nullable=False),
        sa.Column("cancel_before_minutes", sa.Integer(), nullable=False),
        sa.Column("return_min_minutes", sa.Integer(), nullable=False),
        sa.Column("return_max_minutes", sa.Integer(), nullable=False),
        sa.Column("offer_minutes", sa.Integer(), nullable=False),
        sa.Column("waiting_per_session", sa.Integer(), nullable=False),
        sa.Column("marks_no_shows", sa.Boolean(), nullable=False),
        sa.Column("no_shows", sa.Integer(), nullable=False),
        sa.Column("no_show_days", sa.Integer(), nullable=False),
        sa.Column("blocked_days", sa.Integer(), nullable=False),
        sa.Column("remind_at", sa.Time(), nullable=False),
        sa.Column("choose_hours", sa.Integer(), nullable=False),
        sa.CheckConstraint("hold_s > 0 AND offer_minutes > 0", name=op.f("ck_registration_settings_times")),
        sa.CheckConstraint("id = 1", name=op.f("ck_registration_settings_one")),
        sa.CheckConstraint(
            "return_min_minutes BETWEEN 0 AND return_max_minutes", name=op.f("ck_registration_settings_returned")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registration_settings")),
    )
    op.create_table(
        "clinic_number",
        sa.Column("clinic_session_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("from_at", MOMENT, nullable=False),
        sa.Column("to_at", MOMENT, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("free_from", MOMENT, nullable=True),
        sa.Column("hold_until", MOMENT, nullable=True),
        sa.Column("booking_id", sa.Uuid(), nullable=True),
        sa.Column("waiting_id", sa.Uuid(), nullable=True),
        sa.Column("blocked_why", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "(state IN ('sold', 'used', 'no_show')) <= (booking_id IS NOT NULL)", name=op.f("ck_clinic_number_booking")
        ),
        sa.CheckConstraint(
            "state <> 'held' OR (booking_id IS NULL) <> (waiting_id IS NULL)", name=op.f("ck_clinic_number_held")
        ),
        sa.CheckConstraint(
            "state IN ('free', 'held', 'sold', 'used', 'no_show', 'blocked', 'stopped')",
            name=op.f("ck_clinic_number_state"),
        ),
        sa.CheckConstraint(
            "state IN ('held', 'sold', 'used', 'no_show') OR (booking_id IS NULL AND waiting_id IS NULL)",
            name=op.f("ck_clinic_number_free"),
        ),
        sa.ForeignKeyConstraint(
            ["clinic_session_id"], ["clinic_session.id"], name=op.f("fk_clinic_number_clinic_session_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clinic_number")),
        sa.UniqueConstraint("clinic_session_id", "seq", name="uq_clinic_number_session_seq"),
    )
    op.create_index(
        "ix_clinic_number_free",
        "clinic_number",
        ["clinic_session_id", "seq"],
        unique=False,
        postgresql_where=sa.text("state = 'free'"),
    )
    op.create_index(
        "uq_clinic_number_booking",
        "clinic_number",
        ["booking_id"],
        unique=True,
        postgresql_where=sa.text("booking_id IS NOT NULL"),
    )
    op.create_index(
        "uq_clinic_number_waiting",
        "clinic_number",
        ["waiting_id"],
        unique=True,
        postgresql_where=sa.text("waiting_id IS NOT NULL"),
    )
    op.create_table(
        "booking",
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("clinic_session_id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("doctor_id", sa.Uuid(), nullable=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("number_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("from_at", MOMENT, nullable=False),
        sa.Column("to_at", MOMENT, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("fee_fen", sa.BigInteger(), nullable=False),
        sa.Column("hold_until", MOMENT, nullable=False),
        sa.Column("takes_another", sa.Boolean(), nullable=False),
        sa.Column("payment_id", sa.Uuid(), nullable=True),
        sa.Column("confirmed_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ended_why", sa.String(), nullable=True),
        sa.Column("arrived_at", MOMENT, nullable=True),
        sa.Column("reminded_at", MOMENT, nullable=True),
        sa.Column("free_to_cancel", sa.Boolean(), nullable=False),
        sa.Column("choose_until", MOMENT, nullable=True),
        sa.Column("rebooked_to", sa.Uuid(), nullable=True),
        sa.Column("rebooked_from", sa.Uuid(), nullable=True),
        sa.Column("invoice_number", sa.String(), nullable=True),
        sa.Column("invoiced_at", MOMENT, nullable=True),
        sa.Column("invoiced_by", sa.String(), nullable=True),
        sa.Column("at_his", sa.String(), nullable=False),
        sa.Column("his_key", sa.String(), nullable=True),
        sa.Column("his_reference", sa.String(), nullable=True),
        sa.Column("his_ask_at", MOMENT, nullable=True),
        sa.Column("his_asked", sa.Integer(), nullable=False),
        sa.Column("his_error", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "at_his IN ('ours', 'lock', 'locked', 'confirm', 'confirmed', 'release', 'released', 'refused')",
            name=op.f("ck_booking_at_his"),
        ),
        sa.CheckConstraint(
            "state IN ('held', 'paying', 'confirming', 'confirmed', 'cancelling', 'cancelled', 'expired', "
            "'used', 'no_show', 'stopped')",
            name=op.f("ck_booking_state"),
        ),
        sa.CheckConstraint("(invoice_number IS NULL) = (invoiced_at IS NULL)", name=op.f("ck_booking_invoice")),
        sa.CheckConstraint("fee_fen >= 0", name=op.f("ck_booking_fee")),
        sa.ForeignKeyConstraint(["account_id"], ["patient_account.id"], name=op.f("fk_booking_account_id")),
        sa.ForeignKeyConstraint(
            ["clinic_session_id"], ["clinic_session.id"], name=op.f("fk_booking_clinic_session_id")
        ),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_booking_department_id")),
        sa.ForeignKeyConstraint(["doctor_id"], ["doctor.id"], name=op.f("fk_booking_doctor_id")),
        sa.ForeignKeyConstraint(["number_id"], ["clinic_number.id"], name=op.f("fk_booking_number_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_booking_payment_id")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_booking_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_booking")),
        sa.UniqueConstraint("his_key", name=op.f("uq_booking_his_key")),
        sa.UniqueConstraint("key", name=op.f("uq_booking_key")),
        sa.UniqueConstraint("number", name=op.f("uq_booking_number")),
    )
    op.create_index("ix_booking_account_id", "booking", ["account_id", "created_at"], unique=False)
    op.create_index("ix_booking_department_day", "booking", ["department_id", "day"], unique=False)
    op.create_index(
        "ix_booking_held", "booking", ["hold_until"], unique=False, postgresql_where=sa.text("state = 'held'")
    )
    op.create_index(
        "ix_booking_his_ask_at",
        "booking",
        ["his_ask_at"],
        unique=False,
        postgresql_where=sa.text("his_ask_at IS NOT NULL"),
    )
    op.create_index(
        "ix_booking_payment_id",
        "booking",
        ["payment_id"],
        unique=False,
        postgresql_where=sa.text("payment_id IS NOT NULL"),
    )
    op.create_index("ix_booking_person_day", "booking", ["person_id", "day"], unique=False)
    op.create_index("ix_booking_session_state", "booking", ["clinic_session_id", "state"], unique=False)
    op.create_index(
        "uq_booking_person_session",
        "booking",
        ["person_id", "clinic_session_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('held', 'paying', 'confirming', 'confirmed')"),
    )
    op.create_table(
        "booking_waiting",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("clinic_session_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("offered_at", MOMENT, nullable=True),
        sa.Column("offer_until", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("(state = 'offered') <= (offer_until IS NOT NULL)", name=op.f("ck_booking_waiting_offer")),
        sa.CheckConstraint(
            "state IN ('waiting', 'offered', 'taken', 'passed', 'withdrawn', 'over')",
            name=op.f("ck_booking_waiting_state"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["patient_account.id"], name=op.f("fk_booking_waiting_account_id")),
        sa.ForeignKeyConstraint(
            ["clinic_session_id"], ["clinic_session.id"], name=op.f("fk_booking_waiting_clinic_session_id")
        ),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_booking_waiting_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_booking_waiting")),
    )
    op.create_index("ix_booking_waiting_account", "booking_waiting", ["account_id", "created_at"], unique=False)
    op.create_index(
        "ix_booking_waiting_line",
        "booking_waiting",
        ["clinic_session_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_booking_waiting_offer",
        "booking_waiting",
        ["offer_until"],
        unique=False,
        postgresql_where=sa.text("state = 'offered'"),
    )
    op.create_index(
        "uq_booking_waiting_live",
        "booking_waiting",
        ["person_id", "clinic_session_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('waiting', 'offered')"),
    )
    op.create_table(
        "booking_block",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("lifted_at", MOMENT, nullable=True),
        sa.Column("lifted_by", sa.String(), nullable=True),
        sa.Column("lifted_why", sa.String(), nullable=True),
        sa.Column("appeal", sa.String(), nullable=True),
        sa.Column("appealed_at", MOMENT, nullable=True),
        sa.Column("appeal_state", sa.String(), nullable=True),
        sa.Column("appeal_answer", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("appeal_state IN ('open', 'granted', 'refused')", name=op.f("ck_booking_block_appeal")),
        sa.CheckConstraint("cause IN ('no_shows', 'staff')", name=op.f("ck_booking_block_cause")),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_booking_block_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_booking_block")),
    )
    op.create_index(
        "ix_booking_block_appeal",
        "booking_block",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("appeal_state = 'open'"),
    )
    op.create_index("ix_booking_block_person", "booking_block", ["person_id", "until"], unique=False)


def downgrade() -> None:
    for name in ("booking_block", "booking_waiting", "booking", "clinic_number", "registration_settings"):
        op.drop_table(name)
    op.execute("DROP SEQUENCE booking_number_seq")
