"""PostgreSQL for tests: one server, two templates (migrated; with the starting catalogue), a clone for each test.

The server's files lie in memory where there is room for them: a clone is a thousand small files.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

_ROOT = Path(__file__).resolve().parents[2]
_MIGRATIONS = _ROOT / "cloud" / "migrations" / "versions"
_CATALOG = _ROOT / "cloud" / "lis" / "catalog"
_MEMORY = Path("/dev/shm")
_ROOM = 4 * 1024**3
"""Bytes free in memory, below which the server's files lie on disk."""


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _state_dir(in_memory: bool) -> Path:
    given = os.environ.get("XINGLIN_TEST_STATE_DIR")
    if given:
        return Path(given)
    if not in_memory or not _MEMORY.is_dir():
        return _ROOT / ".state" / "test"
    free = os.statvfs(_MEMORY)
    mine = _MEMORY / f"xinglin-test-{os.getuid()}-{hashlib.sha256(str(_ROOT).encode()).hexdigest()[:8]}"
    if mine.is_dir() or free.f_bavail * free.f_frsize > _ROOM:
        return mine
    return _ROOT / ".state" / "test"


class DatabaseServer:
    """The server, given by ``XINGLIN_TEST_DATABASE_URL`` or the embedded one of the state folder."""

    def __init__(self, admin: URL) -> None:
        self.admin = admin
        migrated = _digest(*_MIGRATIONS.glob("*.py"))
        self.template = f"xinglin_template_{migrated}"
        catalogue = _digest(*_CATALOG.glob("*.py"), *_CATALOG.glob("data/*"))
        self.furnished = f"{self.template}_{catalogue}"
        """The same with the starting catalogue loaded."""

    @classmethod
    def start(cls, *, in_memory: bool = False) -> DatabaseServer:
        """`in_memory`: where there is room. Not for what is measured."""
        given = os.environ.get("XINGLIN_TEST_DATABASE_URL")
        if given:
            url = make_url(given)
        else:
            from cloud.config import Settings
            from cloud.kit import embedded

            url = make_url(
                embedded.start(Settings(environment="test", state_dir=_state_dir(in_memory)), durable=False).url
            )
        server = cls(url.set(database="postgres"))
        server._make_template()
        return server

    def release(self) -> None:
        """The server stays for the next run (a quick second start); the embedded module stops it with its last user."""

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        dsn = self.admin.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(dsn, autocommit=True) as connection:
            yield connection

    def _make_template(self) -> None:
        from cloud.kit import migrate

        with self._connection() as connection:
            connection.execute("SELECT pg_advisory_lock(7381)")  # xdist workers make it once
            if not self._is_template(connection, self.template):
                self._drop(connection, self.template)
                connection.execute(f'CREATE DATABASE "{self.template}"')
                migrate.upgrade(self.url_of(self.template))
                connection.execute(f'ALTER DATABASE "{self.template}" WITH is_template true')
            if not self._is_template(connection, self.furnished):
                self._drop(connection, self.furnished)
                connection.execute(f'CREATE DATABASE "{self.furnished}" TEMPLATE "{self.template}"')
                _load_catalogue(self.url_of(self.furnished))
                connection.execute(f'ALTER DATABASE "{self.furnished}" WITH is_template true')

    @staticmethod
    def _is_template(connection: psycopg.Connection[Any], name: str) -> bool:
        found = connection.execute("SELECT datistemplate FROM pg_database WHERE datname = %s", (name,)).fetchone()
        return found is not None and bool(found[0])

    @staticmethod
    def _drop(connection: psycopg.Connection[Any], name: str) -> None:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"')

    def url_of(self, name: str) -> str:
        return self.admin.set(database=name).render_as_string(hide_password=False)

    @contextmanager
    def clone(self, template: str | None = None) -> Iterator[str]:
        name = f"test_{uuid.uuid4().hex[:16]}"
        with self._connection() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template or self.template}"')
        try:
            yield self.url_of(name)
        finally:
            with self._connection() as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _load_catalogue(url: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    from cloud.app import load_slices
    from cloud.lis.catalog import load

    load_slices()
    engine = create_engine(url)
    with Session(engine) as session, session.begin():
        load.load(session)
    engine.dispose()


@contextmanager
def cloud_on(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The cloud's settings and engine on `url`, inside this process; put back afterwards."""
    from cloud import config
    from cloud.kit import db

    def forget() -> None:
        config.settings.cache_clear()
        db._sessions.cache_clear()
        if db.engine.cache_info().currsize:
            db.engine().dispose()
        db.engine.cache_clear()

    monkeypatch.setenv("XINGLIN_DATABASE_URL", url)
    monkeypatch.setenv("XINGLIN_ENVIRONMENT", "test")
    monkeypatch.setenv("XINGLIN_HASHING", "least")
    monkeypatch.setenv("XINGLIN_SECRET_KEY", "a-key-for-tests-only-0123456789abcdef")
    forget()
    try:
        yield
    finally:
        forget()
