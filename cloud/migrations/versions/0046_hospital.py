"""hospital: what departments say of themselves, doctors, clinic sessions, the weekly timetable, holidays, settings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision: str | None = "0045"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
TEXTS = ("section", "introduction", "place", "floor")


def _half_checks(table: str) -> list[sa.CheckConstraint]:
    def check(name: str, rule: str) -> sa.CheckConstraint:
        return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))

    return [
        check("half", "half IN ('morning', 'afternoon', 'evening')"),
        check("kind", "kind IN ('expert', 'general')"),
        check("segment", "segment_minutes BETWEEN 5 AND 480"),
        check("fee", "fee_fen >= 0"),
        check("expert", "kind = 'general' OR doctor_id IS NOT NULL"),
    ]


def upgrade() -> None:
    for name in TEXTS:
        op.add_column("department", sa.Column(name, sa.String(), nullable=False, server_default=""))
        op.alter_column("department", name, server_default=None)
    op.add_column("department", sa.Column("bookable", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.alter_column("department", "bookable", server_default=None)
    _doctor()
    _clinic_session()
    _session_pattern()
    op.create_table(
        "holiday",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("works_as", sa.Integer(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.CheckConstraint("works_as BETWEEN 1 AND 7", name=op.f("ck_holiday_works_as")),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_holiday")),
    )
    halves = [f"{half}_{end}" for half in ("morning", "afternoon", "evening") for end in ("starts", "ends")]
    fees = [f"fee_{each}" for each in ("chief", "associate", "attending", "resident", "general")]
    op.create_table(
        "clinic_settings",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("horizon_days", sa.Integer(), nullable=False),
        sa.Column("release_days", sa.Integer(), nullable=False),
        sa.Column("release_time", sa.Time(), nullable=False),
        *(sa.Column(name, sa.Time(), nullable=False) for name in halves),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in fees),
        sa.CheckConstraint("id = 1", name=op.f("ck_clinic_settings_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clinic_settings")),
    )
    op.create_table(
        "department_release",
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("release_days", sa.Integer(), nullable=False),
        sa.Column("release_time", sa.Time(), nullable=False),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_department_release_department_id")),
        sa.PrimaryKeyConstraint("department_id", name=op.f("pk_department_release")),
    )


def _doctor() -> None:
    op.create_table(
        "doctor",
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("introduction", sa.String(), nullable=False),
        sa.Column("skills", sa.String(), nullable=False),
        sa.Column("photo", sa.LargeBinary(), nullable=True),
        sa.Column("photo_type", sa.String(), nullable=False),
        sa.Column("photo_tag", sa.String(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("title IN ('chief', 'associate', 'attending', 'resident')", name=op.f("ck_doctor_title")),
        sa.CheckConstraint("(photo IS NULL) = (photo_type = '')", name=op.f("ck_doctor_photo")),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_doctor_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_doctor")),
        sa.UniqueConstraint("code", name=op.f("uq_doctor_code")),
    )
    op.create_index("ix_doctor_department_id", "doctor", ["department_id"])


def _clinic_session() -> None:
    table = "clinic_session"
    op.create_table(
        table,
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("doctor_id", sa.Uuid(), nullable=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("half", sa.String(), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("fee_fen", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("segment_minutes", sa.Integer(), nullable=False),
        sa.Column("release_at", MOMENT, nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("substitute_id", sa.Uuid(), nullable=True),
        sa.Column("substituted_why", sa.String(), nullable=True),
        sa.Column("stopped_why", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        *_half_checks(table),
        sa.CheckConstraint("owner IN ('ours', 'his')", name=op.f("ck_clinic_session_owner")),
        sa.CheckConstraint("state IN ('open', 'stopped', 'closed')", name=op.f("ck_clinic_session_state")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_clinic_session_times")),
        sa.CheckConstraint("capacity BETWEEN 0 AND 500", name=op.f("ck_clinic_session_capacity")),
        sa.CheckConstraint("substitute_id IS NULL OR doctor_id IS NOT NULL", name=op.f("ck_clinic_session_substitute")),
        sa.CheckConstraint("(state = 'stopped') = (stopped_why IS NOT NULL)", name=op.f("ck_clinic_session_stopped")),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_clinic_session_department_id")),
        sa.ForeignKeyConstraint(["doctor_id"], ["doctor.id"], name=op.f("fk_clinic_session_doctor_id")),
        sa.ForeignKeyConstraint(["substitute_id"], ["doctor.id"], name=op.f("fk_clinic_session_substitute_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clinic_session")),
        sa.UniqueConstraint("code", name=op.f("uq_clinic_session_code")),
    )
    op.create_index("ix_clinic_session_department_day", table, ["department_id", "day"])
    op.create_index("ix_clinic_session_doctor_day", table, ["doctor_id", "day"])
    op.create_index(
        "ix_clinic_session_substitute_day",
        table,
        ["substitute_id", "day"],
        postgresql_where=sa.text("substitute_id IS NOT NULL"),
    )
    op.create_index("ix_clinic_session_day", table, ["day"])


def _session_pattern() -> None:
    table = "session_pattern"
    op.create_table(
        table,
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("doctor_id", sa.Uuid(), nullable=True),
        sa.Column("weekday", sa.Integer(), nullable=False),
        sa.Column("weeks", sa.String(), nullable=False),
        sa.Column("half", sa.String(), nullable=False),
        sa.Column("starts", sa.Time(), nullable=False),
        sa.Column("ends", sa.Time(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("fee_fen", sa.Integer(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("segment_minutes", sa.Integer(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        *_half_checks(table),
        sa.CheckConstraint("weekday BETWEEN 1 AND 7", name=op.f("ck_session_pattern_weekday")),
        sa.CheckConstraint("weeks IN ('every', 'odd', 'even')", name=op.f("ck_session_pattern_weeks")),
        sa.CheckConstraint("starts < ends", name=op.f("ck_session_pattern_times")),
        sa.CheckConstraint("capacity BETWEEN 1 AND 500", name=op.f("ck_session_pattern_capacity")),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_session_pattern_department_id")),
        sa.ForeignKeyConstraint(["doctor_id"], ["doctor.id"], name=op.f("fk_session_pattern_doctor_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_pattern")),
    )
    op.create_index("ix_session_pattern_department_id", table, ["department_id"])
    op.create_index("ix_session_pattern_doctor_id", table, ["doctor_id"])


def downgrade() -> None:
    for name in ("department_release", "clinic_settings", "holiday", "session_pattern", "clinic_session", "doctor"):
        op.drop_table(name)
    for name in (*TEXTS, "bookable"):
        op.drop_column("department", name)
