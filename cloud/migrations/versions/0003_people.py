"""hospital and people: campuses, departments, persons, their versions and links, and who may see them."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "campus",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.UniqueConstraint("code", name="uq_campus_code"),
    )
    op.create_table(
        "department",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("campus_id", sa.Uuid(), sa.ForeignKey("campus.id", name="fk_department_campus_id"), nullable=False),
        sa.UniqueConstraint("code", name="uq_department_code"),
        sa.CheckConstraint(
            "kind IN ('clinical', 'laboratory', 'executing', 'administrative')", name=op.f("ck_department_kind")
        ),
    )
    _create_persons()
    _create_links_and_grants()


def _create_persons() -> None:
    op.create_table(
        "person",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sex", sa.String(), nullable=False),
        sa.Column("birth_date", sa.Date()),
        sa.Column("phone", sa.LargeBinary()),
        sa.Column("phone_index", sa.String()),
        sa.Column("id_number", sa.LargeBinary()),
        sa.Column("id_number_index", sa.String()),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("mother_id", sa.Uuid(), sa.ForeignKey("person.id", name="fk_person_mother_id")),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("sex IN ('M', 'F', 'U')", name=op.f("ck_person_sex")),
        sa.CheckConstraint("kind IN ('identified', 'unknown', 'newborn')", name=op.f("ck_person_kind")),
        sa.CheckConstraint("status IN ('active', 'merged')", name=op.f("ck_person_status")),
    )
    op.create_index("ix_person_phone_index", "person", ["phone_index"])
    op.create_index("ix_person_id_number_index", "person", ["id_number_index"])
    op.create_table(
        "person_identifier",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("created_at", MOMENT, nullable=False),
        _person("person_identifier", "person_id"),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.UniqueConstraint("system", "value", name="uq_person_identifier_system_value"),
    )
    op.create_index("ix_person_identifier_person_id", "person_identifier", ["person_id"])
    op.create_table(
        "person_version",
        sa.Column("id", sa.Uuid(), primary_key=True),
        _person("person_version", "person_id"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("details", sa.LargeBinary(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.UniqueConstraint("person_id", "version", name="uq_person_version_person_id_version"),
    )


def _create_links_and_grants() -> None:
    op.create_table(
        "person_link",
        sa.Column("id", sa.Uuid(), primary_key=True),
        _person("person_link", "retired_id"),
        _person("person_link", "surviving_id"),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("linked_at", MOMENT, nullable=False),
        sa.Column("unlinked_at", MOMENT),
        sa.Column("unlinked_by", sa.String()),
        sa.Column("unlink_reason", sa.String()),
        sa.CheckConstraint("retired_id <> surviving_id", name=op.f("ck_person_link_two_persons")),
    )
    live = sa.text("unlinked_at IS NULL")
    op.create_index("uq_person_link_retired_id_live", "person_link", ["retired_id"], unique=True, postgresql_where=live)
    op.create_index("ix_person_link_surviving_id_live", "person_link", ["surviving_id"], postgresql_where=live)
    op.create_table(
        "person_grant",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        _person("person_grant", "person_id"),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("granted_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("suspended_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.Column("why", sa.String()),
        sa.CheckConstraint(
            "scope IN ('book', 'pay', 'visit', 'order', 'report', 'inpatient', 'checkup')",
            name=op.f("ck_person_grant_scope"),
        ),
        sa.CheckConstraint("state IN ('active', 'suspended', 'ended')", name=op.f("ck_person_grant_state")),
    )
    op.create_index(
        "uq_person_grant_live",
        "person_grant",
        ["account_id", "person_id", "scope"],
        unique=True,
        postgresql_where=sa.text("state <> 'ended'"),
    )
    op.create_index("ix_person_grant_person_id_scope", "person_grant", ["person_id", "scope"])


def _person(table: str, column: str) -> sa.Column[uuid.UUID]:
    return sa.Column(column, sa.Uuid(), sa.ForeignKey("person.id", name=f"fk_{table}_{column}"), nullable=False)


def downgrade() -> None:
    for table in (
        "person_grant",
        "person_link",
        "person_version",
        "person_identifier",
        "person",
        "department",
        "campus",
    ):
        op.drop_table(table)
