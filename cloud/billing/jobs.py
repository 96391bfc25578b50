"""What payments say of bills, and the sweep that finds what lost its job."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.billing import paying, refunding, settling
from cloud.billing.model import PURPOSE, BillPayment, BillPaymentState, BillRefund, BillRefundState
from cloud.kit.events import on
from cloud.kit.jobs import Begin, job
from cloud.payments import dropping
from cloud.payments.events import PaymentClosed, PaymentSettled, RefundArrived, RefundDropped
from cloud.payments.model import Payment, PaymentState, Refund, RefundState


@on(PaymentSettled, "billing.settled")
def settled(session: Session, event: PaymentSettled) -> None:
    if event.purpose == PURPOSE:
        settling.settle(session, event.subject_id)


@on(PaymentClosed, "billing.closed")
def closed(session: Session, event: PaymentClosed) -> None:
    if event.purpose == PURPOSE:
        paying.release(session, event.subject_id)


@on(RefundArrived, "billing.refund_arrived")
def refund_arrived(session: Session, event: RefundArrived) -> None:
    """Also a refund that a person paid out at the window."""
    row = refunding.of_refund(session, event.aggregate_id) if event.purpose == PURPOSE else None
    if row is not None:
        refunding.arrived(session, row.id)


@on(RefundDropped, "billing.refund_dropped")
def refund_dropped(session: Session, event: RefundDropped) -> None:
    row = refunding.of_refund(session, event.aggregate_id) if event.purpose == PURPOSE else None
    if row is not None:
        refunding.dropped(session, row.id, by=event.by, reason=event.reason)


@job("billing.sweep", own_transactions=True, every="*/5 * * * *")
def sweep(begin: Begin, **_: object) -> None:
    """Nothing about bills hangs on one job: what a payment or a refund has become is looked at again here."""
    with begin() as session:
        groups = session.execute(
            select(BillPayment.id, Payment.state)
            .join(Payment, Payment.id == BillPayment.payment_id)
            .where(
                ((Payment.state == PaymentState.PAID) & (BillPayment.state != BillPaymentState.SETTLED))
                | ((Payment.state == PaymentState.CLOSED) & (BillPayment.state == BillPaymentState.OPEN))
            )
            .limit(500)
        ).all()
        ended = session.execute(
            select(BillRefund.id, Refund.state)
            .join(Refund, Refund.id == BillRefund.refund_id)
            .where(
                BillRefund.state == BillRefundState.ASKED,
                Refund.state.in_((RefundState.DONE, RefundState.DROPPED)),
            )
            .limit(500)
        ).all()
    for group_id, state in groups:
        with begin() as session:
            (settling.settle if state == PaymentState.PAID else paying.release)(session, group_id)
    for refund_id, state in ended:
        with begin() as session:
            if state == RefundState.DONE:
                refunding.arrived(session, refund_id)
            else:
                refunding.dropped(session, refund_id, by="system", reason="refund dropped")


def _lets_drop(session: Session, refund: Refund) -> bool:
    """Items can be owed again; money of a bill that could not be paid with it has nothing to go back to."""
    row = refunding.of_refund(session, refund.id)
    return row is not None and row.state == BillRefundState.ASKED


dropping.lets_drop(PURPOSE, _lets_drop)
