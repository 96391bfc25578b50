"""Receipts on paper: the original once, each further one marked and counted.

Looking at a receipt prints nothing. The original leaves by one POST that succeeds once; what a browser prints of the
page beside it carries no receipt.
"""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.billing.model import Charge
from cloud.kit.db import Transaction
from cloud.kit.errors import NotFound
from cloud.patient.registration.model import Booking
from cloud.payments import receipts, wording
from cloud.payments.drawers_model import Receipt
from cloud.payments.model import Payment
from cloud.staff.access import CurrentStaff, require
from cloud.staff.naming import names_of
from cloud.web.i18n import mark as N_
from cloud.web.pages import render
from cloud.window import service

PAGE = "/staff/window/receipts"
router = APIRouter(prefix=PAGE, include_in_schema=False)
Cashier = Annotated[CurrentStaff, Depends(require("money.collect"))]


@router.post("/of/{payment_id}")
def issue(session: Transaction, staff: Cashier, payment_id: uuid.UUID) -> Response:
    """The receipt of what was paid by phone, when the patient asks for it at the window."""
    made = service.issue(session, payment_id, by=staff.actor)
    return RedirectResponse(f"{PAGE}/{made.id}", status_code=303)


@router.get("/{receipt_id}")
def shown(request: Request, session: Transaction, staff: Cashier, receipt_id: uuid.UUID) -> Response:
    receipt = session.get(Receipt, receipt_id)
    if receipt is None:
        raise NotFound("receipt.unknown", N_("没有这张票据。"))
    return _page(request, session, receipt, "")


@router.post("/{receipt_id}/print")
def print_original(request: Request, session: Transaction, staff: Cashier, receipt_id: uuid.UUID) -> Response:
    """Raises `Conflict` when the original has left already."""
    receipt = receipts.print_original(session, receipt_id, by=staff.actor)
    return _page(request, session, receipt, "original")


@router.post("/{receipt_id}/copy")
def print_again(
    request: Request,
    session: Transaction,
    staff: Cashier,
    receipt_id: uuid.UUID,
    reason: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    receipt = receipts.print_again(session, receipt_id, by=staff.actor, why=reason)
    return _page(request, session, receipt, "copy")


def _page(request: Request, session: Transaction, receipt: Receipt, paper: str) -> Response:
    copies = receipts.copies_of(session, receipt.id)
    payment = session.get_one(Payment, receipt.payment_id)
    replaced = session.get(Receipt, receipt.replaces_id) if receipt.replaces_id else None
    context = {
        "receipt": receipt,
        "payment": payment,
        "person_id": _person_of(session, payment.id),
        "replaced": replaced,
        "copies": copies,
        "original_gone": any(each.number == 0 for each in copies),
        "paper": paper,
        "in_words": receipts.in_words(receipt.fen),
        "names": names_of(session, [receipt.printed_by, receipt.voided_by, *(each.by for each in copies)]),
        "words": wording,
    }
    return render(request, "window/receipt.html", context)


def _person_of(session: Transaction, payment_id: uuid.UUID) -> uuid.UUID | None:
    """Whose bills or booking it paid."""
    of_bills = session.scalar(select(Charge.person_id).where(Charge.payment_id == payment_id).limit(1))
    return of_bills or session.scalar(select(Booking.person_id).where(Booking.payment_id == payment_id).limit(1))
