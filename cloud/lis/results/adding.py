"""Tests that join a specimen without a doctor's order: calculated ones and those that a reflex rule asks for."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.kit.ids import new_id
from cloud.lis.calculation.model import AddedItem
from cloud.lis.catalog.model import ApprovalState
from cloud.lis.instruments.model import Instrument, InstrumentChannel, InstrumentState
from cloud.lis.orders.model import ItemState, OrderItem
from cloud.lis.specimens.model import Specimen


def measured(session: Session, test_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the tests that an instrument in use takes orders for: its value is waited for."""
    found = (
        select(InstrumentChannel.test_id)
        .join(Instrument, Instrument.id == InstrumentChannel.instrument_id)
        .where(
            InstrumentChannel.test_id.in_(test_ids),
            InstrumentChannel.sendable,
            InstrumentChannel.state != ApprovalState.RETIRED,
            Instrument.state == InstrumentState.ACTIVE,
        )
    )
    return {each for each in session.scalars(found) if each is not None}


def add_item(
    session: Session,
    specimen: Specimen,
    test_id: uuid.UUID,
    *,
    reason: str,
    charged: bool,
    rule: uuid.UUID,
    cause: uuid.UUID | None,
) -> OrderItem | None:
    """A test more on this tube, with the reason why; None where the order has the test already."""
    last = select(func.coalesce(func.max(OrderItem.position), 0) + 1).where(OrderItem.order_id == specimen.order_id)
    item: OrderItem | None = session.scalar(
        insert(OrderItem)
        .values(
            id=new_id(),
            created_at=clock.now(),
            order_id=specimen.order_id,
            test_id=test_id,
            specimen_id=specimen.id,
            state=ItemState.RECEIVED,
            position=last.scalar_subquery(),
        )
        .on_conflict_do_nothing()
        .returning(OrderItem)
    )
    if item is not None:
        session.add(
            AddedItem(
                order_item_id=item.id,
                reason=reason,
                charged=charged,
                rule_id=rule,
                result_id=cause,
                added_at=clock.now(),
            )
        )
    return item
