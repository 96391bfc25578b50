"""Stops the embedded PostgreSQL servers that tests leave running for a quick next start, each by its pid file."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def stop_embedded(state: Path) -> int:
    """SIGINT (fast shutdown) to every postmaster below `state`; prints what it stopped."""
    for pid_file in state.glob("**/postmaster.pid"):
        try:
            pid = int(pid_file.read_text(encoding="utf-8").splitlines()[0])
            os.kill(pid, signal.SIGINT)
        except (OSError, ValueError, IndexError):
            continue
        print(f"stopped the database of {pid_file.parent.relative_to(state)} (pid {pid})")
    return 0
