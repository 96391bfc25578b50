"""Reactions of specimens to what happens to orders."""

from __future__ import annotations

from sqlalchemy.orm import Session

from cloud.kit.events import on
from cloud.lis.orders import service as orders
from cloud.lis.orders.events import OrderCancelled, TestsAdded
from cloud.lis.specimens import charging, refusal, service


@on(OrderCancelled, "lis.specimens.order_cancelled")
def order_cancelled(session: Session, event: OrderCancelled) -> None:
    """Tubes without a test left are cancelled; one whose other tests are all released is done. What was executed with
    the cancelled tests can be refunded again."""
    charging.given_back(session, event.aggregate_id, event.item_ids, by="system", reason=event.reason)
    refusal.cancel_emptied(session, event.specimen_ids, by="system")
    for specimen_id in sorted(event.specimen_ids):
        if service.live_items(session, specimen_id):
            service.mark_done(session, specimen_id, by="system")


@on(TestsAdded, "lis.specimens.tests_added")
def tests_added(session: Session, event: TestsAdded) -> None:
    """Where labels were printed already, the new tests find their tube (an open one of their kind, else a new one)."""
    order = orders.locked(session, event.aggregate_id)
    if service.open_specimens(session, order.id):
        service.give_tubes(session, order, by="system")
