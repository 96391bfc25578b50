"""The administrator's page of durable jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select, text

from cloud.kit import failures
from cloud.kit.audit import AuditEntry
from cloud.kit.db import begin
from cloud.kit.errors import Conflict
from cloud.kit.jobs import enqueue
from tests.support.site import Site, hire_cast, running_site

pytestmark = pytest.mark.req("OPS-1")


@pytest.fixture
def site(database: str) -> Iterator[Site]:
    hire_cast()
    with running_site() as running:
        yield running


def _put(name: str, state: str, *, attempts: int = 0, error: Exception | None = None, task: str | None = None) -> int:
    """A job as a worker leaves it; its number."""
    with begin() as session:
        enqueue(session, name)
        job_id = int(session.execute(text("SELECT max(id) FROM procrastinate_jobs")).scalar_one())
        session.execute(
            text(
                "UPDATE procrastinate_jobs SET status = CAST(:state AS procrastinate_job_status), attempts = :attempts,"
                " task_name = coalesce(:task, task_name) WHERE id = :id"
            ),
            {"state": state, "attempts": attempts, "id": job_id, "task": task},
        )
        if error is not None:
            failures.note(session, job_id, name, error, given_up=state == "failed")
    return job_id


def test_the_administrator_sees_what_was_given_up_and_has_it_tried_again(site: Site) -> None:
    job_id = _put("his.deliver", "failed", attempts=100, error=Conflict("his.away", "王小梅的报告"))
    _put("notify.deliver", "todo", attempts=3, error=RuntimeError("13900000001"))
    admin = site.staff("admin")
    assert "后台任务已放弃" in admin.get("/staff").text
    page = admin.get("/staff/jobs").text
    for seen in ("his.deliver", "Conflict: his.away", ">100<", "已放弃"):
        assert seen in page, seen
    assert "王小梅" not in page, "an error's text may name a patient"
    assert "notify.deliver" not in page
    waiting = admin.get("/staff/jobs", params={"state": "todo"}).text
    assert "notify.deliver" in waiting
    assert "稍后自动重试" in waiting
    assert "13900000001" not in waiting
    assert admin.post(f"/staff/jobs/{job_id}/retry").status_code == 200
    assert admin.post(f"/staff/jobs/{job_id}/retry").status_code == 409
    assert admin.post("/staff/jobs/999999/retry").status_code == 404
    with begin() as session:
        assert failures.counted(session) == {"failed": 0, "doing": 0, "todo": 2}
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "job.retry")).one()
    assert entry.actor.startswith("staff:")
    assert entry.before == {"name": "his.deliver", "attempts": 100, "error": "Conflict: his.away"}


@pytest.mark.parametrize("role", ["technician", "director", "field_engineer"])
def test_only_the_administrator_manages_jobs(site: Site, role: str) -> None:
    job_id = _put("his.deliver", "failed")
    visitor = site.staff(role)
    assert visitor.get("/staff/jobs").status_code == 403
    assert visitor.post(f"/staff/jobs/{job_id}/retry").status_code == 403


def test_failed_ticks_of_periodic_work_are_forgotten_when_a_later_one_succeeds(database: str) -> None:
    task = "xinglin.periodic"
    old = [_put("seal", "failed", error=RuntimeError(), task=task) for _ in range(3)]
    other = _put("sweep", "failed", error=RuntimeError(), task=task)
    later = _put("seal", "doing", task=task)
    newer = _put("seal", "failed", error=RuntimeError(), task=task)
    with begin() as session:
        failures.supersede(session, later, "seal", task=task)
    with begin() as session:
        left = {each.id for each in failures.listed(session, "failed")}
        noted = set(session.scalars(select(failures.JobFailure.job_id)))
    assert left == noted == {other, newer}
    assert left.isdisjoint(old)


def test_how_long_the_oldest_due_job_has_waited_is_known(database: str) -> None:
    with begin() as session:
        assert failures.oldest_waiting_s(session) == 0
        enqueue(session, "his.deliver")
        session.execute(text("UPDATE procrastinate_events SET at = at - interval '90 seconds'"))
        assert 90 <= failures.oldest_waiting_s(session) < 3600
