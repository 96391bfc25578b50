"""Sign-in, home page, live stream, own password."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from cloud.kit.db import Transaction, begin
from cloud.kit.errors import Invalid, XinglinError
from cloud.kit.live import Hub
from cloud.staff import account_routes, job_routes, scan, service, session_routes, trail_routes, worklist
from cloud.staff.access import SIGNED_IN_FOR, CurrentStaff, signed_in
from cloud.web import rate
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of, safe_next
from cloud.web.sessions import address_of, close_session, open_session

router = APIRouter()
pages = APIRouter(prefix="/staff")

SIGN_INS_PER_ADDRESS = 30
SIGN_IN_WINDOW = timedelta(minutes=5)
KEEP_ALIVE_S = 20
Person = Annotated[CurrentStaff, Depends(signed_in)]


@pages.get("/sign-in")
def sign_in_page(request: Request, next: str = "") -> Response:
    return render(request, "staff/sign_in.html", {"login": "", "next": safe_next(next, "/staff"), "problem": None})


@pages.post("/sign-in")
def sign_in(
    request: Request, login: Annotated[str, Form()], password: Annotated[str, Form()], next: Annotated[str, Form()] = ""
) -> Response:
    """The count of tries and of wrong passwords is committed whatever comes of it."""
    after = safe_next(next, "/staff")
    try:
        response = _try_sign_in(request, login, password, after)
    except XinglinError as refusal:
        return _again(request, login, after, message_of(refusal), refusal.status)
    return response or _again(request, login, after, _("登录名或密码不正确。"), 401)


def _try_sign_in(request: Request, login: str, password: str, after: str) -> Response | None:
    address = address_of(request)
    _count_try(address)
    with begin() as session:
        account = service.authenticate(session, login=login, password=password, address=address)
        if account is None:
            return None
        target = "/staff/password" if account.must_change_password else after
        response = RedirectResponse(target, status_code=303)
        open_session(session, request, response, realm=service.REALM, subject_id=account.id, lasts=SIGNED_IN_FOR)
        return response


def _count_try(address: str) -> None:
    over: XinglinError | None = None
    with begin() as session:
        try:
            rate.count(
                session, act="staff.sign_in", subject=address, at_most=SIGN_INS_PER_ADDRESS, within=SIGN_IN_WINDOW
            )
        except XinglinError as refusal:  # raised after the unit of work, so that the count is kept
            over = refusal
    if over is not None:
        raise over


def _again(request: Request, login: str, after: str, problem: str, status: int) -> Response:
    return render(request, "staff/sign_in.html", {"login": login, "next": after, "problem": problem}, status)


@pages.post("/sign-out")
def sign_out(request: Request, session: Transaction) -> Response:
    response = RedirectResponse("/staff/sign-in", status_code=303)
    close_session(session, request, response, realm=service.REALM)
    return response


@pages.get("")
def home(request: Request, session: Transaction, staff: Person) -> Response:
    context = {"waiting": worklist.waiting_for(session, staff), "topics": worklist.topics_for(staff)}
    return render(request, "staff/home.html", context)


@pages.get("/waiting")
def waiting(request: Request, session: Transaction, staff: Person) -> Response:
    return render(request, "staff/waiting.html", {"waiting": worklist.waiting_for(session, staff)})


@pages.get("/scan")
def scanned(request: Request, session: Transaction, staff: Person, code: str = "") -> Response:
    """Whatever was scanned, on whatever page: to the thing itself, or a page that says what to do."""
    target = scan.where(session, code, staff)
    if target is not None:
        return RedirectResponse(target, status_code=303)
    return render(request, "staff/scan_unknown.html", {"code": code.strip()}, 404 if code.strip() else 200)


@pages.get("/password")
def password_page(request: Request, staff: Person) -> Response:
    return render(request, "staff/password.html", {"problem": None, "first": staff.must_change_password})


@pages.post("/password")
def change_password(
    request: Request,
    session: Transaction,
    staff: Person,
    old: Annotated[str, Form()],
    new: Annotated[str, Form()],
    again: Annotated[str, Form()],
) -> Response:
    try:
        if new != again:
            raise Invalid("passwords_differ", N_("两次输入的新密码不一致。"))
        if not service.change_password(session, staff.id, old=old, new=new, keep=staff.session_id):
            raise Invalid("wrong_password", N_("原密码不正确。"))
    except Invalid as refusal:
        context = {"problem": message_of(refusal), "first": staff.must_change_password}
        return render(request, "staff/password.html", context, refusal.status)
    return RedirectResponse("/staff", status_code=303)


@pages.get("/live")
async def live(request: Request, staff: Person, topics: str = "", since: str | None = None) -> Response:
    """Event stream of the topics named (comma between); the event's name is the topic, its data JSON, its id the
    position to go on from. `since` is the position the page was read at; a browser that reconnects says its own."""
    wanted = [topic for topic in topics.split(",") if topic]
    hub: Hub = request.app.state.hub
    heard_until = request.headers.get("last-event-id") or since
    return StreamingResponse(
        _stream(hub, wanted, heard_until), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _stream(hub: Hub, topics: list[str], since: str | None) -> AsyncIterator[str]:
    async with hub.listen(topics, since) as queue:
        yield ": listening\n\n"
        while True:
            try:
                heard = await asyncio.wait_for(queue.get(), KEEP_ALIVE_S)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            data = json.dumps(heard.data, separators=(",", ":"))
            yield f"id: {heard.position}\nevent: {heard.topic}\ndata: {data}\n\n"


router.include_router(pages)
router.include_router(account_routes.router)
router.include_router(session_routes.router)
router.include_router(job_routes.router)
router.include_router(trail_routes.router)
