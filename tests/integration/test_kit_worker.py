"""Durable jobs with real worker processes: one killed in the middle, one that fails, two that share periodic work."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from cloud.kit import failures, worker
from cloud.kit.db import begin
from cloud.kit.jobs import enqueue
from tests.support import job_worker
from tests.support.waiting import eventually

StartWorker = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start_worker(database: str, tmp_path: Path) -> Iterator[StartWorker]:
    with begin() as session:
        session.execute(text(job_worker.CREATE_EFFECTS))
    started: list[subprocess.Popen[bytes]] = []

    def start(worker_id: str) -> subprocess.Popen[bytes]:
        started.append(job_worker.start(worker_id, tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def _effects() -> list[tuple[str, str]]:
    with begin() as session:
        return [(row.step, row.worker) for row in session.execute(text("SELECT step, worker FROM effect"))]


def _jobs_left() -> int:
    query = "SELECT count(*) FROM procrastinate_jobs WHERE args ->> 'name' NOT LIKE '%periodic%'"
    with begin() as session:
        return int(session.execute(text(query)).scalar_one())


@pytest.mark.req("OPS-1")
def test_a_job_of_a_worker_killed_in_the_middle_is_resumed_by_the_other_with_one_effect(
    start_worker: StartWorker, tmp_path: Path
) -> None:
    with begin() as session:
        enqueue(session, "test.step", step="one")
    first = start_worker("first")
    eventually(lambda: (tmp_path / "began-one-first").exists(), what="the first worker takes the job")
    start_worker("second")
    eventually(lambda: list(tmp_path.glob("periodic-*")), what="periodic work goes on beside it")
    first.send_signal(signal.SIGKILL)
    first.wait()
    (tmp_path / "go").touch()
    eventually(_effects, within_s=55, what="the second worker takes the job over within a minute")
    eventually(lambda: _jobs_left() == 0, what="the job is finished")
    assert _effects() == [("one", "second")]


def test_a_job_that_fails_leaves_nothing_and_is_tried_again(start_worker: StartWorker) -> None:
    with begin() as session:
        enqueue(session, "test.fails_at_first", step="two")
    start_worker("only")
    eventually(_effects, what="the second attempt works")
    eventually(lambda: _jobs_left() == 0, what="the job is finished")
    assert _effects() == [("two", "only")]


@pytest.mark.req("OPS-1")
def test_a_job_that_was_given_up_is_listed_and_works_when_it_is_tried_again(start_worker: StartWorker) -> None:
    with begin() as session:
        enqueue(session, "test.fails_at_first", step="three")
        session.execute(text("UPDATE procrastinate_jobs SET attempts = :last"), {"last": worker.MOST_ATTEMPTS})
    start_worker("only")

    def given_up() -> list[failures.ListedJob]:
        with begin() as session:
            return [each for each in failures.listed(session, "failed") if each.error]

    (job,) = eventually(given_up, what="the job is given up")
    assert (job.name, job.error) == ("test.fails_at_first", "RuntimeError")
    assert _effects() == []
    with begin() as session:
        failures.retry(session, job.id, by="staff:1")
    eventually(_effects, what="it works when it is tried again")
    eventually(lambda: _jobs_left() == 0, what="the job is finished")
    with begin() as session:
        assert failures.given_up(session) == 0
        eventually(lambda: session.scalar(text("SELECT count(*) FROM job_failure")) == 0, what="its note is gone")


def test_jobs_with_one_lock_run_one_after_the_other(start_worker: StartWorker, tmp_path: Path) -> None:
    with begin() as session:
        enqueue(session, "test.step", lock="box-1", step="first")
        enqueue(session, "test.step", lock="box-1", step="second")
        enqueue(session, "test.step", step="free")
    start_worker("only")
    eventually(lambda: (tmp_path / "began-first-only").exists(), what="the first begins")
    eventually(lambda: (tmp_path / "began-free-only").exists(), what="one without the lock begins beside it")
    assert not (tmp_path / "began-second-only").exists()
    (tmp_path / "go").touch()
    eventually(lambda: len(_effects()) == 3, what="all three are done")


def test_two_workers_run_each_tick_of_a_periodic_job_once(start_worker: StartWorker, tmp_path: Path) -> None:
    start_worker("first")
    start_worker("second")
    eventually(lambda: len(list(tmp_path.glob("periodic-*"))) >= 3, what="three ticks")
    query = "SELECT count(*), count(DISTINCT defer_timestamp) FROM procrastinate_periodic_defers"
    with begin() as session:
        deferred, ticks = session.execute(text(query)).one()
    assert deferred == ticks


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 2), (1, 4), (5, 64), (9, 900), (99, 900)])
def test_pauses_grow_up_to_a_quarter_of_an_hour(attempts: int, seconds: int) -> None:
    assert worker.pause_s(attempts) == seconds
