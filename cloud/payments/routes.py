"""Where channels tell us of money: no sign-in, no cookie, no page; what comes is believed by its signature alone."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit.db import begin
from cloud.payments import notices

router = APIRouter(include_in_schema=False)


@router.post("/pay/notice/{channel}")
async def notice(request: Request, channel: str) -> Response:
    """A payment or refund notice; 404-like refusals say nothing about why."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > notices.LARGEST_BYTES:
            break
    reply = await run_in_threadpool(notices.take, begin, channel, dict(request.headers), bytes(body))
    return Response(reply.body, reply.status, media_type=reply.media_type)
