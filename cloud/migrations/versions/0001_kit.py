"""kit: stored events, durable jobs (procrastinate's own schema), the audit trail."""

from __future__ import annotations

from importlib import metadata

import sqlalchemy as sa
from alembic import op
from procrastinate.schema import SchemaManager
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None

APPEND_ONLY = """
CREATE FUNCTION audit_entry_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries are never changed or deleted';
END;
$$
"""

DROP_JOBS = """
DO $$
DECLARE each record;
BEGIN
    FOR each IN SELECT tablename FROM pg_tables
        WHERE schemaname = current_schema() AND tablename LIKE 'procrastinate\\_%'
    LOOP EXECUTE format('DROP TABLE %I CASCADE', each.tablename); END LOOP;
    FOR each IN SELECT p.oid::regprocedure AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = current_schema() AND p.proname LIKE 'procrastinate\\_%'
    LOOP EXECUTE format('DROP FUNCTION %s CASCADE', each.name); END LOOP;
    FOR each IN SELECT t.typname AS name FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = current_schema() AND t.typname LIKE 'procrastinate\\_%'
    LOOP EXECUTE format('DROP TYPE %I CASCADE', each.name); END LOOP;
END;
$$
"""


def upgrade() -> None:
    _create_events()
    _create_jobs()
    _create_audit()


def _create_events() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("aggregate_id", sa.Uuid(), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
    )
    op.create_index("ix_event_type_occurred_at", "event", ["type", "occurred_at"])
    op.create_index("ix_event_aggregate_id", "event", ["aggregate_id"])


def _create_jobs() -> None:
    """The schema of the installed procrastinate, with its version noted: a later release migrates from there."""
    connection = op.get_bind()
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("the connection was lost in the middle of the migration")
    driver.execute(SchemaManager.get_schema())  # not through SQLAlchemy: its text holds percent signs
    version = metadata.version("procrastinate")
    connection.exec_driver_sql(f"COMMENT ON TABLE procrastinate_jobs IS 'procrastinate {version}'")


def _create_audit() -> None:
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("aggregate_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entry"),
        sa.UniqueConstraint("kind", "aggregate_id", "number", name="uq_audit_entry_kind_aggregate_id_number"),
    )
    op.create_index("ix_audit_entry_at", "audit_entry", ["at"])
    op.create_index("ix_audit_entry_actor", "audit_entry", ["actor"])
    op.execute(APPEND_ONLY)
    op.execute(
        "CREATE TRIGGER audit_entry_append_only BEFORE UPDATE OR DELETE ON audit_entry"
        " FOR EACH ROW EXECUTE FUNCTION audit_entry_is_append_only()"
    )
    op.execute(
        "CREATE TRIGGER audit_entry_no_truncate BEFORE TRUNCATE ON audit_entry"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_is_append_only()"
    )
    op.create_table(
        "audit_chain",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("aggregate_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_number", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("kind", "aggregate_id", name="pk_audit_chain"),
    )
    op.create_index(
        "ix_audit_chain_unsealed", "audit_chain", ["kind"], postgresql_where=sa.text("number > sealed_number")
    )
    _create_seals()


def _create_seals() -> None:
    op.create_table(
        "audit_seal",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_audit_seal"),
    )
    op.create_table(
        "audit_seal_head",
        sa.Column("seal_number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("aggregate_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seal_number", "kind", "aggregate_id", name="pk_audit_seal_head"),
        sa.ForeignKeyConstraint(["seal_number"], ["audit_seal.number"], name="fk_audit_seal_head_seal_number"),
    )


def downgrade() -> None:
    for table in ("audit_seal_head", "audit_seal", "audit_chain", "audit_entry"):
        op.drop_table(table)
    op.execute("DROP FUNCTION audit_entry_is_append_only()")
    op.execute(DROP_JOBS)
    op.drop_table("event")
