"""The machine's own screen: let in by a code, scan, confirm where typed, print, gone."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import NotFound, Unauthenticated, XinglinError
from cloud.lis.kiosk import machines, offering, setup_routes, visits
from cloud.lis.kiosk.model import Kiosk, KioskVisit
from cloud.lis.kiosk.offering import State
from cloud.lis.printing import printers
from cloud.people import service as people
from cloud.people.access import display_name
from cloud.web import rate
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of
from cloud.web.sessions import address_of, find_session, open_session

router = APIRouter(include_in_schema=False)
pages = APIRouter(prefix="/kiosk")
HOME = "/kiosk"
ENROLMENTS_AT_MOST = 10

SAID = {
    "unknown": N_("没有找到。请核对后再扫一次，或到窗口咨询。"),
    "over": N_("操作已结束，请重新扫描。"),
    "wrong": N_("号码不符，操作已结束。请扫描就诊卡或到窗口打印。"),
    "locked": N_("查询过于频繁，请稍候或到窗口打印。"),
    "no_phone": N_("档案中没有登记手机号，请扫描就诊卡或到窗口打印。"),
}


def _kiosk(session: Session, request: Request) -> Kiosk:
    opened = find_session(session, request, realm=machines.REALM)
    kiosk = None if opened is None else session.get(Kiosk, opened.subject_id, populate_existing=True)
    if kiosk is None or kiosk.retired_at is not None:
        raise Unauthenticated("kiosk.not_enrolled", N_("这台自助机没有登记。"))
    machines.seen(session, kiosk)
    return kiosk


@pages.get("")
def home(request: Request, session: Transaction, said: str = "") -> Response:
    """Waits for the next patient; whoever was here is gone. A machine nobody let in asks for its code."""
    try:
        kiosk = _kiosk(session, request)
    except Unauthenticated:
        return render(request, "lis/kiosk/enrol.html", {"problem": ""})
    visits.leave(session, kiosk)
    context = {"kiosk": kiosk, "said": _(SAID[said]) if said in SAID else "", "trouble": _trouble(session, kiosk)}
    return render(request, "lis/kiosk/home.html", context)


def _trouble(session: Session, kiosk: Kiosk) -> bool:
    """Whether its printer cannot print now."""
    printer = printers.by_id(session, kiosk.printer_id)
    return printer.retired_at is not None or printer.paused or printers.away(printer)


@pages.post("/enrol")
def enrol(request: Request, code: Annotated[str, Form(max_length=20)] = "") -> Response:
    """By the code from the page of self-service machines. Tries are counted by address."""
    problem = _("代码不对或已过期，请在管理页面重新生成。")
    try:
        with begin() as session:
            rate.count(
                session,
                act="kiosk.enrol",
                subject=address_of(request),
                at_most=ENROLMENTS_AT_MOST,
                within=machines.CODE_FOR,
            )
        with begin() as session:
            kiosk = machines.enrol(session, code)
            if kiosk is not None:
                response = RedirectResponse(HOME, status_code=303)
                open_session(
                    session, request, response, realm=machines.REALM, subject_id=kiosk.id, lasts=machines.KNOWN_FOR
                )
                return response
    except XinglinError as refusal:
        problem = message_of(refusal)
    return render(request, "lis/kiosk/enrol.html", {"problem": problem}, 422)


@pages.post("/scan")
def scan(
    request: Request, code: Annotated[str, Form(max_length=100)] = "", typed: Annotated[bool, Form()] = False
) -> Response:
    """What was scanned, or typed on the screen. Counting is committed whatever comes of it."""
    said = "unknown"
    with begin() as session:
        kiosk = _kiosk_or_none(session, request)
    if kiosk is None:
        return RedirectResponse(HOME, status_code=303)
    try:
        with begin() as session:
            visits.check_open(session, kiosk)
        with begin() as session:
            visit = visits.look(session, kiosk, code, typed=typed)
            if visit is None:
                visits.count_miss(session, kiosk)
            else:
                return RedirectResponse(f"{HOME}/visits/{visit.id}", status_code=303)
    except XinglinError:
        said = "locked"
    return RedirectResponse(f"{HOME}?said={said}", status_code=303)


def _kiosk_or_none(session: Session, request: Request) -> Kiosk | None:
    try:
        return _kiosk(session, request)
    except Unauthenticated:
        return None


@pages.get("/visits/{visit_id}")
def visit_page(request: Request, session: Transaction, visit_id: uuid.UUID) -> Response:
    """The patient's list, or the question for the telephone's last digits."""
    try:
        kiosk = _kiosk(session, request)
        visit = visits.open_visit(session, kiosk, visit_id)
    except (Unauthenticated, NotFound):
        return _over(request)
    return _visit(request, session, kiosk, visit)


def _over(request: Request, said: str = "over") -> Response:
    """Back to the beginning, also where only a part of the page was asked for."""
    address = f"{HOME}?said={said}"
    if request.headers.get("hx-request") is not None:
        return Response(status_code=200, headers={"HX-Redirect": address})
    return RedirectResponse(address, status_code=303)


def _visit(
    request: Request, session: Session, kiosk: Kiosk, visit: KioskVisit, problem: str = "", status: int = 200
) -> Response:
    context = {
        "kiosk": kiosk,
        "visit": visit,
        "left_s": max(1, int((visit.expires_at - clock.now()).total_seconds())),
        "problem": problem,
    }
    if not visit.confirmed:
        return render(request, "lis/kiosk/confirm.html", context, status)
    offers = offering.offers(session, kiosk, visit)
    count = {each: sum(offer.state == each for offer in offers) for each in State}
    context |= {
        "name": display_name(people.get(session, visit.person_id).name),
        "offers": offers,
        "ready": count[State.READY],
        "printing": count[State.PRINTING],
        "trouble": _trouble(session, kiosk),
        "today": clock.today(),
        "kiosk_now": clock.now(),
        "local": clock.local,
    }
    part = request.headers.get("hx-request") is not None
    return render(request, f"lis/kiosk/{'visit_body' if part else 'visit'}.html", context, status)


@pages.post("/visits/{visit_id}/confirm")
def confirm(request: Request, visit_id: uuid.UUID, digits: Annotated[str, Form(max_length=12)] = "") -> Response:
    """The last four digits of the telephone on file; the third wrong answer ends it."""
    try:
        with begin() as session:
            kiosk = _kiosk(session, request)
            visit = visits.open_visit(session, kiosk, visit_id)
            right = visits.confirm(session, kiosk, visit, digits)
        if right:
            return RedirectResponse(f"{HOME}/visits/{visit_id}", status_code=303)
        with begin() as session:
            visit = visits.open_visit(session, kiosk, visit_id)
            return _visit(request, session, kiosk, visit, _("号码不符，请再试一次。"), 422)
    except (Unauthenticated, NotFound):
        return _over(request, "wrong")
    except XinglinError:
        return _over(request, "no_phone")


@pages.post("/visits/{visit_id}/print")
def print_visit(request: Request, session: Transaction, visit_id: uuid.UUID) -> Response:
    """All that is ready, each version once."""
    try:
        kiosk = _kiosk(session, request)
        visit = visits.open_visit(session, kiosk, visit_id)
    except (Unauthenticated, NotFound):
        return _over(request)
    if visit.confirmed and not _trouble(session, kiosk):
        offering.print_ready(session, kiosk, visit)
    return RedirectResponse(f"{HOME}/visits/{visit_id}", status_code=303)


router.include_router(pages)
router.include_router(setup_routes.router)
