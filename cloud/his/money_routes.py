"""The pages of what the HIS was told of money: by day, its books beside the ledger, and each line that is not alike."""

from __future__ import annotations

import uuid
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy import select
from starlette.responses import RedirectResponse, Response

from cloud.config import settings
from cloud.his import differences, reconciling
from cloud.his.model import HisMoneyDay, HisMoneyDifference, OutgoingState
from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.kit.jobs import enqueue
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.staff.naming import names_of
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/his/money"
SPAN = 14
router = APIRouter(prefix=PAGE)

Reader = Annotated[CurrentStaff, Depends(require("money.read"))]
Accountant = Annotated[CurrentStaff, Depends(require("money.reconcile"))]
Reason = Annotated[str, Form(max_length=200)]

navigation.add(N_("HIS 对账"), PAGE, permission="money.read", group=N_("收费"), position=665, key="g H")
worklist.add(
    N_("HIS 对账差异待处理"),
    N_("HIS 的账与本院账本不一致的流水"),
    PAGE,
    permission="money.read",
    position=665,
    count=differences.open_count,
    urgent=True,
)

DIFFERENCES = {
    differences.MISSING: (N_("HIS 没有入账"), "bad"),
    differences.AMOUNT: (N_("金额不同"), "bad"),
    differences.STRANGE: (N_("本院没有这一笔"), "bad"),
    differences.OTHER_DAY: (N_("HIS 记在另一天"), "warn"),
}
REPORTS = {
    None: (N_("尚未报送"), "warn"),
    OutgoingState.WAITING: (N_("等待发送"), "info"),
    OutgoingState.ACCEPTED: (N_("HIS 已接收"), "good"),
    OutgoingState.REFUSED: (N_("HIS 拒收"), "bad"),
    OutgoingState.PARKED: (N_("HIS 不应答，已搁置"), "bad"),
}


@router.get("")
def money_days(request: Request, session: Transaction, staff: Reader, until: str = "") -> Response:
    """Two weeks, newest first."""
    today = clock.today()
    last = min(clock.typed_day(until) or today, today)
    found = reconciling.days(session, until=last, count=SPAN)
    context = {
        "found": found,
        "open": differences.open_of_days(session, [each.day for each in found]),
        "connected": settings().his_host,
        "last": last,
        "today": today,
        "earlier": last - timedelta(days=SPAN),
    }
    return render(request, "his/money.html", context)


@router.get("/{day}")
def money_day(request: Request, session: Transaction, staff: Reader, day: str) -> Response:
    """One day, line by line where something is not alike or not acknowledged."""
    wanted = _day(day)
    ours = reconciling.ledger_of(session, wanted)
    rows = reconciling.days(session, until=wanted, count=1)
    tickets = differences.of_day(session, wanted)
    numbers = [each.number for each in tickets]
    context = {
        "tickets": tickets,
        "payments": reconciling.payments_of(session, numbers),
        "names": names_of(session, [each.closed_by for each in tickets]),
        "day": wanted,
        "row": rows[0] if rows else None,
        "books": session.scalar(select(HisMoneyDay).where(HisMoneyDay.day == wanted)),
        "unacknowledged": [each for each in ours if each.state != OutgoingState.ACCEPTED],
        "differences": DIFFERENCES,
        "reports": REPORTS,
        "connected": settings().his_host,
    }
    return render(request, "his/money_day.html", context)


@router.post("/{day}/read")
def read_now(session: Transaction, staff: Accountant, day: str) -> Response:
    """Ask the HIS for its books of the day; the page hears when they are there."""
    enqueue(session, "his.read_day", day=_day(day).isoformat())
    return RedirectResponse(f"{PAGE}/{day}", status_code=303)


@router.post("/{day}/again")
def tell_again(session: Transaction, staff: Accountant, day: str) -> Response:
    """What the HIS refused or has not booked goes out once more, under its own numbers."""
    reconciling.tell_again(session, _day(day), by=staff.actor)
    return RedirectResponse(f"{PAGE}/{day}", status_code=303)


@router.post("/differences/{difference_id}/close/now")
def close(session: Transaction, staff: Accountant, difference_id: uuid.UUID, reason: Reason = "") -> Response:
    """What it was is known; nothing is booked by it."""
    found = session.get(HisMoneyDifference, difference_id)
    if found is None:
        raise NotFound("difference.unknown", N_("没有这条差异。"))
    differences.close(session, difference_id, by=staff.actor, why=reason)
    return RedirectResponse(f"{PAGE}/{found.day}", status_code=303)


def _day(text: str) -> date:
    day = clock.typed_day(text)
    if day is None:
        raise NotFound("his.money_day", N_("没有这一天。"))
    return day
