"""PostgreSQL for tests: one server, one migrated template, one clone per test (about 50 ms each)."""

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


def _migrations_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(_MIGRATIONS.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class DatabaseServer:
    """The server, given by ``XINGLIN_TEST_DATABASE_URL`` or the embedded one of the state folder."""

    def __init__(self, admin: URL) -> None:
        self.admin = admin
        self.template = f"xinglin_template_{_migrations_digest()}"

    @classmethod
    def start(cls) -> DatabaseServer:
        given = os.environ.get("XINGLIN_TEST_DATABASE_URL")
        if given:
            url = make_url(given)
        else:
            from cloud.config import Settings
            from cloud.kit import embedded

            state_dir = Path(os.environ.get("XINGLIN_TEST_STATE_DIR", _ROOT / ".state" / "test"))
            url = make_url(embedded.start(Settings(environment="test", state_dir=state_dir), durable=False).url)
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
            found = connection.execute(
                "SELECT datistemplate FROM pg_database WHERE datname = %s", (self.template,)
            ).fetchone()
            if found is not None and found[0]:
                return
            connection.execute(f'DROP DATABASE IF EXISTS "{self.template}"')
            connection.execute(f'CREATE DATABASE "{self.template}"')
            migrate.upgrade(self.url_of(self.template))
            connection.execute(f'ALTER DATABASE "{self.template}" WITH is_template true')

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
