"""Is what we need there at start? A bounded wait, then a sentence that says what to do (never a trace)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from cloud.kit import clock, migrate

PAUSE_S = 0.25
CLOCK_APART_S = 5.0


class NotThere(RuntimeError):
    """A part that this program needs is absent; the message says which, and the cure."""


def wait_for_database(engine: Engine, *, wait_s: float, migrated: bool = True) -> None:
    """Raises `NotThere` when it does not answer, its schema is not this program's, or its clock is not ours."""
    shown = engine.url.render_as_string(hide_password=True)
    reason = _wait(lambda: _ask_database(engine), wait_s)
    if reason is not None:
        raise NotThere(
            f"The database does not answer at {shown} ({reason}). Start PostgreSQL or correct XINGLIN_DATABASE_URL."
        )
    with engine.connect() as connection:
        found = migrate.current(connection)
        theirs = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    if migrated and found != migrate.head():
        raise NotThere(
            f"The database at {shown} is at migration {found or 'none'}, this program needs {migrate.head()}."
            " Run: xinglin-cloud migrate"
        )
    apart_s = abs((clock.now() - theirs).total_seconds())
    if apart_s > CLOCK_APART_S:
        raise NotThere(
            f"This machine's clock and the database's are {apart_s:.0f} s apart, so sessions and leases would expire"
            " wrongly. Set both by NTP."
        )


def wait_for_port(host: str, port: int, what: str, cure: str, *, wait_s: float) -> None:
    """Raises `NotThere` when nothing accepts a TCP connection there."""
    reason = _wait(lambda: reach(host, port), wait_s)
    if reason is not None:
        raise NotThere(f"{what} does not answer at {host}:{port} ({reason}). {cure}")


def _wait(ask: Callable[[], str | None], wait_s: float) -> str | None:
    deadline = time.monotonic() + wait_s
    while (reason := ask()) is not None and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    return reason


def _ask_database(engine: Engine) -> str | None:
    try:
        with engine.connect():
            return None
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", error)
        return (str(cause).strip() or type(cause).__name__).splitlines()[0]


def reach(host: str, port: int) -> str | None:
    """None when something accepts a TCP connection there within two seconds, else why not."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError as error:
        return error.strerror or str(error)
    return None
