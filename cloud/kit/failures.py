"""Jobs that fail: why, how often, which were given up; and one put back to be tried again.

procrastinate keeps a job's state and the number of its tries, not why it failed: that stands here, one row a job, and
goes when the job succeeds. Only the kind of error is kept, its text may name a patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Text, delete, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.db import Base
from cloud.kit.errors import Conflict, NotFound, XinglinError
from cloud.kit.live import announce
from cloud.kit.metrics import from_database

AT_MOST = 200
STATES = ("failed", "doing", "todo")
TOPIC = "jobs"


class JobFailure(Base):
    """The last failure of a job that has not succeeded since."""

    __tablename__ = "job_failure"

    job_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text)
    error: Mapped[str] = mapped_column(Text)
    failed_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class ListedJob:
    """One job as procrastinate and `JobFailure` know it. `attempts`: how often it was started before."""

    id: int
    name: str
    state: str
    attempts: int
    scheduled_at: datetime | None
    """Not before this moment; None: as soon as a worker is free."""
    error: str | None
    failed_at: datetime | None


def kind_of(error: BaseException) -> str:
    """What an error is, without its text: a refusal's code, the database's own kind of error."""
    if isinstance(error, XinglinError):
        return f"{type(error).__name__}: {error.code}"
    cause = getattr(error, "orig", None)
    return type(error).__name__ if cause is None else f"{type(error).__name__}: {type(cause).__name__}"


def note(session: Session, job_id: int, name: str, error: BaseException, *, given_up: bool) -> None:
    """A try has failed. Pages are told when it was the last one."""
    row = insert(JobFailure).values(job_id=job_id, name=name, error=kind_of(error), failed_at=clock.now())
    session.execute(
        row.on_conflict_do_update(
            index_elements=["job_id"], set_={"error": row.excluded.error, "failed_at": row.excluded.failed_at}
        )
    )
    if given_up:
        announce(session, TOPIC)


def forget(session: Session, job_id: int) -> None:
    """The job has succeeded after all."""
    session.execute(delete(JobFailure).where(JobFailure.job_id == job_id))


_SUPERSEDED = text(
    "DELETE FROM procrastinate_jobs WHERE status = 'failed' AND id < :job_id AND task_name = :task"
    " AND args ->> 'name' = :name RETURNING id"
)


def supersede(session: Session, job_id: int, name: str, *, task: str) -> None:
    """A later tick of a periodic job does the work of those that failed before it: they need nobody any more."""
    gone = session.scalars(_SUPERSEDED, {"job_id": job_id, "name": name, "task": task}).all()
    if gone:
        session.execute(delete(JobFailure).where(JobFailure.job_id.in_(gone)))
        announce(session, TOPIC)


_LISTED = text(
    """
    SELECT job.id, coalesce(job.args ->> 'name', job.task_name) AS name, job.status::text AS state, job.attempts,
           job.scheduled_at, failure.error, failure.failed_at
    FROM procrastinate_jobs AS job LEFT JOIN job_failure AS failure ON failure.job_id = job.id
    WHERE job.status = CAST(:state AS procrastinate_job_status)
    ORDER BY (failure.job_id IS NULL), job.id DESC LIMIT :at_most
    """
)
_COUNTED = text("SELECT status::text AS state, count(*) AS jobs FROM procrastinate_jobs GROUP BY status")


def listed(session: Session, state: str) -> list[ListedJob]:
    """The jobs in that state, those that have failed before first, then the newest; at most `AT_MOST`."""
    rows = session.execute(_LISTED, {"state": state, "at_most": AT_MOST})
    return [ListedJob(*row) for row in rows]


def counted(session: Session) -> Mapping[str, int]:
    """How many jobs are in each of `STATES`."""
    found: dict[str, int] = {row.state: row.jobs for row in session.execute(_COUNTED)}
    return {state: found.get(state, 0) for state in STATES}


def given_up(session: Session) -> int:
    return counted(session)["failed"]


_FOUND = text(
    "SELECT status::text AS state, attempts, coalesce(args ->> 'name', task_name) AS name FROM procrastinate_jobs"
    " WHERE id = :id FOR UPDATE"
)
_PUT_BACK = text(
    "UPDATE procrastinate_jobs SET status = 'todo', attempts = 1, scheduled_at = NULL, worker_id = NULL,"
    " queueing_lock = NULL, abort_requested = false WHERE id = :id AND status = 'failed'"
)
"""As after its first failure, so that it is tried for a day again. Without its queueing lock: the next tick of a
periodic job may wait already, and two with one such lock are not allowed."""


def retry(session: Session, job_id: int, *, by: str) -> None:
    """Have a job that was given up tried again, as often as a new one. Raises Conflict when it is not given up."""
    found = session.execute(_FOUND, {"id": job_id}).first()
    if found is None:
        raise NotFound("job.unknown", "没有这个后台任务，可能已经完成。")
    if found.state != "failed":
        raise Conflict("job.not_given_up", "这个后台任务没有失败，不需要重试。")
    session.execute(_PUT_BACK, {"id": job_id})
    session.execute(
        text("SELECT pg_notify('procrastinate_any_queue_v1', CAST(:told AS text))"),
        {"told": f'{{"type": "job_inserted", "job_id": {job_id}}}'},
    )
    announce(session, TOPIC)
    failure = session.get(JobFailure, job_id)
    record(
        session,
        actor=by,
        action="job.retry",
        aggregate=("job", job_id),
        before={"name": found.name, "attempts": found.attempts, "error": None if failure is None else failure.error},
    )


def oldest_waiting_s(session: Session) -> float:
    """For how long the job that is due the longest has waited for a worker, s; 0: none waits.

    A job put without a moment is dated by procrastinate's own note of when it was put.
    """
    oldest = session.scalar(
        text(
            "SELECT extract(epoch FROM now() - min(coalesce(job.scheduled_at, put.at))) FROM procrastinate_jobs AS job"
            " LEFT JOIN LATERAL (SELECT max(at) AS at FROM procrastinate_events WHERE job_id = job.id"
            " AND type = 'deferred') AS put ON true"
            " WHERE job.status = 'todo' AND (job.scheduled_at IS NULL OR job.scheduled_at <= now())"
        )
    )
    return max(0.0, float(oldest or 0))


def _waiting(session: Session) -> dict[str, float]:
    return {"oldest_due": oldest_waiting_s(session)}


from_database("xinglin_jobs", "Jobs that stand in the database now", "state", counted)
from_database("xinglin_jobs_waiting_seconds", "How long the job that is due the longest has waited", "job", _waiting)
