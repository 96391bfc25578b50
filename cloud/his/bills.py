"""What the HIS is told of its bills: what a payment or a refund was for, and which lines were executed here."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.billing import record, refunding, settling
from cloud.billing.events import ItemsExecuted
from cloud.billing.model import PURPOSE, BillRefundLine, Charge, ChargeItem
from cloud.his import reporting
from cloud.his.filing import BY
from cloud.his.money import Concern
from cloud.his.reporting import Subject
from cloud.kit import clock
from cloud.payments.model import Payment, Refund

SOURCE = "his"


def concerned(session: Session, payment: Payment, refund: Refund | None) -> Subject | None:
    """The bills of a payment, or the lines that a refund takes back; a bill made by hand has no number there."""
    if refund is None:
        wanted = [each.charge_id for each in settling.lines_of(session, payment.subject_id)]
        charges = list(session.scalars(select(Charge).where(Charge.id.in_(wanted)).order_by(Charge.number)))
        concerns = tuple(Concern(each.number) for each in charges if each.source == SOURCE)
        return Subject(charges[0].person_id, concerns) if charges else None
    below = refunding.of_refund(session, refund.id)
    if below is None:  # money that goes back by itself
        return _not_bought(session, payment)
    lines = session.execute(
        select(Charge, ChargeItem.line)
        .join(ChargeItem, ChargeItem.charge_id == Charge.id)
        .join(BillRefundLine, BillRefundLine.item_id == ChargeItem.id)
        .where(BillRefundLine.bill_refund_id == below.id)
        .order_by(ChargeItem.position)
    ).all()
    concerns = tuple(Concern(line, charge.number) for charge, line in lines if charge.source == SOURCE)
    return Subject(lines[0][0].person_id, concerns) if lines else None


def _not_bought(session: Session, payment: Payment) -> Subject | None:
    """The bills that the payment was said to be for and did not pay: paid elsewhere meanwhile, changed, taken back."""
    wanted = [each.charge_id for each in settling.lines_of(session, payment.subject_id)]
    charges = list(session.scalars(select(Charge).where(Charge.id.in_(wanted)).order_by(Charge.number)))
    left = tuple(Concern(each.number) for each in charges if each.source == SOURCE and each.payment_id != payment.id)
    return Subject(charges[0].person_id, left) if charges else None


def items_executed(session: Session, event: ItemsExecuted) -> None:
    """ORM^O01 for lines of the HIS's own bills; what it told us itself is not told back."""
    if event.source != SOURCE or event.by.startswith(BY):
        return
    charge = record.charge(session, event.aggregate_id)
    items = [session.get_one(ChargeItem, each) for each in event.items]
    undone = max((each.undone for each in items), default=0)
    reporting.report_execution(
        session,
        key=f"executed:{charge.id}:{','.join(sorted(event.lines))}:{undone}",
        lane=f"charge:{charge.id}",
        person_id=charge.person_id,
        items=[Concern(line, event.number) for line in event.lines],
        at=max((each.executed_at for each in items if each.executed_at), default=clock.now()),
        by=event.by,
    )


reporting.tells(PURPOSE, concerned)
