"""Thousands of jobs that may wait do not make a report wait."""

from __future__ import annotations

import asyncio

import procrastinate
import pytest
from sqlalchemy.orm import Session

from cloud.kit import jobs
from cloud.kit.db import begin, engine
from cloud.kit.worker import libpq_url

pytestmark = pytest.mark.req("OPS-1")


@pytest.fixture(autouse=True)
def _two_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_registry", dict(jobs._registry))

    @jobs.job("test.number_laid_out", background=True)
    def laid_out(session: Session, number: int) -> None:
        """One of thousands."""

    @jobs.job("test.report_pushed")
    def pushed(session: Session) -> None:
        """Somebody waits for it."""


def test_what_somebody_waits_for_goes_before_what_was_put_earlier(database: str) -> None:
    with begin() as session:
        for number in range(3):
            jobs.enqueue(session, "test.number_laid_out", number=number)
        jobs.enqueue(session, "test.report_pushed")
    url = libpq_url(engine().url.render_as_string(hide_password=False))
    assert asyncio.run(_taken(url)) == ["test.report_pushed", *["test.number_laid_out"] * 3]


async def _taken(url: str) -> list[str]:
    """The names in the order in which a worker takes them."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
    async with app.open_async():
        worker_id = await app.job_manager.register_worker()
        taken = []
        while (job := await app.job_manager.fetch_job(queues=None, worker_id=worker_id)) is not None:
            taken.append(str(job.task_kwargs["name"]))
        return taken
