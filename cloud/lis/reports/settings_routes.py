"""The director's decisions on review and disclosure: two persons for a section, when a critical report is given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid
from cloud.lis.catalog.words import SECTIONS
from cloud.lis.reports import service
from cloud.lis.reports.model import DisclosurePolicy
from cloud.lis.results.attempt import attempt
from cloud.lis.results.model import ReviewPolicy
from cloud.lis.results.release import set_two_persons, two_persons
from cloud.staff.access import CurrentStaff, require
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/settings"
LONGEST_MINUTES = 30 * 24 * 60
router = APIRouter(prefix=PAGE)
navigation.add(N_("审核与告知规则"), PAGE, permission="catalog.approve", group=N_("检验设置"), position=430, key="g V")

Director = Annotated[CurrentStaff, Depends(require("catalog.approve"))]
Reason = Annotated[str, Form(max_length=200)]


@router.get("")
def page(request: Request, session: Transaction, staff: Director) -> Response:
    return _page(request, session)


@router.post("/two-persons")
def change_two_persons(
    request: Request,
    session: Transaction,
    staff: Director,
    value: Annotated[bool, Form()],
    section: Annotated[str, Form()] = "",
    test: Annotated[str, Form(max_length=32)] = "",
    day: Annotated[str, Form(max_length=10)] = "",
    reason: Reason = "",
) -> Response:
    """From now (or the beginning of `day`) on: whoever reviewed a result of the section or test may (not)
    release it.
    """
    return _act(request, session, lambda: _set_two_persons(session, staff, section, test.strip(), day, value, reason))


def _set_two_persons(
    session: Session, staff: CurrentStaff, section: str, test: str, day: str, value: bool, reason: str
) -> None:
    if not test and section not in SECTIONS:
        raise Invalid("settings.section", N_("没有这个专业组。"))
    set_two_persons(
        session,
        section=section,
        test_code=test,
        value=value,
        by=staff.actor,
        reason=reason,
        valid_from=_beginning(day) if day else None,
    )


def _beginning(day: str) -> datetime:
    """When a civil day of the hospital begins; not before today."""
    wanted = clock.typed_day(day)
    if wanted is None:
        raise Invalid("settings.day", N_("请按 年-月-日 填写日期。"))
    if wanted < clock.today():
        raise Invalid("settings.past", N_("生效日期不能早于今天。"))
    return max(clock.day_begins(wanted), clock.now())


@router.post("/disclosure")
def change_disclosure(
    request: Request,
    session: Transaction,
    staff: Director,
    minutes: Annotated[str, Form(max_length=10)] = "",
    reason: Reason = "",
) -> Response:
    """How long after release a critical report that nobody read back is given to the patient; empty: it waits."""
    return _act(request, session, lambda: _set_limits(session, staff, minutes.strip(), reason))


def _set_limits(session: Session, staff: CurrentStaff, minutes: str, reason: str) -> None:
    if minutes and not (minutes.isascii() and minutes.isdigit() and 1 <= int(minutes) <= LONGEST_MINUTES):
        raise Invalid("settings.minutes", N_("请填写 1 到 43200 之间的整数分钟，或留空表示一直等待复述。"))
    after = int(minutes) if minutes else None
    service.set_limits(session, critical_after_minutes=after, by=staff.actor, reason=reason)


def _act(request: Request, session: Session, verb: Callable[[], None]) -> Response:
    _, refusal = attempt(session, verb)
    if refusal is not None:
        return _page(request, session, message_of(refusal), refusal.status)
    return RedirectResponse(PAGE, status_code=303)


def _page(request: Request, session: Session, problem: str = "", status: int = 200) -> Response:
    newest = select(ReviewPolicy).order_by(ReviewPolicy.valid_from.desc()).limit(100)
    limits = select(DisclosurePolicy).order_by(DisclosurePolicy.valid_from.desc()).limit(20)
    decided: dict[str, ReviewPolicy] = {}
    rows = session.scalars(newest).all()
    for row in rows:
        if not row.test_code and row.valid_from <= clock.now():
            decided.setdefault(row.section, row)
    context = {
        "sections": [(code, name, two_persons(session, code), decided.get(code)) for code, name in SECTIONS.items()],
        "single": [row for row in rows if row.test_code or row.valid_from > clock.now()],
        "section_names": SECTIONS,
        "today": clock.today(),
        "limits": list(session.scalars(limits)),
        "problem": problem,
    }
    return render(request, "lis/reports/settings.html", context, status)
