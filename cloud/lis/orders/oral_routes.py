"""Oral requests that wait for their written confirmation."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.lis.orders import oral
from cloud.lis.orders.model import OralRequest, OralState, Order
from cloud.people import access
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.staff.model import StaffAccount
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/lis/orders/oral"
router = APIRouter(prefix="/oral")
Orderer = Annotated[CurrentStaff, Depends(require("order.place"))]
STATES = {
    OralState.OPEN: (N_("待补签"), "warn"),
    OralState.CONFIRMED: (N_("已补签"), "good"),
    OralState.REFUSED: (N_("医生否认"), "bad"),
}

navigation.add(N_("口头医嘱"), PAGE, permission="order.place", group=N_("标本"), position=112, key="g M")
worklist.add(
    N_("口头医嘱待补签"),
    N_("电话或口头申请，尚无书面确认"),
    PAGE,
    permission="order.place",
    position=112,
    count=oral.waiting_count,
    topic="orders",
)


@router.get("")
def requests(request: Request, session: Transaction, staff: Orderer) -> Response:
    """Open ones by their due time, then those closed last."""
    rows = session.execute(
        select(OralRequest, Order, Person, StaffAccount.name)
        .join(Order, Order.id == OralRequest.order_id)
        .join(Person, Person.id == Order.person_id)
        .outerjoin(StaffAccount, OralRequest.taken_by == "staff:" + StaffAccount.id.cast(OralRequest.taken_by.type))
        .where(Order.person_id.in_(visible_to(Subject.staff(staff))))
        .order_by(OralRequest.state != OralState.OPEN, OralRequest.due_at.nulls_last(), OralRequest.id.desc())
        .limit(100)
    ).all()
    context = {"rows": rows, "states": STATES, "now": clock.now()}
    return render(request, "lis/orders/oral.html", context)


@router.post("/{request_id}")
def close(
    session: Transaction,
    staff: Orderer,
    request_id: uuid.UUID,
    evidence: Annotated[str, Form(max_length=120)] = "",
    verdict: Annotated[str, Form(max_length=12)] = "confirmed",
) -> Response:
    closed = oral.close(session, request_id, by=staff.actor, confirmed=verdict == "confirmed", evidence=evidence)
    access.person(session, Subject.staff(staff), session.get_one(Order, closed.order_id).person_id)
    return RedirectResponse(PAGE, status_code=303)
