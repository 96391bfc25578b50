"""Sign-in, binding and the page "my" on the phone. Works without any script."""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from typing import Annotated

import segno
from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import Invalid
from cloud.kit.sealed import blind_index
from cloud.patient.identity import (
    account,
    binding,
    codes,
    consent,
    consent_routes,
    looked,
    policy,
    policy_routes,
    real_names,
    sign_in,
    window,
    window_routes,
)
from cloud.patient.identity.access import REALM, SIGNED_IN_FOR, Patient
from cloud.patient.identity.model import BindingCode
from cloud.patient.identity.rules import LOOKUPS_PER_ACCOUNT, LOOKUPS_PER_NUMBER, RELATIONS, GivenNumber, read_number
from cloud.web import cookies, rate
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import safe_next
from cloud.web.sessions import address_of, close_session, open_session

router = APIRouter(include_in_schema=False)
for part in (window_routes, consent_routes, policy_routes):
    router.include_router(part.router)

BROWSER_COOKIE = "xl_oauth"
SIGN_INS_PER_ADDRESS = (600, timedelta(minutes=10))
"""Generous: a whole waiting room may share one address."""


@router.get("/p/sign-in")
def go_to_channel(request: Request, next: str = "/p", channel: str = "") -> Response:
    """Send the browser to the channel whose web view it is; it comes back at once with a code. Any other browser
    chooses (in production it is told where to open the page)."""
    at_most, within = SIGN_INS_PER_ADDRESS
    with begin() as session:
        rate.count(session, act="patient.sign_in", subject=address_of(request), at_most=at_most, within=within)
    wanted = safe_next(next, "/p")
    wanted = wanted if wanted == "/p" or wanted.startswith(("/p/", "/p?")) else "/p"
    ways = sign_in.offered()
    chosen = sign_in.channel_of(request.headers.get("user-agent", "")) or (channel if channel in ways else "")
    if not chosen and len(ways) > 1:
        return render(request, "patient/identity/choose.html", {"ways": ways, "wanted": wanted})
    browser = cookies.read(request, BROWSER_COOKIE) or secrets.token_urlsafe(24)
    with begin() as session:
        address = sign_in.start(session, browser=browser, next_page=wanted, channel=chosen or (ways or [""])[0])
    response = RedirectResponse(address, status_code=303)
    cookies.write(response, BROWSER_COOKIE, browser, max_age_s=600)
    return response


@router.get(sign_in.CALLBACK)
def come_back(request: Request, state: str = "", code: str = "") -> Response:
    """WeChat's answer."""
    return _came_back(request, sign_in.WECHAT, state, code)


@router.get(sign_in.ALIPAY_CALLBACK)
def come_back_from_alipay(request: Request, state: str = "", auth_code: str = "") -> Response:
    return _came_back(request, sign_in.ALIPAY, state, auth_code)


def _came_back(request: Request, channel: str, state: str, code: str) -> Response:
    """Use up state and code, ask who it is, open a session. The call is between two transactions."""
    browser = cookies.read(request, BROWSER_COOKIE) or ""
    with begin() as session:
        wanted = sign_in.redeem_state(session, state=state, code=code, browser=browser, channel=channel)
    identity = sign_in.exchange(code, channel)
    response = RedirectResponse(wanted, status_code=303)
    with begin() as session:
        mine = sign_in.account_of(session, identity)
        open_session(session, request, response, realm=REALM, subject_id=mine.id, lasts=SIGNED_IN_FOR)
    cookies.forget(response, BROWSER_COOKIE)
    return response


@router.post("/p/sign-out")
def sign_out(request: Request, session: Transaction) -> Response:
    response = render(request, "patient/identity/signed_out.html")
    close_session(session, request, response, realm=REALM)
    return response


@router.get("/p/bind")
def bind_page(request: Request, patient: Patient, session: Transaction) -> Response:
    mine = account.persons(session, patient.account_id)
    return _bind_form(request, has_self=any(each.relation == "self" and each.state == "active" for each in mine))


def _bind_form(
    request: Request, *, has_self: bool = False, name: str = "", relation: str = "", error: str = "", status: int = 200
) -> Response:
    chosen = relation or ("family" if has_self else "self")
    context = {"name": name, "relation": chosen, "error": error}
    return render(request, "patient/identity/bind.html", context, status)


