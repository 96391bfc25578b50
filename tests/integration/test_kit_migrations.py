"""The schema that migrations make is the schema that the code means; up, down, and by two processes at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, NullPool, create_engine, inspect, text

from cloud.app import load_slices
from cloud.kit import migrate
from cloud.kit.db import Base

pytestmark = pytest.mark.req("OPS-1")


def _ours(name: str | None) -> bool:
    return name is not None and not name.startswith("procrastinate_") and name != "alembic_version"


def _engine(url: str) -> Engine:
    return create_engine(url, poolclass=NullPool)


def test_the_migrated_schema_equals_the_tables_in_the_code(database: str) -> None:
    load_slices()
    with _engine(database).connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, parents: kind != "table" or _ours(name),
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_every_migration_goes_down_again_and_leaves_nothing(empty_database: str) -> None:
    migrate.upgrade(empty_database)
    migrate.downgrade(empty_database, "base")
    engine = _engine(empty_database)
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    leftovers = (
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace"
        " AND typname NOT LIKE '%alembic_version'"
        " UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'"
    )
    with engine.connect() as connection:
        assert connection.execute(text(leftovers)).all() == []
    migrate.upgrade(empty_database)


def test_migrations_stand_in_one_line(empty_database: str) -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(migrate.configuration(empty_database))
    revisions = [each.revision for each in script.walk_revisions()][::-1]
    assert revisions == [f"{number:04d}" for number in range(1, len(revisions) + 1)]


def test_two_processes_that_migrate_at_once_do_it_once(empty_database: str) -> None:
    processes = [subprocess.Popen([sys.executable, "-m", "cloud", "migrate"]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    with _engine(empty_database).connect() as connection:
        assert migrate.current(connection) == migrate.head()
