"""A cashier's own drawer, and the accounts office's list of shifts."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock, money
from cloud.kit.db import Transaction
from cloud.kit.errors import Invalid, NotFound, XinglinError
from cloud.payments import drawers, wording
from cloud.payments.drawers_model import CashShift
from cloud.payments.payment_routes import Accountant, Reader
from cloud.staff.access import CurrentStaff, require
from cloud.staff.naming import names_of
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of

PAGE = "/staff/drawer"
SHIFTS = "/staff/payments/shifts"
router = APIRouter(include_in_schema=False)
Cashier = Annotated[CurrentStaff, Depends(require("money.collect"))]

navigation.add(N_("我的钱箱与交班"), PAGE, permission="money.collect", group=N_("窗口"), position=615, key="g J")
navigation.add(N_("交款记录"), SHIFTS, permission="money.read", group=N_("收费"), position=680, key="g X")


@router.get(PAGE)
def mine(request: Request, session: Transaction, staff: Cashier) -> Response:
    return _mine(request, session, staff)


def _mine(
    request: Request,
    session: Transaction,
    staff: CurrentStaff,
    problem: str = "",
    typed: dict[int, int] | None = None,
    why: str = "",
    status: int = 200,
) -> Response:
    shift = drawers.open_of(session, staff.actor)
    now = clock.now()
    context = {
        "shift": shift,
        "standing": drawers.standing(session, shift.id) if shift else None,
        "entries": drawers.entries(session, shift.id) if shift else [],
        "pieces": drawers.PIECES_FEN,
        "typed": typed or {},
        "why": why,
        "problem": problem,
        "before": [
            each
            for each in drawers.listed(session, since=now - timedelta(days=14), until=now, cashier=staff.actor)
            if each.closed_at
        ],
        "words": wording,
    }
    return render(request, "payments/drawer.html", context, status)


@router.post(f"{PAGE}/open")
def open_drawer(
    request: Request,
    session: Transaction,
    staff: Cashier,
    opening: Annotated[str, Form(max_length=12)] = "0",
    place: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    try:
        opening_fen = money.fen(opening or "0")
    except ValueError:
        raise Invalid("drawer.opening", N_("备用金应为 0 至 10 万元。")) from None
    drawers.open_shift(session, by=staff.actor, opening_fen=opening_fen, place=place)
    return RedirectResponse(PAGE, status_code=303)


async def _form(request: Request) -> FormData:
    return await request.form()


@router.post(f"{PAGE}/hand-over")
def hand_over(
    request: Request, session: Transaction, staff: Cashier, form: Annotated[FormData, Depends(_form)]
) -> Response:
    """What was counted, by note and coin (fields ``n10000`` and so on)."""
    why = str(form.get("why", ""))[:200]
    typed: dict[int, int] = {}
    try:
        for piece in drawers.PIECES_FEN:
            text = str(form.get(f"n{piece}", "")).strip() or "0"
            if not text.isascii() or not text.isdigit() or len(text) > 6:
                raise Invalid("drawer.pieces", N_("清点张数应为 0 或正整数。"))
            typed[piece] = int(text)
        with session.begin_nested():
            closed = drawers.hand_over(session, by=staff.actor, pieces=typed, why=why)
    except XinglinError as refusal:
        return _mine(request, session, staff, message_of(refusal), typed, why, refusal.status)
    return RedirectResponse(f"{PAGE}/{closed.id}", status_code=303)


@router.get(f"{PAGE}/{{shift_id}}")
def slip(request: Request, session: Transaction, staff: Reader, shift_id: uuid.UUID) -> Response:
    """The slip that goes with the money: one's own, or any for the accounts office."""
    shift = session.get(CashShift, shift_id)
    if shift is None or (shift.cashier != staff.actor and not staff.may("money.reconcile")):
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    context = {
        "shift": shift,
        "standing": drawers.standing(session, shift.id),
        "entries": drawers.entries(session, shift.id),
        "pieces": drawers.PIECES_FEN,
        "names": names_of(session, [shift.cashier, shift.received_by]),
        "words": wording,
    }
    return render(request, "payments/slip.html", context)


@router.get(SHIFTS)
def shifts(request: Request, session: Transaction, staff: Reader, day: str = "") -> Response:
    last = clock.typed_day(day) or clock.today()
    first = last - timedelta(days=6)
    found = drawers.listed(session, since=clock.day_begins(first), until=clock.day_begins(last + timedelta(days=1)))
    context = {
        "found": [(each, drawers.standing(session, each.id)) for each in found],
        "first": first,
        "last": last,
        "names": names_of(session, [each.cashier for each in found] + [each.received_by for each in found]),
    }
    return render(request, "payments/shifts.html", context)


@router.post(f"{SHIFTS}/{{shift_id}}/receive")
def receive(session: Transaction, staff: Accountant, shift_id: uuid.UUID) -> Response:
    drawers.receive(session, shift_id, by=staff.actor)
    return RedirectResponse(SHIFTS, status_code=303)
