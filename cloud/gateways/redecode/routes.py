"""Pages of reading stored messages anew: ask, look at what differs, a second person decides, reports to amend."""

from __future__ import annotations

import uuid
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.gateways import overview as boxes
from cloud.gateways.model import InboxMessage
from cloud.gateways.redecode import overview, reading, service
from cloud.gateways.redecode.model import Redecode, Which
from cloud.gateways.redecode.service import Wanted
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import Forbidden, Invalid, NotFound, XinglinError
from cloud.lis.results.attempt import attempt
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of
from protocols.driver import discover

PAGE = "/staff/gateways/redecode"
router = APIRouter(prefix=PAGE)

Reader = Annotated[CurrentStaff, Depends(require("gateway.read"))]
Approver = Annotated[CurrentStaff, Depends(require(service.APPROVES))]
Amender = Annotated[CurrentStaff, Depends(require(service.AMENDS))]
Reason = Annotated[str, Form(max_length=500)]

VERDICTS = {"approve": service.approve, "refuse": service.refuse}

navigation.add(N_("重新解码"), PAGE, permission="gateway.read", group=N_("系统"), position=815, key="g d")
worklist.add(
    N_("重新解码待批准"),
    N_("新驱动读出的差异，由申请人以外的人核对"),
    PAGE,
    permission=service.APPROVES,
    position=297,
    count=service.to_decide,
    topic="gateways",
)
worklist.add(
    N_("重新解码后待修正的报告"),
    N_("已发布的结果与新驱动读出的不同"),
    f"{PAGE}/amendments",
    permission=service.AMENDS,
    position=298,
    count=service.to_amend,
    topic="gateways",
    urgent=True,
)


def may_ask(staff: CurrentStaff) -> bool:
    return any(staff.may(each) for each in service.ASKS)


def _asker(staff: Reader) -> CurrentStaff:
    if not may_ask(staff):
        raise Forbidden("forbidden", N_("您没有这项操作的权限，请联系管理员。"))
    return staff


Asker = Annotated[CurrentStaff, Depends(_asker)]


@router.get("")
def listing(request: Request, session: Transaction, staff: Reader) -> Response:
    return render(request, "gateways/redecode/list.html", _listing(session, staff))


@router.get("/part")
def listing_part(request: Request, session: Transaction, staff: Reader) -> Response:
    return render(request, "gateways/redecode/rows.html", _listing(session, staff))


def _listing(session: Transaction, staff: CurrentStaff) -> dict[str, Any]:
    return {
        "found": overview.listed(session),
        "states": overview.STATES,
        "which": overview.WHICH,
        "may_ask": may_ask(staff),
    }


@router.get("/new")
def ask_page(
    request: Request,
    session: Transaction,
    staff: Asker,
    gateway: str = "",
    link: str = "",
    message: uuid.UUID | None = None,
) -> Response:
    return _ask_form(request, session, {"gateway": gateway, "link": link}, message)


@router.post("/new")
def ask(
    request: Request,
    session: Transaction,
    staff: Asker,
    place: Annotated[str, Form(max_length=140)] = "",
    message: Annotated[str, Form(max_length=40)] = "",
    which: Annotated[str, Form(max_length=16)] = Which.ALL,
    driver: Annotated[str, Form(max_length=64)] = "",
    since: Annotated[str, Form(max_length=10)] = "",
    until: Annotated[str, Form(max_length=10)] = "",
    reason: Reason = "",
) -> Response:
    """`place` is box and link with a slash between them; `since` and `until` are civil days, both included."""
    found = _message(session, message)

    def verb() -> Redecode:
        return service.ask(session, _wanted(found, place, which, driver, since, until), by=staff, reason=reason)

    row, refusal = attempt(session, verb)
    if refusal is not None or row is None:
        gateway, _, link = place.partition("/")
        typed = {"gateway": gateway, "link": link, "which": which, "driver": driver, "since": since, "until": until}
        return _ask_form(request, session, typed, found.id if found else None, refusal, reason)
    return RedirectResponse(f"{PAGE}/{row.id}", status_code=303)


def _message(session: Transaction, text: str) -> InboxMessage | None:
    if not text:
        return None
    try:
        found = session.get(InboxMessage, uuid.UUID(text))
    except ValueError:
        found = None
    if found is None:
        raise NotFound("gateway.message_unknown", N_("没有这条消息。"))
    return found


