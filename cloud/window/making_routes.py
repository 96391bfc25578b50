"""A bill typed by hand, where no system of the hospital sends it: what, how many, at which price."""

from __future__ import annotations

import re
import uuid
from decimal import Decimal, InvalidOperation
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import intake, record
from cloud.billing.intake import ChargeIn, ItemIn
from cloud.hospital.service import department_by_code
from cloud.kit import clock, money
from cloud.kit.db import Transaction
from cloud.kit.errors import Conflict, Invalid, XinglinError
from cloud.people.access import Subject, person
from cloud.staff.access import CurrentStaff, require
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.web.refusals import message_of
from cloud.window import executing, making
from cloud.window.wording import KINDS

PAGE = "/staff/window/persons"
ROWS = 8
NUMBER = re.compile(r"M\d{16}")
GOODS = ("drug", "material")
router = APIRouter(include_in_schema=False)
Maker = Annotated[CurrentStaff, Depends(require("charge.make"))]
Texts = Annotated[list[str] | None, Form(max_length=50)]


@router.get(PAGE + "/{person_id}/charge")
def blank(request: Request, session: Transaction, staff: Maker, person_id: uuid.UUID) -> Response:
    return _form(request, session, staff, person_id, intake.manual_number(session))


def _form(
    request: Request,
    session: Transaction,
    staff: CurrentStaff,
    person_id: uuid.UUID,
    number: str,
    typed: dict[str, object] | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    context = {
        "person": person(session, Subject.staff(staff), person_id),
        "number": number,
        "kinds": KINDS,
        "departments": executing.departments(session),
        "typed": typed or {"kind": "treatment", "department": "", "lines": []},
        "rows": ROWS,
        "open": making.open_by_hand(session, Subject.staff(staff), person_id),
        "problem": problem,
    }
    return render(request, "window/charge.html", context, status)


@router.post(PAGE + "/{person_id}/charge")
def make(
    request: Request,
    session: Transaction,
    staff: Maker,
    person_id: uuid.UUID,
    number: Annotated[str, Form(max_length=20)],
    kind: Annotated[str, Form(max_length=20)],
    department: Annotated[str, Form(max_length=64)] = "",
    name: Texts = None,
    quantity: Texts = None,
    price: Texts = None,
) -> Response:
    """The number was drawn with the form, so that a form sent twice is one bill."""
    who = person(session, Subject.staff(staff), person_id)
    if not NUMBER.fullmatch(number):
        raise Invalid("charge.number", N_("页面已过期，请重新打开。"))
    lines = list(zip(name or [], quantity or [], price or [], strict=False))
    typed: dict[str, object] = {"kind": kind, "department": department, "lines": lines}
    try:
        with session.begin_nested():
            if record.by_number(session, "manual", number) is None:
                place = department_by_code(session, department) if department else None
                intake.take_in(
                    session,
                    ChargeIn(
                        source="manual",
                        number=number,
                        person_id=who.id,
                        kind=kind,
                        made_at=clock.now(),
                        items=_items(lines, goods=kind in GOODS),
                        executing_department_id=place.id if place else None,
                    ),
                    by=staff.actor,
                )
    except XinglinError as refusal:
        return _form(request, session, staff, who.id, number, typed, message_of(refusal), refusal.status)
    return RedirectResponse(f"{PAGE}/{who.id}", status_code=303)


def _items(lines: list[tuple[str, str, str]], *, goods: bool) -> tuple[ItemIn, ...]:
    """The rows that were filled. Raises `Invalid` for a row without a name, or whose numbers can't be read."""
    made = []
    for at, (name, quantity, price) in enumerate(lines, 1):
        if not (name.strip() or price.strip()):
            continue
        try:
            many = Decimal(quantity.strip() or "1")
            price_fen = money.fen(price)
        except (InvalidOperation, ValueError):
            raise Invalid("charge.row", N_("第 {row} 行的数量或单价不正确。"), row=at) from None
        if not many.is_finite() or not 0 < many <= 10_000 or price_fen < 0 or many != round(many, 3):
            raise Invalid("charge.row", N_("第 {row} 行的数量或单价不正确。"), row=at)
        fen = int((many * price_fen).to_integral_value())
        made.append(ItemIn(f"M{at}", name.strip()[:80], fen, many, price_fen, goods=goods, line=str(at)))
    return tuple(made)


@router.post(PAGE + "/{person_id}/charge/{charge_id}/void")
def void(
    session: Transaction,
    staff: Maker,
    person_id: uuid.UUID,
    charge_id: uuid.UUID,
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Take a bill back that was typed by hand and not paid yet."""
    who = person(session, Subject.staff(staff), person_id)
    charge = record.charge(session, charge_id)
    if charge.source != "manual" or charge.person_id != who.id:
        raise Conflict("charge.not_manual", N_("只能作废手工录入的账单，其他账单请在开单系统中取消。"))
    intake.void(session, "manual", charge.number, by=staff.actor, reason=reason)
    return RedirectResponse(f"{PAGE}/{who.id}", status_code=303)
