"""Pages of authority: the matrix of a day with its export, the grants with granting and revoking, and the decision."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid, XinglinError
from cloud.lis.authority import export, reading, service
from cloud.lis.authority.words import ACTS, SCOPES, STANDINGS
from cloud.lis.catalog.model import Panel, Test
from cloud.lis.catalog.words import SECTIONS
from cloud.staff import worklist
from cloud.staff.access import CurrentStaff, require
from cloud.staff.model import StaffAccount
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/lis/authority"
GRANTS = f"{PAGE}/grants"
USUAL_DAYS = 365
router = APIRouter(prefix=PAGE)

Reader = Annotated[CurrentStaff, Depends(require("authority.read"))]
Granter = Annotated[CurrentStaff, Depends(require("authority.grant"))]
Text = Annotated[str, Form(max_length=200)]

navigation.add(N_("人员授权"), PAGE, permission="authority.read", group=N_("检验设置"), position=440, key="g z")
worklist.add(
    N_("授权即将到期"),
    N_("30 天内到期、尚未续期的人员授权"),
    GRANTS,
    permission="authority.grant",
    position=440,
    count=reading.ending_count,
)


@router.get("")
def matrix_page(request: Request, session: Transaction, staff: Reader, day: str = "", test: str = "") -> Response:
    """Who may do what on a day: to all tests, or to one."""
    on, code = clock.typed_day(day) or clock.today(), _known(session, test)
    context = {
        "day": on,
        "today": clock.today(),
        "test": code,
        "asked": test.strip(),
        "rows": reading.matrix(session, on, code),
        "policies": reading.policies(session, reading.moment_of(on).at),
        **_words(session),
    }
    return render(request, "lis/authority/matrix.html", context)


@router.get("/export.csv")
def matrix_export(session: Transaction, staff: Reader, day: str = "", test: str = "") -> Response:
    on = clock.typed_day(day) or clock.today()
    made = export.matrix_csv(session, on, _known(session, test))
    headers = {"Content-Disposition": f'attachment; filename="authority-{on.isoformat()}.csv"'}
    return Response(made, media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/grants")
def grants_page(request: Request, session: Transaction, staff: Reader, person: str = "") -> Response:
    return _grants(request, session, _id(person))


@router.post("/grants")
def give(
    request: Request,
    session: Transaction,
    staff: Granter,
    person: Annotated[str, Form()] = "",
    act: Annotated[list[str] | None, Form()] = None,
    scope: Text = "",
    section: Annotated[list[str] | None, Form()] = None,
    codes: Annotated[str, Form(max_length=2000)] = "",
    valid_from: Text = "",
    valid_to: Text = "",
    reason: Text = "",
) -> Response:
    """Codes of tests or panels are typed with blanks, commas or lines between them."""
    wanted = (section or []) if scope == "section" else codes.replace(",", " ").replace("，", " ").split()
    chosen = _id(person)
    typed = {
        "person": person,
        "act": act or [],
        "scope": scope,
        "section": section or [],
        "codes": codes,
        "valid_from": valid_from,
        "valid_to": valid_to,
        "reason": reason,
    }

    def verb() -> object:
        return service.give(
            session,
            staff_id=chosen or uuid.UUID(int=0),
            acts=act or [],
            scope=scope,
            targets=wanted,
            valid_from=_date(valid_from),
            valid_to=_date(valid_to) if valid_to else None,
            reason=reason,
            by=staff,
        )

    return _act(request, session, verb, f"{GRANTS}?person={chosen or ''}", None, typed)


@router.post("/grants/{grant_id}/revoke")
def revoke(
    request: Request, session: Transaction, staff: Granter, grant_id: uuid.UUID, reason: Text = "", person: Text = ""
) -> Response:
    chosen = _id(person)
    return _act(
        request,
        session,
        lambda: service.revoke(session, grant_id, by=staff, reason=reason),
        f"{GRANTS}?person={chosen or ''}",
        chosen,
    )


@router.post("/policy")
def policy(
    request: Request,
    session: Transaction,
    staff: Granter,
    value: Annotated[bool, Form()],
    act: Text = "",
    reason: Text = "",
) -> Response:
    """Whether an act (empty: every act) needs a grant."""
    return _act(
        request,
        session,
        lambda: service.set_enforced(session, act=act, value=value, by=staff, reason=reason),
        GRANTS,
        None,
    )


def _act(
    request: Request,
    session: Session,
    verb: Callable[[], object],
    onwards: str,
    person: uuid.UUID | None,
    typed: dict[str, Any] | None = None,
) -> Response:
    try:
        with session.begin_nested():
            verb()
    except XinglinError as refusal:
        session.expire_all()
        return _grants(request, session, person, refusal, typed)
    return RedirectResponse(onwards, status_code=303)


def _grants(
    request: Request,
    session: Session,
    person: uuid.UUID | None,
    refusal: XinglinError | None = None,
    typed: dict[str, Any] | None = None,
) -> Response:
    today = clock.today()
    blank = {
        "person": str(person or ""),
        "act": [],
        "scope": "section",
        "section": [],
        "codes": "",
        "valid_from": today.isoformat(),
        "valid_to": (today + timedelta(days=USUAL_DAYS - 1)).isoformat(),
        "reason": "",
    }
    context = {
        "listed": reading.listed(session, person),
        "ending": reading.ending(session, staff_id=person),
        "people": session.scalars(
            select(StaffAccount).where(StaffAccount.active).order_by(StaffAccount.name, StaffAccount.login)
        ).all(),
        "person": person,
        "typed": typed or blank,
        "policies": reading.policies(session),
        "warn_days": reading.WARN_DAYS,
        "problem": message_of(refusal) if refusal else "",
        "problem_code": refusal.code if refusal else "",
        **_words(session),
    }
    return render(request, "lis/authority/grants.html", context, refusal.status if refusal else 200)


def _words(session: Session) -> dict[str, Any]:
    tests = {row[0]: row[1] for row in session.execute(select(Test.code, Test.name))}
    panels = {row[0]: row[1] for row in session.execute(select(Panel.code, Panel.name))}
    return {
        "acts": ACTS,
        "scopes": SCOPES,
        "standings": STANDINGS,
        "sections": SECTIONS,
        "tests": tests,
        "panels": panels,
    }


def _date(text: str) -> date:
    day = clock.typed_day(text)
    if day is None:
        raise Invalid("authority.date", N_("请按 年-月-日 填写日期。"))
    return day


def _known(session: Session, test: str) -> str:
    """The code of a test given by code or short name; nothing where there is none."""
    wanted = test.strip()
    if not wanted:
        return ""
    found = session.scalar(
        select(Test.code).where((Test.code == wanted) | (Test.short_name == wanted) | (Test.name == wanted)).limit(1)
    )
    return found or ""


def _id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
