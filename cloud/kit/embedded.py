"""PostgreSQL from its wheel, for the demo and the tests when no database URL is given. Never in production.

The only module that knows the wheel: another wheel or the system's server takes its place here.
"""

from __future__ import annotations

from cloud.config import Settings


class NoDatabase(RuntimeError):
    """No database URL was given where one is required; the message says what to set."""


def database_url(settings: Settings) -> str:
    """The configured URL, or that of the embedded server (started when needed)."""
    if settings.database_url:
        url = settings.database_url
        return url.replace("postgresql://", "postgresql+psycopg://", 1) if url.startswith("postgresql://") else url
    if settings.environment == "production":
        raise NoDatabase(
            "XINGLIN_DATABASE_URL is not set. Give the URL of the hospital's PostgreSQL,"
            " for example postgresql+psycopg://xinglin@db.example/xinglin."
        )
    return start(settings).url


class EmbeddedServer:
    """A running server; `url` is a SQLAlchemy URL of database `xinglin`; `stop()` stops it by its own pid."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid


def start(settings: Settings) -> EmbeddedServer:
    """Start (or find running) the server of `settings.state_dir`. To be completed by the kit."""
    raise NotImplementedError
