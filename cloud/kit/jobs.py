"""Durable jobs: enqueued in the caller's own transaction, run at least once, effects idempotent.

Jobs live in PostgreSQL (procrastinate). `enqueue` uses its SQL function in the session's transaction, so that a
rollback leaves no job. A slice registers a job with `@job("slice.name")`; `cloud.app` imports every slice's `jobs.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

TASK_NAME = "xinglin.run"
QUEUE = "default"
BEHIND = -1
"""Priority of background jobs; a worker takes the highest first."""

Begin = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    run: Callable[..., None]
    own_transactions: bool
    """True: called as ``run(begin, **args)`` and opens its units of work itself (network calls between them)."""
    every: str | None
    """Cron expression of a periodic job."""
    background: bool = False
    """True: one of very many that may wait; whatever is not background goes first."""


_registry: dict[str, Job] = {}


def job(
    name: str, *, own_transactions: bool = False, every: str | None = None, background: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register ``run(session, **args)`` (or ``run(begin, **args)``) under a name that never changes once shipped."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        known = _registry.get(name)
        if known is not None and known.run.__module__ != run.__module__:
            raise RuntimeError(f"two jobs are called {name}")
        _registry[name] = Job(name, run, own_transactions, every, background)
        return run

    return register


def registered() -> dict[str, Job]:
    return dict(_registry)


_DEFER = text(
    "SELECT procrastinate_defer_jobs_v1(ARRAY[ROW(:queue, :task, :priority, :lock, :queueing_lock,"
    " CAST(:args AS jsonb), CAST(:at AS timestamptz))]::procrastinate_job_to_defer_v1[])"
)


def enqueue(
    session: Session,
    name: str,
    *,
    lock: str | None = None,
    at: datetime | None = None,
    **args: Any,
) -> None:
    """Put a job in this transaction. Jobs with the same `lock` run one after the other, in the order they were put."""
    session.execute(
        _DEFER,
        {
            "queue": QUEUE,
            "task": TASK_NAME,
            "priority": BEHIND if name in _registry and _registry[name].background else 0,
            "lock": lock,
            "queueing_lock": None,
            "args": json.dumps({"name": name, "args": args}, default=str),
            "at": at,
        },
    )


def execute(name: str, args: dict[str, Any], begin: Begin) -> None:
    """Run one registered job now (the worker's step, and how tests drive jobs). Raises what the job raises."""
    found = _registry.get(name)
    if found is None:
        raise LookupError(f"no job called {name}: is its slice imported in cloud.app?")
    if found.own_transactions:
        found.run(begin, **args)
        return
    with begin() as session:
        found.run(session, **args)
