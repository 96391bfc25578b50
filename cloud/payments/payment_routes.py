"""Staff's list of payments and the page of one: what the channel said, what the ledger has, each refund's way."""

from __future__ import annotations

import re
import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cloud.kit import clock
from cloud.kit.db import Transaction, begin
from cloud.kit.errors import NotFound, Unavailable
from cloud.payments import asking, dropping, finding, refunds, wording
from cloud.payments.contract import Unknown
from cloud.payments.finding import PAGE_SIZE, Wanted
from cloud.payments.model import UNSETTLED, Payment, Refund
from cloud.staff import scan
from cloud.staff.access import CurrentStaff, require
from cloud.staff.naming import names_of
from cloud.web import navigation
from cloud.web.i18n import mark as N_
from cloud.web.pages import render

PAGE = "/staff/payments"
router = APIRouter(prefix=PAGE, include_in_schema=False)
Reader = Annotated[CurrentStaff, Depends(require("money.read"))]
Refunder = Annotated[CurrentStaff, Depends(require("money.refund"))]
Accountant = Annotated[CurrentStaff, Depends(require("money.reconcile"))]
Reason = Annotated[str, Form(max_length=200)]
FILTERS = {
    "": N_("全部"),
    "paid": N_("已支付"),
    "prepared": N_("待支付"),
    "closed": N_("已关闭"),
    "late": N_("关闭后到账"),
    "refunding": N_("退款中"),
    "stuck": N_("退款待人工处理"),
}

navigation.add(N_("交易查询"), PAGE, permission="money.read", group=N_("收费"), position=640, key="g 1")


@router.get("")
def listed(
    request: Request,
    session: Transaction,
    staff: Reader,
    q: str = "",
    day: str = "",
    channel: str = "",
    state: str = "",
    page: int = 1,
) -> Response:
    wanted = Wanted(q, clock.typed_day(day), channel, state if state in FILTERS else "")
    shown = min(max(1, page), 2000)
    rows, total = finding.payments(session, wanted, page=shown)
    if len(rows) == total == 1 and q.strip():
        return RedirectResponse(f"{PAGE}/{rows[0].id}", status_code=303)
    context = {
        "rows": rows,
        "total": total,
        "page": shown,
        "pages": -(-total // PAGE_SIZE),
        "wanted": wanted,
        "filters": FILTERS,
        "words": wording,
    }
    return render(request, "payments/payments.html", context)


@router.get("/{payment_id}")
def one(request: Request, session: Transaction, staff: Reader, payment_id: uuid.UUID) -> Response:
    payment = session.get(Payment, payment_id)
    if payment is None:
        raise NotFound("payment.unknown", N_("没有这笔交易。"))
    told = finding.told(session, payment)
    actors = [each.by for each in told.refunds] + [each.closed_by for each in told.refunds]
    actors += [each.printed_by for each in told.receipts]
    context = {
        "told": told,
        "words": wording,
        "names": names_of(session, actors),
        "unsettled": UNSETTLED,
        "droppable": {each.id for each in told.refunds if dropping.can_drop(session, each, payment)},
    }
    return render(request, "payments/payment.html", context)


@router.post("/{payment_id}/ask")
def ask(staff: Reader, payment_id: uuid.UUID) -> Response:
    """Have the channel say now how it stands; no transaction is open meanwhile."""
    asking.ask(begin, payment_id, at_once=True)
    return RedirectResponse(f"{PAGE}/{payment_id}", status_code=303)


@router.post("/refunds/{refund_id}/ask")
def ask_refund(staff: Reader, refund_id: uuid.UUID) -> Response:
    """The same for a refund that is on its way."""
    with begin() as session:
        payment_id = _payment_of(session.get(Refund, refund_id))
        refunds.hurry(session, refund_id)
    refunds.step(begin, refund_id)
    return RedirectResponse(f"{PAGE}/{payment_id}", status_code=303)


@router.post("/refunds/{refund_id}/again")
def try_again(session: Transaction, staff: Accountant, refund_id: uuid.UUID, reason: Reason = "") -> Response:
    payment_id = _payment_of(session.get(Refund, refund_id))
    refunds.try_again(session, refund_id, by=staff.actor, reason=reason)
    return RedirectResponse(f"{PAGE}/{payment_id}", status_code=303)


@router.post("/refunds/{refund_id}/pay-out")
def pay_out(staff: Refunder, refund_id: uuid.UUID, reason: Reason = "") -> Response:
    """A stuck refund in cash, out of this cashier's drawer; the channel is asked once more before."""
    with begin() as session:
        payment_id = _payment_of(session.get(Refund, refund_id))
    try:
        refunds.pay_out(begin, refund_id, by=staff.actor, reason=reason)
    except Unknown as unknown:
        raise Unavailable(
            "refund.no_answer", N_("支付渠道没有应答，无法确认钱是否已退，暂不能退现金，请稍后再试。")
        ) from unknown
    return RedirectResponse(f"{PAGE}/{payment_id}", status_code=303)


@router.post("/refunds/{refund_id}/drop")
def drop(staff: Refunder, refund_id: uuid.UUID, reason: Reason = "") -> Response:
    """Not to be paid back after all; only while the channel knows nothing of it."""
    with begin() as session:
        payment_id = _payment_of(session.get(Refund, refund_id))
    try:
        dropping.drop(begin, refund_id, by=staff.actor, reason=reason)
    except Unknown as unknown:
        raise Unavailable(
            "refund.no_answer", N_("支付渠道没有应答，无法确认钱是否已退，暂不能撤销，请稍后再试。")
        ) from unknown
    return RedirectResponse(f"{PAGE}/{payment_id}", status_code=303)


def _payment_of(refund: Refund | None) -> uuid.UUID:
    if refund is None:
        raise NotFound("refund.unknown", N_("没有这笔退款。"))
    return refund.payment_id


def _scanned(session: Transaction, code: str, staff: CurrentStaff) -> str | None:
    """Our payment and refund numbers and receipts' numbers lead to the payment."""
    if not staff.may("money.read") or not re.fullmatch(r"P\d{18}(R\d+)?|\d{12,}", code):
        return None
    rows, total = finding.payments(session, Wanted(code))
    return f"{PAGE}/{rows[0].id}" if total == 1 else None


scan.add("payments", 700, _scanned)
