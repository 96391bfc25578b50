"""A job worker: takes jobs from PostgreSQL and runs what the slices registered, each in a thread.

Several run side by side. Each one's heartbeat tells the others that it lives; when it stops (killed, machine gone), any
other puts its jobs back after `STALLED_AFTER_S` and they run again. A job that fails is tried again later and later,
for about a day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import procrastinate
import psycopg
import structlog
from procrastinate import JobContext, retry
from procrastinate.jobs import Job as StoredJob
from prometheus_client import Counter, Histogram
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cloud.kit import failures, jobs
from cloud.kit.db import begin, engine
from cloud.kit.live import libpq_url

HEARTBEAT_S = 3.0
STALLED_AFTER_S = 12.0
LOOK_FOR_STALLED_EVERY_S = 2.0
POLL_S = 2.0
LONGEST_PAUSE_S = 900
MOST_ATTEMPTS = 100
"""With pauses 2, 4, 8 ... 900 s this is about a day."""
GRACE_S = 20.0
PERIODIC_TASK = "xinglin.periodic"

RUN = Counter("xinglin_job_runs_total", "Jobs run, by outcome", ["name", "outcome"])
SECONDS = Histogram("xinglin_job_seconds", "Time a job ran", ["name"])

_log = structlog.get_logger()

_TAKE_OVER = """
WITH taken AS (
    UPDATE procrastinate_jobs AS job
    SET status = 'todo', attempts = attempts + 1, scheduled_at = NULL, worker_id = NULL, queueing_lock = NULL
    WHERE job.id IN (
        SELECT stalled.id FROM procrastinate_jobs AS stalled
        LEFT JOIN procrastinate_workers AS worker ON worker.id = stalled.worker_id
        WHERE stalled.status = 'doing' AND NOT stalled.abort_requested
          AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => %(seconds)s))
        FOR UPDATE OF stalled SKIP LOCKED
    ) AND job.status = 'doing'
    RETURNING job.id, job.args ->> 'name' AS name
)
SELECT id, name, pg_notify(
    'procrastinate_any_queue_v1', json_build_object('type', 'job_inserted', 'job_id', id)::text
) FROM taken
"""
"""One statement, so that two workers who see the same dead neighbour cannot both put a job back. The queueing lock
goes: the next tick of a periodic job may wait in the queue already, and two waiting with one such lock are not
allowed."""


class LaterAndLater(retry.BaseRetryStrategy):
    """2, 4, 8 ... seconds up to a quarter of an hour; given up after `MOST_ATTEMPTS`."""

    def get_retry_decision(self, *, exception: BaseException, job: StoredJob) -> retry.RetryDecision | None:
        if job.attempts >= MOST_ATTEMPTS:
            return None
        return retry.RetryDecision(retry_in={"seconds": pause_s(job.attempts)})


def pause_s(attempts: int) -> int:
    """How long to wait after the failed attempt number `attempts` (from 0)."""
    return int(min(2 ** min(attempts + 1, 20), LONGEST_PAUSE_S))


def run(worker_id: str, *, concurrency: int = 4) -> None:
    """Work until SIGINT or SIGTERM; jobs under way get `GRACE_S` to end. The slices must be imported already."""
    _log.info("job worker starts", worker=worker_id, jobs=len(jobs.registered()))
    asyncio.run(_run(worker_id, concurrency))
    _log.info("job worker stopped", worker=worker_id)


async def _run(worker_id: str, concurrency: int) -> None:
    database_url = libpq_url(engine().url.render_as_string(hide_password=False))
    with ThreadPoolExecutor(concurrency, thread_name_prefix="job") as threads:
        app = make_app(database_url, threads)
        async with app.open_async():
            watching = asyncio.create_task(_take_over_stalled(database_url))
            try:
                await app.run_worker_async(
                    name=worker_id,
                    concurrency=concurrency,
                    fetch_job_polling_interval=POLL_S,
                    update_heartbeat_interval=HEARTBEAT_S,
                    stalled_worker_timeout=STALLED_AFTER_S * 4,
                    shutdown_graceful_timeout=GRACE_S,
                    delete_jobs="successful",
                )
            finally:
                watching.cancel()


def make_app(database_url: str, threads: ThreadPoolExecutor) -> procrastinate.App:
    """procrastinate's application: one task that runs any registered job, one for the periodic ones."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=database_url, min_size=1, max_size=4))

    async def run_job(context: JobContext, name: str, args: dict[str, Any]) -> None:
        await asyncio.get_running_loop().run_in_executor(threads, run_step, context.job, name, args)

    async def run_periodic(context: JobContext, timestamp: int, name: str) -> None:
        await asyncio.get_running_loop().run_in_executor(threads, run_step, context.job, name, {})

    app.task(name=jobs.TASK_NAME, queue=jobs.QUEUE, retry=LaterAndLater(), pass_context=True)(run_job)
    periodic = app.task(name=PERIODIC_TASK, queue=jobs.QUEUE, pass_context=True)(run_periodic)
    for each in jobs.registered().values():
        if each.every is not None:
            app.periodic_registry.register_task(
                task=periodic,
                cron=each.every,
                periodic_id=each.name,
                configure_kwargs={
                    "lock": f"periodic:{each.name}",
                    "queueing_lock": f"periodic:{each.name}",
                    "task_kwargs": {"name": each.name},
                },
            )
    return app


def run_step(job: StoredJob, name: str, args: dict[str, Any]) -> None:
    """One job, in the thread it was given; logged and counted, its error noted and raised so that it is tried again."""
    job_id = job.id or 0
    with structlog.contextvars.bound_contextvars(job=name, job_id=job_id):
        try:
            with SECONDS.labels(name).time():
                jobs.execute(name, args, begin)
        except Exception as error:
            given_up = job.task_name == PERIODIC_TASK or job.attempts >= MOST_ATTEMPTS
            RUN.labels(name, "given_up" if given_up else "failed").inc()
            _log.exception("job failed", given_up=given_up)
            _keep(partial(failures.note, job_id=job_id, name=name, error=error, given_up=given_up))
            raise
        RUN.labels(name, "done").inc()
        if job.attempts:
            _keep(partial(failures.forget, job_id=job_id))
        if job.task_name == PERIODIC_TASK:
            _keep(partial(failures.supersede, job_id=job_id, name=name, task=PERIODIC_TASK))


def _keep(write: Callable[[Session], None]) -> None:
    """A note beside the job; a database that is away must not turn a job done into one failed."""
    try:
        with begin() as session:
            write(session)
    except SQLAlchemyError as error:
        _log.warning("job note not kept", reason=type(error).__name__)


async def _take_over_stalled(database_url: str) -> None:
    """Put back what dead workers held. Not a job itself: it would hang with the worker that held it."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
                while True:
                    taken = await connection.execute(_TAKE_OVER, {"seconds": STALLED_AFTER_S})
                    for job_id, name, _ in await taken.fetchall():
                        _log.warning("job of a dead worker put back", job_id=job_id, job=name)
                    await asyncio.sleep(LOOK_FOR_STALLED_EVERY_S)
        except psycopg.Error as error:
            _log.warning("cannot look for stalled jobs", reason=type(error).__name__)
            await asyncio.sleep(LOOK_FOR_STALLED_EVERY_S)
