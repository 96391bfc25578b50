"""Questions to channels, steps of refunds, and the sweep that finds what lost its job."""

from __future__ import annotations

import uuid

from cloud.kit.jobs import Begin, job
from cloud.payments import asking, reconciling, refunds


@job(asking.JOB, own_transactions=True)
def ask(begin: Begin, payment_id: str, at_once: bool = False) -> None:
    asking.ask(begin, uuid.UUID(payment_id), at_once=at_once)


@job(refunds.JOB, own_transactions=True)
def refund(begin: Begin, refund_id: str) -> None:
    refunds.step(begin, uuid.UUID(refund_id))


@job("payments.sweep", own_transactions=True, every="* * * * *")
def sweep(begin: Begin, **_: object) -> None:
    """Nothing about money hangs on one job: what is due and was not asked is asked here."""
    for payment_id in asking.due(begin):
        asking.ask(begin, payment_id)
    for refund_id in refunds.due(begin):
        refunds.step(begin, refund_id)


@job("payments.bills", own_transactions=True, every="20 * * * *")
def bills(begin: Begin, **_: object) -> None:
    """Each hour: the bills of days that were not read yet."""
    reconciling.catch_up(begin)