def _wanted(found: InboxMessage | None, place: str, which: str, driver: str, since: str, until: str) -> Wanted:
    if found is not None:
        return Wanted(found.gateway, found.link, Which.ONE, driver, inbox_id=found.id)
    gateway, _, link = place.partition("/")
    if which not in set(Which) - {Which.ONE} or not link:
        raise Invalid("redecode.which", N_("请选择线路和要重新解码的消息。"))
    first, last = _day(since), _day(until)
    begins = clock.day_begins(first) if first else None
    ends = clock.day_begins(last + timedelta(days=1)) if last else None
    return Wanted(gateway, link, Which(which), driver, begins, ends)


def _day(text: str) -> date | None:
    day = clock.typed_day(text)
    if day is None and text.strip():
        raise Invalid("redecode.day", N_("日期请写成 2026-03-01 的样子。"))
    return day


def _ask_form(
    request: Request,
    session: Transaction,
    typed: dict[str, str],
    message_id: uuid.UUID | None,
    refusal: XinglinError | None = None,
    reason: str = "",
) -> Response:
    message = _message(session, str(message_id)) if message_id else None
    places = [(each.gateway, link) for each in boxes.boxes(session) for link in each.links]
    context = {
        "message": message,
        "places": sorted({f"{box.id}/{link.link}": f"{box.name} / {link.link}" for box, link in places}.items()),
        "driver_options": [("", _("现在的驱动")), *((each, each) for each in (reading.AUTO, *sorted(discover())))],
        "which_options": [(key, _(text)) for key, text in overview.WHICH.items() if key != Which.ONE],
        "typed": {"which": Which.ALL, "driver": "", "since": "", "until": "", **typed},
        "reason": reason,
        "problem": message_of(refusal) if refusal else "",
    }
    return render(request, "gateways/redecode/ask.html", context, refusal.status if refusal else 200)


@router.get("/amendments")
def amendments_page(request: Request, session: Transaction, staff: Amender) -> Response:
    """Released values that a new reading contradicts: no report changes by itself."""
    return render(request, "gateways/redecode/amendments.html", {"found": overview.amendments(session)})


@router.post("/amendments/{amendment_id}/dismiss")
def dismiss(session: Transaction, staff: Amender, amendment_id: uuid.UUID, reason: Reason = "") -> Response:
    service.dismiss(session, amendment_id, by=staff, reason=reason)
    return RedirectResponse(f"{PAGE}/amendments", status_code=303)


@router.get("/{redecode_id}")
def one(request: Request, session: Transaction, staff: Reader, redecode_id: uuid.UUID, page: int = 1) -> Response:
    return _one(request, session, staff, redecode_id, page)


@router.get("/{redecode_id}/part")
def one_part(request: Request, session: Transaction, staff: Reader, redecode_id: uuid.UUID, page: int = 1) -> Response:
    """All but the form of the decision, which must not change while somebody types."""
    return render(
        request, "gateways/redecode/one_part.html", _context(session, staff, redecode_id, page) | {"alone": True}
    )


def _one(
    request: Request,
    session: Transaction,
    staff: CurrentStaff,
    redecode_id: uuid.UUID,
    page: int,
    refusal: XinglinError | None = None,
) -> Response:
    context = _context(session, staff, redecode_id, page) | {"problem": message_of(refusal) if refusal else ""}
    return render(request, "gateways/redecode/one.html", context, refusal.status if refusal else 200)


def _context(session: Transaction, staff: CurrentStaff, redecode_id: uuid.UUID, page: int) -> dict[str, Any]:
    view = overview.view(session, redecode_id, page)
    return {
        "view": view,
        "alone": False,
        "readable": staff.may("result.read"),
        "mine": view.redecode.asked_by == staff.id,
        "approver": staff.may(service.APPROVES),
        "page": max(page, 1),
        "pages": -(-view.total // overview.PAGE_SIZE),
        "states": overview.STATES,
        "which": overview.WHICH,
        "fates": overview.FATES,
        "what": overview.WHAT,
    }


@router.post("/{redecode_id}/decide")
def decide(
    request: Request,
    session: Transaction,
    staff: Approver,
    redecode_id: uuid.UUID,
    verdict: Annotated[str, Form(max_length=10)] = "",
    reason: Reason = "",
) -> Response:
    """`verdict`: "approve" or "refuse"."""
    verb = VERDICTS.get(verdict)
    if verb is None:
        raise Invalid("redecode.verdict", N_("请选择批准或驳回。"))
    _done, refusal = attempt(session, lambda: verb(session, redecode_id, by=staff, reason=reason))
    if refusal is not None:
        return _one(request, session, staff, redecode_id, 1, refusal)
    return RedirectResponse(f"{PAGE}/{redecode_id}", status_code=303)
