"""The statement for the hospital: by day, channel and purpose; as a page, on paper and for a spreadsheet."""

from __future__ import annotations

from datetime import date, timedelta

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.db import Transaction
from cloud.payments import statements, wording
from cloud.payments.payment_routes import Reader
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/payments/statement"
router = APIRouter(prefix=PAGE, include_in_schema=False)
navigation.add(N_("收费日报"), PAGE, permission="money.read", group=N_("收费"), position=670, key="g E")


def _span(first: str, last: str) -> tuple[date, date]:
    """The days asked for, in order and at most a year; without them this month."""
    until = clock.typed_day(last) or clock.today()
    since = clock.typed_day(first) or until.replace(day=1)
    since, until = min(since, until), max(since, until)
    return max(since, until - statements.LONGEST), until


@router.get("")
def page(request: Request, session: Transaction, staff: Reader, first: str = "", last: str = "") -> Response:
    since, until = _span(first, last)
    found = statements.lines(session, first=since, last=until)
    context = {
        "lines": found,
        "sums": statements.by_channel(found),
        "total": statements.summed(found),
        "first": since,
        "last": until,
        "yesterday": clock.today() - timedelta(days=1),
        "today": clock.today(),
        "words": wording,
    }
    return render(request, "payments/statement.html", context)


@router.get("/export.csv")
def export(session: Transaction, staff: Reader, first: str = "", last: str = "") -> Response:
    since, until = _span(first, last)
    content = statements.as_csv(statements.lines(session, first=since, last=until))
    record(
        session,
        actor=staff.actor,
        action="statement.export",
        aggregate=("statement", f"{since}..{until}"),
    )
    headers = {
        "Content-Disposition": f'attachment; filename="statement-{since}-{until}.csv"',
        "Cache-Control": "no-store",
    }
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)
