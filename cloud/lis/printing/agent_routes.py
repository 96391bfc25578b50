"""What a print agent asks: its next job with the document, and to say what came of it. A token for each printer.

    POST /api/print/v1/take            200 the PDF (X-Print-Job, X-Print-Attempt, X-Print-Sides) · 204 nothing waits
    POST /api/print/v1/here            204: the agent lives and its printer cannot print ({"trouble": "media-empty"})
    POST /api/print/v1/jobs/ID/printed 204 · POST /api/print/v1/jobs/ID/failed {"reason": "..."} 204

`X-Print-Attempt` above 1: the job was taken before. An agent that printed it says `printed` without printing it again.
"""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Header
from pydantic import BaseModel, Field
from starlette.responses import Response

from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound, Unauthenticated
from cloud.lis.printing import printers, queue
from cloud.lis.printing.model import Printer
from cloud.web.i18n import mark as N_

router = APIRouter(prefix="/api/print/v1", include_in_schema=False)


class Failure(BaseModel):
    """Why the agent gave a job up."""

    reason: str = Field(default="", max_length=300)


class Greeting(BaseModel):
    """What the agent knows of its printer."""

    trouble: str = Field(default="", max_length=300)


@router.post("/take")
def take(session: Transaction, authorization: Annotated[str, Header()] = "", said: Greeting | None = None) -> Response:
    """The next job of this token's printer, in its hands for a minute."""
    printer = _printer(session, authorization)
    printers.seen(session, printer.id, "" if said is None else said.trouble)
    taken = queue.take(session, printer)
    if taken is None:
        return Response(status_code=204)
    headers = {
        "X-Print-Job": str(taken.job.id),
        "X-Print-Number": str(taken.job.number),
        "X-Print-Attempt": str(taken.job.attempts),
        "X-Print-Sides": "two-sided-long-edge" if printer.two_sided else "one-sided",
        "Cache-Control": "no-store",
    }
    return Response(taken.document, media_type="application/pdf", headers=headers)


@router.post("/here")
def here(session: Transaction, said: Greeting, authorization: Annotated[str, Header()] = "") -> Response:
    """The agent lives, its printer cannot print now: no job is taken."""
    printers.seen(session, _printer(session, authorization).id, said.trouble)
    return Response(status_code=204)


@router.post("/jobs/{job_id}/printed")
def printed(session: Transaction, job_id: uuid.UUID, authorization: Annotated[str, Header()] = "") -> Response:
    """It lies in the tray. Said twice it is the same."""
    _own(session, _printer(session, authorization), job_id)
    queue.printed(session, job_id)
    return Response(status_code=204)


@router.post("/jobs/{job_id}/failed")
def failed(
    session: Transaction, job_id: uuid.UUID, said: Failure, authorization: Annotated[str, Header()] = ""
) -> Response:
    _own(session, _printer(session, authorization), job_id)
    queue.failed(session, job_id, said.reason)
    return Response(status_code=204)


def _printer(session: Transaction, authorization: str) -> Printer:
    scheme, _space, token = authorization.partition(" ")
    found = printers.by_token(session, token.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise Unauthenticated("print.token", N_("打印代理的令牌无效，请在打印机页面重新生成。"))
    return found


def _own(session: Transaction, printer: Printer, job_id: uuid.UUID) -> None:
    """A job of another printer is not there."""
    if queue.by_id(session, job_id).printer_id != printer.id:
        raise NotFound("print.unknown", N_("没有这份打印任务。"))
