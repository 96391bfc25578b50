"""Run the durable jobs that are due, in this process, as a worker would: one after the other until none is left."""

from __future__ import annotations

from sqlalchemy import text

from cloud.kit import jobs
from cloud.kit.db import begin

_TAKE = text(
    """
    UPDATE procrastinate_jobs SET status = 'doing' WHERE id = (
        SELECT id FROM procrastinate_jobs
        WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())
          AND split_part(args ->> 'name', '.', 1) = ANY(:slices)
        ORDER BY id LIMIT 1
    ) RETURNING id, args
    """
)
_DONE = text("UPDATE procrastinate_jobs SET status = 'succeeded' WHERE id = :id")


def work(*slices: str) -> list[str]:
    """Run every due job of these slices (first word of the job's name); their names, in the order they ran."""
    done = []
    while True:
        with begin() as session:
            taken = session.execute(_TAKE, {"slices": list(slices or ("patient", "notify"))}).first()
        if taken is None:
            return done
        jobs.execute(taken.args["name"], taken.args["args"], begin)
        with begin() as session:
            session.execute(_DONE, {"id": taken.id})
        done.append(taken.args["name"])


def due_now(table: str = "delivery") -> None:
    """Let the back-off of every waiting delivery be over, and its job with it."""
    with begin() as session:
        session.execute(text(f"UPDATE {table} SET next_attempt_at = now() WHERE state IN ('waiting', 'sending')"))
        session.execute(text("UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'"))
