"""Pages of boxes: who is there, what is on its way, where a link stands still, and every message with its bytes."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.gateways import overview, service
from cloud.gateways.model import LinkCursor, MessageStatus, Quarantine
from cloud.gateways.overview import MessageFilter
from cloud.gateways.redecode import overview as redecode
from cloud.gateways.watch import silence
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.people.wire import shown
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/gateways"
router = APIRouter(prefix=PAGE)

Reader = Annotated[CurrentStaff, Depends(require("gateway.read"))]
Engineer = Annotated[CurrentStaff, Depends(require("gateway.configure"))]
Reviewer = Annotated[CurrentStaff, Depends(require("result.review"))]

navigation.add(N_("网关"), PAGE, permission="gateway.read", group=N_("系统"), position=800, key="g b")
navigation.add(N_("仪器消息"), f"{PAGE}/messages", permission="gateway.read", group=N_("系统"), position=810, key="g x")
worklist.add(
    N_("仪器消息待查看"),
    N_("未能解码、被隔离的消息和缺口"),
    f"{PAGE}/messages",
    permission="gateway.read",
    position=800,
    count=overview.waiting_for_a_person,
    topic="gateways",
)

STATES = {
    MessageStatus.PENDING: (N_("等待处理"), "info"),
    MessageStatus.APPLIED: (N_("已处理"), "good"),
    MessageStatus.QUARANTINED: (N_("已隔离"), "bad"),
    MessageStatus.UNDECODED: (N_("未能解码"), "warn"),
    MessageStatus.INCOMPLETE: (N_("不完整"), "warn"),
}
SHOWN: dict[str, str] = {
    "attention": N_("需要查看"),
    **{str(state): text for state, (text, _) in STATES.items()},
    "all": N_("全部"),
}
LINK_STATES = {
    "open": (N_("已连接"), "good"),
    "listening": (N_("等待连接"), "info"),
    "connecting": (N_("正在连接"), "warn"),
    "closed": (N_("已断开"), "warn"),
    "failed": (N_("故障"), "bad"),
}
KINDS = {
    "observation": N_("结果"),
    "qc": N_("质控"),
    "host_query": N_("查询"),
    "unanswered": N_("未应答标本"),
    "event": N_("事件"),
    "reading": N_("环境读数"),
    "specimen_event": N_("流水线事件"),
    "undecoded": N_("未能解码"),
}
OUTCOMES = {
    "matched": N_("新结果"),
    "after_release": N_("报告发布后的新值"),
    "unmatched": N_("未匹配"),
    "qc": N_("质控"),
    "resent": N_("仪器重发"),
    "queries": N_("查询"),
    "unanswered": N_("未应答标本"),
    "events": N_("事件"),
    "undecoded": N_("未能解码"),
    "attachments": N_("图形"),
    "readings": N_("环境读数"),
    "line_events": N_("流水线事件"),
    "unknown_tubes": N_("未知试管"),
}


@router.get("")
def gateways_page(request: Request, session: Transaction, staff: Reader) -> Response:
    """Every box with its links; refreshed live."""
    return render(request, "gateways/gateways.html", _boxes(session))


@router.get("/boxes")
def boxes_part(request: Request, session: Transaction, staff: Reader) -> Response:
    """The part of the page that changes."""
    return render(request, "gateways/boxes.html", _boxes(session))


def _boxes(session: Transaction) -> dict[str, object]:
    return {
        "boxes": overview.boxes(session),
        "leases": overview.leases(session),
        "payloads": overview.quarantined(session),
        "link_states": LINK_STATES,
        "silences": silence.unacknowledged(session),
    }


@router.post("/{gateway_id}/rollback-handled")
def rollback_handled(session: Transaction, staff: Engineer, gateway_id: str) -> Response:
    service.rollback_handled(session, gateway_id, by=staff.actor)
    return RedirectResponse(PAGE, status_code=303)


@router.get("/gap")
def gap_page(request: Request, session: Transaction, staff: Engineer, gateway: str, epoch: str, link: str) -> Response:
    """The gap that a link stands at, and the form that declares it lost: a page of its own, it must not change live."""
    gap = session.get(LinkCursor, (gateway, epoch, link))
    if gap is None or gap.gap_first is None:
        raise NotFound("gateway.no_gap", N_("这条线路现在没有缺口。"))
    return render(request, "gateways/gap.html", {"gap": gap})


@router.post("/lost")
def declare_lost(
    session: Transaction,
    staff: Engineer,
    gateway: Annotated[str, Form()],
    epoch: Annotated[str, Form()],
    link: Annotated[str, Form()],
    first: Annotated[int, Form()],
    last: Annotated[int, Form()],
    reason: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """The gap of a link will never be filled; the link goes on behind it."""
    service.declare_lost(
        session, gateway=gateway, epoch=epoch, link=link, first=first, last=last, by=staff.actor, reason=reason
    )
    return RedirectResponse(PAGE, status_code=303)


@router.get("/messages")
def messages_page(
    request: Request,
    session: Transaction,
    staff: Reader,
    show: str = "attention",
    gateway: str = "",
    link: str = "",
    page: int = 1,
) -> Response:
    """Messages by filter; those that need a person first."""
    wanted = MessageFilter(show if show in SHOWN else "attention", gateway, link, max(page, 1))
    found, total = overview.messages(session, wanted)
    context = {
        "found": found,
        "total": total,
        "pages": -(-total // overview.PAGE_SIZE),
        "wanted": wanted,
        "filters": SHOWN,
        "states": STATES,
        "boxes": overview.boxes(session),
        "payloads": overview.quarantined(session, all_of_them=wanted.show == "all"),
    }
    return render(request, "gateways/messages.html", context)


@router.get("/messages/{inbox_id}")
def message_page(request: Request, session: Transaction, staff: Reader, inbox_id: uuid.UUID) -> Response:
    """One message: the bytes beside what the driver made of them. Content only for who may read results."""
    found = overview.message(session, inbox_id)
    if found is None:
        raise NotFound("gateway.message_unknown", N_("没有这条消息。"))
    readable = staff.may("result.read")
    context = {
        "message": found,
        "set_aside": service.may_be_accepted(found),
        "readable": readable,
        "raw": shown(found.raw, found.charset) if readable else "",
        "length": len(found.raw),
        "lines": overview.item_lines(found.items) if readable else [],
        "states": STATES,
        "kinds": KINDS,
        "outcomes": OUTCOMES,
        "readings": redecode.of_message(session, inbox_id),
        "reading_states": redecode.FATES,
    }
    return render(request, "gateways/message.html", context)


@router.post("/messages/{inbox_id}/again")
def apply_again(session: Transaction, staff: Engineer, inbox_id: uuid.UUID) -> Response:
    """The cause is cured: once more."""
    service.apply_again(session, inbox_id, by=staff.actor)
    return RedirectResponse(f"{PAGE}/messages/{inbox_id}", status_code=303)


@router.post("/messages/{inbox_id}/accept")
def accept_message(session: Transaction, staff: Reviewer, inbox_id: uuid.UUID) -> Response:
    """Who may judge results has read what was set aside, and it is new."""
    service.accept(session, inbox_id, by=staff.actor)
    return RedirectResponse(f"{PAGE}/messages/{inbox_id}", status_code=303)


@router.post("/messages/{inbox_id}/handled")
def message_handled(session: Transaction, staff: Reader, inbox_id: uuid.UUID) -> Response:
    found = overview.message(session, inbox_id)
    if found is None:
        raise NotFound("gateway.message_unknown", N_("没有这条消息。"))
    service.handle(session, found, by=staff.actor)
    return RedirectResponse(f"{PAGE}/messages", status_code=303)


@router.get("/payloads/{payload_id}")
def payload_page(request: Request, session: Transaction, staff: Reader, payload_id: uuid.UUID) -> Response:
    """A payload that was no message of a known box."""
    found = _payload(session, payload_id)
    readable = staff.may("result.read")
    context = {"payload": found, "readable": readable, "raw": shown(found.payload) if readable else ""}
    return render(request, "gateways/payload.html", context)


@router.post("/payloads/{payload_id}/handled")
def payload_handled(session: Transaction, staff: Reader, payload_id: uuid.UUID) -> Response:
    service.handle(session, _payload(session, payload_id), by=staff.actor)
    return RedirectResponse(f"{PAGE}/messages", status_code=303)


def _payload(session: Transaction, payload_id: uuid.UUID) -> Quarantine:
    found = session.get(Quarantine, payload_id)
    if found is None:
        raise NotFound("gateway.payload_unknown", N_("没有这条记录。"))
    return found