@router.post("/p/bind")
def ask_for_code(
    request: Request,
    patient: Patient,
    name: Annotated[str, Form(max_length=60)],
    number: Annotated[str, Form(max_length=40)],
    relation: Annotated[str, Form()] = "self",
) -> Response:
    """Look the person up in the hospital's file and send the code there, or send the patient to the window."""
    given = read_number(number)
    if relation not in RELATIONS:
        raise Invalid("relation_unknown", N_("请选择与患者的关系。"))
    if given is None or not name.strip():
        error = _("请填写姓名，以及正确的身份证号或就诊卡号。")
        return _bind_form(request, name=name, relation=relation, error=error, status=422)
    _count_lookups(patient.account_id, given.value)
    said = _real_name(name, given)
    with begin() as session:
        issued = binding.send_code(
            session, patient.account_id, name=name, number=given, relation=relation, real_name=said
        )
    if issued is None:
        return render(request, "patient/identity/to_the_window.html", {"reason": "no_match"})
    return RedirectResponse(f"/p/bind/{issued.id}", status_code=303)


def _real_name(name: str, given: GivenNumber) -> str | None:
    """What the real-name service says of somebody whom the hospital's file knows; asked with no transaction open."""
    if given.kind != "id_number":
        return None
    with begin() as session:
        fits = binding.who_fits(session, name=name, number=given) is not None
    return real_names.service().compare(name.strip(), given.value) if fits else None


def _count_lookups(account_id: uuid.UUID, number: str) -> None:
    """Both limits count whether or not anybody was found, so that reaching one tells nothing."""
    at_most, within = LOOKUPS_PER_ACCOUNT
    with begin() as session:
        rate.count(session, act="patient.bind.account", subject=str(account_id), at_most=at_most, within=within)
    at_most, within = LOOKUPS_PER_NUMBER
    with begin() as session:
        subject = blind_index(number, "patient.bind.number")
        rate.count(session, act="patient.bind.number", subject=subject, at_most=at_most, within=within)


@router.post("/p/bind/window")
def show_window_code(request: Request, patient: Patient, session: Transaction) -> Response:
    """The short code for the window, as text and as a QR code."""
    code = window.show_code(session, patient.account_id)
    context = {"code": f"{code[:4]} {code[4:]}", "qr": segno.make(code, error="m").svg_data_uri(scale=6, border=2)}
    return render(request, "patient/identity/window_code.html", context)


@router.get("/p/bind/{code_id}")
def code_page(request: Request, patient: Patient, session: Transaction, code_id: uuid.UUID) -> Response:
    return _code_form(request, codes.live_code(session, patient.account_id, code_id))


def _code_form(request: Request, code: BindingCode, error: str = "", status: int = 200) -> Response:
    allows = [consent.SCOPES[scope] for scope in (code.scopes or "").split()]
    context = {"code": code, "seconds": codes.expires_in_s(code, clock.now()), "error": error, "allows": allows}
    return render(request, "patient/identity/code.html", context, status)


@router.post("/p/bind/{code_id}")
def enter_code(
    request: Request, patient: Patient, code_id: uuid.UUID, code: Annotated[str, Form(max_length=20)]
) -> Response:
    """Each try is committed before anything else happens, so that a refusal cannot take it back."""
    with begin() as session:
        tried = codes.try_code(session, patient.account_id, code_id, code)
    if not tried.right:
        if tried.left == 0:
            return render(request, "patient/identity/to_the_window.html", {"reason": "tries"}, 422)
        error = _("验证码不正确，还可以再试 {left} 次。").format(left=tried.left)
        return _code_form(request, tried.code, error, 422)
    with begin() as session:
        if tried.code.scopes:
            consent.give_by_code(session, tried)
        else:
            binding.bind_by_code(session, tried)
    return RedirectResponse("/p/my", status_code=303)


@router.get("/p/my")
def my_page(request: Request, patient: Patient, session: Transaction) -> Response:
    context = {
        "persons": account.persons(session, patient.account_id),
        "relatives": consent.relatives(session, patient.account_id),
        "looked": looked.who_looked(session, patient.account_id, limit=5),
        "scope_words": consent.SCOPES,
        "cool_down_days": policy.value(session, "cool_down_days"),
    }
    return render(request, "patient/identity/my.html", context)


@router.post("/p/bindings/{binding_id}/end")
def end_binding(patient: Patient, session: Transaction, binding_id: uuid.UUID) -> Response:
    binding.unbind(session, patient.account_id, binding_id)
    return RedirectResponse("/p/my", status_code=303)
