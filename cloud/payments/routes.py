"""Where channels tell us of money: no sign-in, no cookie, no page; what comes is believed by its signature alone. And
the staff's pages of money, each in a module of its own."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit.db import begin
from cloud.kit.errors import NotFound
from cloud.payments import case_routes, channels, day_routes, drawer_routes, notices, payment_routes, statement_routes
from cloud.web.i18n import mark as N_

router = APIRouter(include_in_schema=False)
# What has a name stands before the page of one payment, whose address is anything.
for each in (case_routes, day_routes, statement_routes, drawer_routes, payment_routes):
    router.include_router(each.router)


@router.post("/pay/notice/{channel}")
async def notice(request: Request, channel: str) -> Response:
    """A payment or refund notice; 404-like refusals say nothing about why."""
    if channel not in channels.NAMES:
        raise NotFound("payment.no_channel", N_("没有找到，或者您无权查看。"))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > notices.LARGEST_BYTES:
            break
    reply = await run_in_threadpool(notices.take, begin, channel, dict(request.headers), bytes(body))
    return Response(reply.body, reply.status, media_type=reply.media_type)
