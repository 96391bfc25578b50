"""The pay page and "my transactions". The pay page alone needs a script: the channels' web views are asked by one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from cloud.config import settings
from cloud.kit import clock
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import Conflict, NotFound, Unavailable
from cloud.patient.identity.access import Patient, PatientApart
from cloud.patient.paying import service, stand_in, transactions
from cloud.patient.paying.rules import Stage
from cloud.patient.paying.service import Paying
from cloud.payments.model import PaymentState
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of
from cloud.web.sessions import address_of

router = APIRouter(include_in_schema=False)


@router.get("/p/pay/{payment_id}")
def pay_page(request: Request, patient: PatientApart, payment_id: str, back: bool = False) -> Response:
    """Prepares the payment at its channel, between transactions. `back`: the phone comes from the cashier; what the
    channel says then, and nothing else, decides what is shown."""
    key = _id(payment_id)
    paying = _look(patient.account_id, key)
    if back and paying.stage in (Stage.OPEN, Stage.CLOSING, Stage.OVER):
        service.ask(begin, key)
        paying = _look(patient.account_id, key)
    if paying.stage in (Stage.PAID, Stage.LATE):
        return RedirectResponse(paying.path, status_code=303)
    if paying.stage != Stage.OPEN:
        return _page(request, paying)
    try:
        phone = service.prepare(begin, paying, client_ip=address_of(request))
    except Conflict:
        return _page(request, _look(patient.account_id, key))
    except Unavailable as away:
        return _page(request, _look(patient.account_id, key), problem=message_of(away), status=503)
    return _page(request, paying, phone, came_back=back)


def _look(account_id: uuid.UUID, payment_id: uuid.UUID) -> Paying:
    with begin() as session:
        return service.mine(session, account_id, payment_id)


def _page(
    request: Request,
    paying: Paying,
    phone: Mapping[str, Any] | None = None,
    *,
    came_back: bool = False,
    problem: str = "",
    status: int = 200,
) -> Response:
    back = settings().public_url.rstrip("/") + service.back_path(paying.payment.id)
    context = {
        "paying": paying,
        "channel_name": transactions.CHANNELS.get(paying.payment.channel, paying.payment.channel),
        "phone": json.dumps(dict(phone)) if phone else "",
        "page": phone.get("page", "") if phone else "",
        "stand_in": stand_in.cashier(paying.payment.channel, phone, back) if phone else "",
        "came_back": came_back,
        "now": clock.now().isoformat(),
        "problem": problem,
    }
    return render(request, "patient/paying/pay.html", context, status)


@router.get("/p/pay/{payment_id}/stand")
def stand(patient: PatientApart, payment_id: str, asked: bool = False) -> Response:
    """How the payment stands. `asked`: the phone was at the cashier, so the channel is asked, within limits."""
    key = _id(payment_id)
    paying = _look(patient.account_id, key)
    if asked and paying.payment.state != PaymentState.PAID:
        service.ask(begin, key)
        paying = _look(patient.account_id, key)
    return JSONResponse({"stage": paying.stage, "next": paying.path}, headers={"Cache-Control": "no-store"})


@router.post("/p/pay/{payment_id}/give-up")
def give_up(patient: Patient, session: Transaction, payment_id: str) -> Response:
    return RedirectResponse(service.give_up(session, patient.account_id, _id(payment_id)), status_code=303)


@router.get("/p/transactions")
def transaction_list(
    request: Request,
    patient: Patient,
    session: Transaction,
    only: Annotated[str, Query(max_length=20)] = "",
    before: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    chosen = only if only in transactions.FILTERS else ""
    lines = transactions.listed(
        session, patient.account_id, only=chosen, before=_id(before) if before else None, limit=transactions.SHOWN + 1
    )
    context = {
        "lines": lines[: transactions.SHOWN],
        "more": len(lines) > transactions.SHOWN,
        "only": chosen,
        "first": not before,
        "filters": transactions.FILTERS,
        "channels": transactions.CHANNELS,
    }
    return render(request, "patient/paying/transactions.html", context)


@router.get("/p/transactions/{payment_id}")
def transaction_page(request: Request, patient: Patient, session: Transaction, payment_id: str) -> Response:
    paying = service.mine(session, patient.account_id, _id(payment_id))
    context = {
        "paying": paying,
        "line": transactions.line_of(session, paying.payment),
        "refunds": transactions.refunds_of(session, paying.payment.id),
        "channel_name": transactions.CHANNELS.get(paying.payment.channel, paying.payment.channel),
    }
    return render(request, "patient/paying/transaction.html", context)


def _id(text: str) -> uuid.UUID:
    """An address that is no id answers like one that is unknown."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。")) from None
