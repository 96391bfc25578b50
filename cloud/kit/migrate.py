"""Bring a database to the newest schema (or back); used by the command, the demo, the tests and `/healthz`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import cloud


def configuration(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(cloud.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = database_url
    return config


def upgrade(database_url: str, revision: str = "head") -> None:
    """Apply what is missing, under a lock: two processes that do so at once do it once."""
    command.upgrade(configuration(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    command.downgrade(configuration(database_url), revision)


def head() -> str:
    """The newest revision that this code knows."""
    found = ScriptDirectory.from_config(configuration("")).get_current_head()
    if found is None:
        raise LookupError("no migrations are shipped with this program")
    return found


def current(connection: Connection) -> str | None:
    """The revision of the database behind `connection`."""
    return MigrationContext.configure(connection).get_current_revision()
