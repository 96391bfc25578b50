"""Bills on the phone: chosen, looked over, paid together; one of them, and its money back. Works without any script."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Form, Query
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import paying, refunding
from cloud.billing.model import PURPOSE, BillPaymentState, Charge
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import Invalid, NotFound
from cloud.kit.ids import new_id
from cloud.patient.bills import rules, service
from cloud.patient.bills.service import Opened
from cloud.patient.identity import looked
from cloud.patient.identity.access import CurrentPatient, Patient
from cloud.patient.identity.account import log_access
from cloud.patient.paying import purposes
from cloud.patient.paying.payer import payer_of
from cloud.patient.paying.purposes import Purpose
from cloud.people import access
from cloud.web.i18n import gettext as _
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/p/bills"
router = APIRouter(include_in_schema=False)


def _path_of(session: Session, subject_id: uuid.UUID) -> str:
    return f"{PAGE}/paid/{subject_id}"


purposes.register(Purpose(PURPOSE, N_("门诊缴费"), _path_of))
looked.things("bill", lambda persons: select(Charge.id).where(Charge.person_id.in_(persons)))

Chosen = Annotated[list[str], Query(max_length=50)]


@router.get(PAGE)
def bill_list(request: Request, patient: Patient, session: Transaction) -> Response:
    waiting = service.payable(session, patient.subject)
    context = {
        "waiting": waiting,
        "paid": service.settled(session, patient.subject),
        "sum_fen": sum(each.charge.total_fen for each in waiting if each.standing == "payable"),
        "standings": rules.STANDINGS,
    }
    return render(request, "patient/bills/list.html", context)


@router.get(f"{PAGE}/pay")
def look_over(request: Request, patient: Patient, session: Transaction, charge: Chosen = []) -> Response:  # noqa: B006
    """What is about to be paid, and the sum; nothing is held by looking."""
    if not charge:
        return RedirectResponse(PAGE, status_code=303)
    chosen = service.chosen(session, patient.subject, _ids(charge))
    context = {
        "chosen": chosen,
        "fen": sum(each.charge.total_fen for each in chosen),
        "payable": all(each.standing == "payable" or each.mine for each in chosen),
        "standings": rules.STANDINGS,
        "key": str(new_id()),
    }
    return render(request, "patient/bills/look_over.html", context)


@router.post(f"{PAGE}/pay")
def pay(
    patient: Patient,
    session: Transaction,
    charge: Annotated[list[str], Form(max_length=50)],
    fen: Annotated[int, Form(ge=0)],
    key: Annotated[str, Form(max_length=40)],
) -> Response:
    """Hold them and go to the pay page. The same submit again leads to the same payment."""
    wanted = _ids(charge)
    for each in {bill.charge.person_id for bill in service.chosen(session, patient.subject, wanted)}:
        access.person_for(session, patient.subject, each, "pay")
    payer = payer_of(session, patient.account_id)
    payment = paying.begin(
        session,
        wanted,
        payer,
        key=f"{patient.account_id}:{_id(key)}",
        by=f"account:{patient.account_id}",
        expected_fen=fen,
    )
    return RedirectResponse(f"/p/pay/{payment.id}", status_code=303)


@router.get(f"{PAGE}/paid/{{bill_payment_id}}")
def paid(request: Request, patient: Patient, session: Transaction, bill_payment_id: str) -> Response:
    """Where the pay page leads: what became of the bills."""
    group, bills = service.of_payment(session, patient.subject, _id(bill_payment_id))
    context = {
        "group": group,
        "bills": bills,
        "standings": rules.STANDINGS,
        "settled": group.state == BillPaymentState.SETTLED,
        "closed": group.state == BillPaymentState.CLOSED,
    }
    return render(request, "patient/bills/paid.html", context)


@router.get(f"{PAGE}/{{charge_id}}")
def bill_page(request: Request, patient: Patient, session: Transaction, charge_id: str) -> Response:
    found = _opened(session, patient, charge_id, "bill.open")
    context = {
        "opened": found,
        "bill": found.bill,
        "charge": found.bill.charge,
        "standings": rules.STANDINGS,
        "items": rules.ITEMS,
        "track": rules.track,
    }
    return render(request, "patient/bills/bill.html", context)


def _opened(session: Session, patient: CurrentPatient, charge_id: str, act: str) -> Opened:
    try:
        found = service.opened(session, patient.subject, _id(charge_id))
    except NotFound:
        with begin() as apart:  # the refusal takes back this request's own unit of work
            log_access(apart, patient.account_id, act=act, target=charge_id, person_id=None, allowed=False)
        raise
    person_id = found.bill.charge.person_id
    log_access(session, patient.account_id, act=act, target=charge_id, person_id=person_id, allowed=True)
    return found


@router.get(f"{PAGE}/{{charge_id}}/refund")
def refund_page(request: Request, patient: Patient, session: Transaction, charge_id: str) -> Response:
    found = _opened(session, patient, charge_id, "bill.open")
    if not found.route.electronic:
        return RedirectResponse(f"{PAGE}/{found.bill.charge.id}", status_code=303)
    context = {"opened": found, "bill": found.bill, "charge": found.bill.charge, "reasons": rules.REASONS}
    return render(request, "patient/bills/refund.html", context)


@router.post(f"{PAGE}/{{charge_id}}/refund")
def refund(
    patient: Patient,
    session: Transaction,
    charge_id: str,
    reason: Annotated[int, Form(ge=0, lt=len(rules.REASONS))],
) -> Response:
    """The whole bill, the way it came. A second tap finds the refund that is under way."""
    found = _opened(session, patient, charge_id, "bill.refund")
    charge = found.bill.charge
    refunding.ask(session, charge.id, by=f"account:{patient.account_id}", reason=_(rules.REASONS[reason]))
    return RedirectResponse(f"{PAGE}/{charge.id}", status_code=303)


def _id(text: str) -> uuid.UUID:
    """An address that is no id answers like one that is unknown."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。")) from None


def _ids(texts: list[str]) -> list[uuid.UUID]:
    if not texts:
        raise Invalid("charge.none_chosen", N_("请选择要缴费的账单，一次最多 50 张。"))
    return [_id(each) for each in texts]
