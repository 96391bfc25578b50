"""The administrator's page of durable jobs: what waits, what runs, what was given up and can be tried again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import failures
from cloud.kit.db import Transaction
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/jobs"
router = APIRouter(prefix=PAGE)
Admin = Annotated[CurrentStaff, Depends(require("staff.admin"))]
STATES = {
    "failed": (N_("已放弃"), "bad"),
    "doing": (N_("正在运行"), "info"),
    "todo": (N_("等待运行"), "neutral"),
}

navigation.add(N_("后台任务"), PAGE, permission="staff.admin", group=N_("系统"), position=930, key="g j")
worklist.add(
    N_("后台任务已放弃"),
    N_("多次失败，需要排除原因后重试"),
    PAGE,
    permission="staff.admin",
    position=930,
    count=failures.given_up,
    topic=failures.TOPIC,
    urgent=True,
)


@router.get("")
def jobs_page(request: Request, session: Transaction, admin: Admin, state: str = "failed") -> Response:
    shown = state if state in STATES else "failed"
    context = {
        "shown": shown,
        "states": STATES,
        "counts": failures.counted(session),
        "found": failures.listed(session, shown),
        "at_most": failures.AT_MOST,
    }
    return render(request, "staff/jobs.html", context)


@router.post("/{job_id}/retry")
def retry(session: Transaction, admin: Admin, job_id: int) -> Response:
    failures.retry(session, job_id, by=admin.actor)
    return RedirectResponse(PAGE, status_code=303)
