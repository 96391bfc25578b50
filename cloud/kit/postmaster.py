"""The server process behind a data folder: its number, whether it lives, what it left behind."""

from __future__ import annotations

import os
from pathlib import Path


def pid_of(data_dir: Path) -> int | None:
    try:
        return int((data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # not our child: whoever is its parent does it


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not is_zombie(pid)


def is_zombie(pid: int) -> bool:
    """Dead, but nobody fetched its exit status yet: common in containers, where process 1 does not care for orphans."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def forget_zombie(data_dir: Path, socket_dir: Path) -> None:
    """Remove the lock files of a dead server whose number a zombie still holds: PostgreSQL would take it for alive."""
    pid = pid_of(data_dir)
    if pid is None or not is_zombie(pid):
        return
    for path in (data_dir / "postmaster.pid", socket_dir / ".s.PGSQL.5432.lock", socket_dir / ".s.PGSQL.5432"):
        path.unlink(missing_ok=True)
