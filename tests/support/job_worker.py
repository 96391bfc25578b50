"""A job worker as its own process, for tests: ``python -m tests.support.job_worker WORKER_ID FOLDER``.

Its job says that it began (a file), waits until the test lets it go on, then leaves its effect in the database.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud.kit.jobs import Begin, job

CREATE_EFFECTS = "CREATE TABLE effect (step text PRIMARY KEY, worker text)"


def start(worker_id: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start one on the settings of this process's environment."""
    return subprocess.Popen([sys.executable, "-m", "tests.support.job_worker", worker_id, str(folder)])


def register(worker_id: str, folder: Path) -> None:
    @job("test.step", own_transactions=True)
    def step(begin: Begin, step: str) -> None:
        (folder / f"began-{step}-{worker_id}").touch()
        while not (folder / "go").exists():
            time.sleep(0.02)
        with begin() as session:
            session.execute(
                text("INSERT INTO effect (step, worker) VALUES (:step, :worker) ON CONFLICT DO NOTHING"),
                {"step": step, "worker": worker_id},
            )

    @job("test.fails_at_first")
    def fails_at_first(session: Session, step: str) -> None:
        once = folder / f"failed-{step}"
        session.execute(text("INSERT INTO effect (step, worker) VALUES (:step, :w)"), {"step": step, "w": worker_id})
        if not once.exists():
            once.touch()
            raise RuntimeError("the first attempt fails after it wrote")

    @job("test.periodic", every="* * * * * *")
    def periodic(session: Session) -> None:
        (folder / f"periodic-{os.getpid()}-{time.time_ns()}").touch()


if __name__ == "__main__":
    from cloud.kit import logs, worker

    logs.configure("jobs")
    register(sys.argv[1], Path(sys.argv[2]))
    worker.run(sys.argv[1], concurrency=2)
