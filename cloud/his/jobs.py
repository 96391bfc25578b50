"""What the HIS is told when something happened in the laboratory or with money, and what it is asked."""

from __future__ import annotations

from datetime import date

from sqlalchemy.orm import Session

from cloud.billing.events import ItemsExecuted
from cloud.his import bills, delivery, outbox, reconciling, reporting
from cloud.kit.events import on
from cloud.kit.jobs import Begin, job
from cloud.lis.reports.events import ReportRecalled, ReportReleased
from cloud.payments.events import PaymentSettled, RefundArrived


@on(ReportReleased, "his.report_released")
def report_released(session: Session, event: ReportReleased) -> None:
    """ORU^R01 with status final, preliminary or corrected."""
    outbox.put(session, event.aggregate_id, event.report_version)


@on(ReportRecalled, "his.report_recalled")
def report_recalled(session: Session, event: ReportRecalled) -> None:
    """ORU^R01 that withdraws every value of the version (status W)."""
    outbox.put(session, event.aggregate_id, event.report_version, recalled=True)


@on(PaymentSettled, "his.payment_settled")
def payment_settled(session: Session, event: PaymentSettled) -> None:
    """DFT^P03."""
    reporting.report_money(session, event.aggregate_id)


@on(RefundArrived, "his.refund_arrived")
def refund_arrived(session: Session, event: RefundArrived) -> None:
    """DFT^P03 with a negative amount."""
    reporting.report_money(session, event.payment_id)


@on(ItemsExecuted, "his.items_executed")
def items_executed(session: Session, event: ItemsExecuted) -> None:
    """ORM^O01."""
    bills.items_executed(session, event)


@job(outbox.DELIVER, own_transactions=True)
def deliver(begin: Begin) -> None:
    """Send what waits for the HIS."""
    delivery.deliver(begin)


@job("his.deliver_every_minute", own_transactions=True, every="* * * * *")
def deliver_every_minute(begin: Begin) -> None:
    """A worker that died between claim and answer leaves a message behind, and so may a reaction that was given up."""
    with begin() as session:
        reporting.sweep(session)
    delivery.deliver(begin)


@job("his.read_books", own_transactions=True, every="*/20 * * * *")
def read_books(begin: Begin) -> None:
    """What the HIS has booked, held against the ledger."""
    reconciling.read_lately(begin)


@job("his.read_day", own_transactions=True)
def read_day(begin: Begin, day: str) -> None:
    """The same for a day that a person asked for."""
    reconciling.read_day(begin, date.fromisoformat(day))
