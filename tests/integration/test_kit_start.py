"""What the cloud's programs say when something they need is absent, and the embedded database's start and stop."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from cloud.config import Settings
from cloud.kit import embedded
from cloud.kit.live import libpq_url

pytestmark = pytest.mark.req("OPS-1")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of its own: pytest shuts its own one to the account that PostgreSQL runs as when we are root."""
    with tempfile.TemporaryDirectory(prefix="xinglin-test-") as folder:
        yield Path(folder)


COMMANDS = ["web", "ingest", "jobs", "his", "migrate", "seal-audit", "verify-audit", "seed-catalog", "seed-demo"]


def _cloud(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("XINGLIN_")}
    return subprocess.run(
        [sys.executable, "-m", "cloud", *arguments],
        env={**inherited, "XINGLIN_ENVIRONMENT": "test", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_database_every_command_says_so_and_exits_2(command: str) -> None:
    ended = _cloud(
        command,
        XINGLIN_DATABASE_URL=f"postgresql://x:secret@127.0.0.1:{_closed_port()}/x",
        XINGLIN_START_WAIT_S="0.1",
    )
    assert ended.returncode == 2
    assert "The database does not answer at" in ended.stderr
    assert "XINGLIN_DATABASE_URL" in ended.stderr
    assert "secret" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_broker_ingest_says_so_and_exits_2(database: str) -> None:
    port = str(_closed_port())
    ended = _cloud("ingest", XINGLIN_DATABASE_URL=database, XINGLIN_MQTT_PORT=port, XINGLIN_START_WAIT_S="0.1")
    assert ended.returncode == 2
    assert f"The MQTT broker does not answer at 127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_database_that_is_not_migrated_is_said_so(empty_database: str) -> None:
    ended = _cloud("web", XINGLIN_DATABASE_URL=empty_database)
    assert ended.returncode == 2
    assert "Run: xinglin-cloud migrate" in ended.stderr


@pytest.mark.req("SEC-1")
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "XINGLIN_SECRET_KEY"),
        ({"XINGLIN_SECRET_KEY": "short"}, "at least 32 characters"),
        ({"XINGLIN_SECRET_KEY": "k" * 40}, "XINGLIN_DATABASE_URL is not set"),
    ],
    ids=["no secret", "a short secret", "no database"],
)
def test_production_starts_with_no_stand_in(environment: dict[str, str], said: str, tmp_path: Path) -> None:
    settings = {"XINGLIN_ENVIRONMENT": "production", "XINGLIN_STATE_DIR": str(tmp_path), **environment}
    ended = _cloud("web", **settings)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())


def test_the_embedded_database_starts_once_for_all_who_ask_and_stops_by_its_own_number(place: Path) -> None:
    settings = Settings(environment="test", state_dir=place / "state")
    with ThreadPoolExecutor(3) as several:
        servers = list(several.map(lambda _: embedded.start(settings, durable=False), range(3)))
    assert len({server.pid for server in servers}) == 1
    assert (settings.state_dir / "postgres").stat().st_mode & 0o077 == 0
    dsn = libpq_url(servers[0].url)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept (value int)")
    servers[0].stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn)
    again = embedded.start(settings, durable=False)
    servers[0].stop()  # an old handle does not stop the new server
    with psycopg.connect(libpq_url(again.url)) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    again.stop()


def test_the_embedded_database_survives_a_path_too_long_for_a_socket(place: Path) -> None:
    settings = Settings(environment="test", state_dir=place / ("long" * 20))
    server = embedded.start(settings, durable=False)
    try:
        psycopg.connect(libpq_url(server.url)).close()
    finally:
        server.stop()


def test_a_server_that_was_killed_is_started_again(place: Path) -> None:
    settings = Settings(environment="test", state_dir=place)
    server = embedded.start(settings, durable=False)
    os.kill(server.pid, 9)
    again = embedded.start(settings, durable=False)
    try:
        assert again.pid != server.pid
        psycopg.connect(libpq_url(again.url)).close()
    finally:
        again.stop()
