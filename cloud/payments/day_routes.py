"""Day by day against the channels' bills: read, look at the differences, close each with a reason, close the day."""

from __future__ import annotations

import uuid
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Form
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import Conflict, NotFound, Unavailable
from cloud.payments import channels, days, reconciling, wording
from cloud.payments.contract import Refused, Unknown
from cloud.payments.model import BillDay, BillDifference, Payment
from cloud.payments.payment_routes import Accountant, Reader
from cloud.staff import worklist
from cloud.staff.naming import names_of
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/payments/days"
SHOWN_DAYS = 31
router = APIRouter(prefix=PAGE, include_in_schema=False)
Reason = Annotated[str, Form(max_length=200)]

navigation.add(N_("渠道对账"), PAGE, permission="money.read", group=N_("收费"), position=660, key="g A")
worklist.add(
    N_("对账差异待处理"),
    N_("渠道账单与本院账目不一致"),
    PAGE,
    permission="money.reconcile",
    position=660,
    count=lambda session: len(reconciling.open_differences(session)),
    urgent=True,
)


@router.get("")
def listed(request: Request, session: Transaction, staff: Reader, until: str = "") -> Response:
    last = clock.typed_day(until) or clock.today()
    first = last - timedelta(days=SHOWN_DAYS - 1)
    found = days.listed(session, channels.offered(), first=first, last=last)
    context = {
        "found": found,
        "first": first,
        "last": last,
        "earlier": first - timedelta(days=1),
        "today": clock.today(),
        "words": wording,
        "names": names_of(session, [each.bill.closed_by for each in found if each.bill]),
    }
    return render(request, "payments/days.html", context)


@router.get("/{channel}/{day}")
def one(request: Request, session: Transaction, staff: Reader, channel: str, day: date) -> Response:
    _known(channel)
    found = next(iter(days.listed(session, [channel], first=day, last=day)), days.Day(channel, day, None, 0, 0))
    differences = session.scalars(
        select(BillDifference)
        .where(BillDifference.channel == channel, BillDifference.day == day)
        .order_by(BillDifference.closed_at.is_not(None), BillDifference.number)
    ).all()
    numbers = [each.number for each in differences]
    context = {
        "found": found,
        "bill": session.scalar(select(BillDay).where(BillDay.channel == channel, BillDay.day == day)),
        "differences": differences,
        "payments": {
            row.number: row.id
            for row in session.execute(select(Payment.number, Payment.id).where(Payment.number.in_(numbers)))
        },
        "words": wording,
        "names": names_of(session, [each.closed_by for each in differences]),
        "base": f"{PAGE}/{channel}/{day}",
        "is_over": day < clock.today(),
    }
    return render(request, "payments/day.html", context)


@router.post("/{channel}/{day}/read")
def read(staff: Accountant, channel: str, day: date) -> Response:
    """Fetch the bill (again); over the network, with no transaction open."""
    _known(channel)
    try:
        outcome = days.read(begin, channel, day)
    except Unknown as unknown:
        raise Unavailable("bill.no_answer", N_("支付渠道没有应答，请稍后再读。")) from unknown
    except Refused as refused:
        raise Conflict("bill.refused", N_("渠道没有给出完整的账单，没有记账，请稍后再读。")) from refused
    if outcome is None:
        raise Conflict("bill.not_ready", N_("渠道的账单还没有生成，通常次日上午 10 时后可读。"))
    return RedirectResponse(f"{PAGE}/{channel}/{day}", status_code=303)


@router.post("/{channel}/{day}/close")
def close(session: Transaction, staff: Accountant, channel: str, day: date) -> Response:
    if day >= clock.today():
        raise Conflict("bill_day.not_over", N_("当天还没有结束，不能关账。"))
    days.close(session, channel, day, by=staff.actor)
    return RedirectResponse(f"{PAGE}/{channel}/{day}", status_code=303)


@router.post("/{channel}/{day}/reopen")
def reopen(session: Transaction, staff: Accountant, channel: str, day: date, reason: Reason = "") -> Response:
    days.reopen(session, channel, day, by=staff.actor, why=reason)
    return RedirectResponse(f"{PAGE}/{channel}/{day}", status_code=303)


@router.post("/differences/{difference_id}/close/now")
def close_difference(
    session: Transaction, staff: Accountant, difference_id: uuid.UUID, reason: Reason = ""
) -> Response:
    found = session.get(BillDifference, difference_id)
    if found is None:
        raise NotFound("difference.unknown", N_("没有这条差异。"))
    reconciling.close(session, difference_id, by=staff.actor, why=reason)
    return RedirectResponse(f"{PAGE}/{found.channel}/{found.day}", status_code=303)


def _known(channel: str) -> None:
    if channel not in channels.offered():
        raise NotFound("payment.no_channel", N_("本院没有这个支付渠道。"))
