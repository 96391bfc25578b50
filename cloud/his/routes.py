"""Pages of the HIS as a neighbour: what came, what goes, what was refused and why; a button to try once more."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.config import settings
from cloud.his import inbox, listing, money_routes, outbox
from cloud.his.model import HisMessage, HisOutbox, IncomingState, OutgoingState
from cloud.kit.audit import record
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.people.wire import shown
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/his"
router = APIRouter()
messages = APIRouter(prefix=PAGE)
router.include_router(money_routes.router)

Reader = Annotated[CurrentStaff, Depends(require("order.place"))]

navigation.add(N_("HIS 接口"), PAGE, permission="order.place", group=N_("系统"), position=820, key="g l")
worklist.add(
    N_("HIS 消息待处理"),
    N_("被拒收的申请，或 HIS 没有接受的报告"),
    PAGE,
    permission="order.place",
    position=820,
    count=listing.waiting_for_a_person,
    topic="his",
)

INCOMING = {
    IncomingState.RECEIVED: (N_("未处理"), "info"),
    IncomingState.APPLIED: (N_("已处理"), "good"),
    IncomingState.REFUSED: (N_("已拒绝"), "bad"),
    IncomingState.MALFORMED: (N_("无法读懂"), "warn"),
}
OUTGOING = {
    OutgoingState.WAITING: (N_("等待发送"), "info"),
    OutgoingState.ACCEPTED: (N_("HIS 已接收"), "good"),
    OutgoingState.REFUSED: (N_("HIS 拒收"), "bad"),
    OutgoingState.PARKED: (N_("HIS 不应答，已搁置"), "bad"),
    OutgoingState.SUPERSEDED: (N_("已由更新的消息代替"), "neutral"),
}
DIRECTIONS = {"in": N_("HIS 发来"), "out": N_("发给 HIS")}


@messages.get("")
def his_page(
    request: Request,
    session: Transaction,
    staff: Reader,
    direction: str = "in",
    show: str = "all",
    page: int = 1,
) -> Response:
    """Messages of one direction."""
    chosen = direction if direction in DIRECTIONS else "in"
    read = listing.incoming if chosen == "in" else listing.outgoing
    found, total = read(session, show=show, page=max(page, 1))
    context = {
        "direction": chosen,
        "directions": DIRECTIONS,
        "show": show,
        "page": max(page, 1),
        "pages": -(-total // listing.PAGE_SIZE),
        "total": total,
        "found": found,
        "states": INCOMING if chosen == "in" else OUTGOING,
        "peer": listing.peer(session),
        "connected": settings().his_host,
    }
    return render(request, "his/his.html", context)


@messages.get("/in/{message_id}")
def incoming_page(request: Request, session: Transaction, staff: Reader, message_id: uuid.UUID) -> Response:
    """One message of the HIS, its bytes and our answer."""
    message = _incoming(session, message_id)
    context = {
        "title": message.kind or "HL7",
        "back": "in",
        "row": message,
        "state": INCOMING[IncomingState(message.state)],
        "reason": message.reason,
        "raw": shown(message.raw, message.charset or None),
        "answer": shown(message.answer, message.charset or None) if message.answer else "",
        "again": message.state in (IncomingState.REFUSED, IncomingState.RECEIVED),
    }
    return render(request, "his/message.html", context)


@messages.post("/in/{message_id}/again")
def act_again(session: Transaction, staff: Reader, message_id: uuid.UUID) -> Response:
    """The cause is cured (a code mapped, a file corrected): act on the stored message once more."""
    message = _incoming(session, message_id)
    if message.state in (IncomingState.REFUSED, IncomingState.RECEIVED):
        inbox.act_on(session, message_id)
        record(session, actor=staff.actor, action="his.act_again", aggregate=("his_message", message_id))
    return RedirectResponse(f"{PAGE}/in/{message_id}", status_code=303)


@messages.get("/out/{outbox_id}")
def outgoing_page(request: Request, session: Transaction, staff: Reader, outbox_id: uuid.UUID) -> Response:
    """One message for the HIS and what it answered."""
    row = session.get(HisOutbox, outbox_id)
    if row is None:
        raise NotFound("his.outbox_unknown", N_("没有这条发给 HIS 的消息。"))
    context = {
        "title": row.title,
        "back": "out",
        "row": row,
        "state": OUTGOING[OutgoingState(row.state)],
        "reason": row.last_error,
        "raw": shown(row.payload),
        "answer": shown(row.answer) if row.answer else "",
        "again": row.state in outbox.WAITING_FOR_A_PERSON,
    }
    return render(request, "his/message.html", context)


@messages.post("/out/{outbox_id}/again")
def send_again(session: Transaction, staff: Reader, outbox_id: uuid.UUID) -> Response:
    """Once more, under the same number."""
    outbox.send_again(session, outbox_id, by=staff.actor)
    return RedirectResponse(f"{PAGE}/out/{outbox_id}", status_code=303)


def _incoming(session: Transaction, message_id: uuid.UUID) -> HisMessage:
    message = session.get(HisMessage, message_id)
    if message is None:
        raise NotFound("his.message_unknown", N_("没有这条消息。"))
    return message


router.include_router(messages)
