"""What was asked for, in the words it was asked with: panels, then single tests."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from cloud.lis.catalog.model import Panel, Test
from cloud.lis.orders.model import ItemState, OrderItem


def asked_for(
    session: Session,
    grouped_by: InstrumentedAttribute[uuid.UUID] | InstrumentedAttribute[uuid.UUID | None],
    ids: Collection[uuid.UUID],
) -> dict[uuid.UUID, list[str]]:
    """Short names by `grouped_by` (an order's or a specimen's id); cancelled items are left out."""
    rows = session.execute(
        select(grouped_by, Panel.short_name, Test.short_name)
        .select_from(OrderItem)
        .join(Test, Test.id == OrderItem.test_id)
        .outerjoin(Panel, Panel.id == OrderItem.panel_id)
        .where(grouped_by.in_(tuple(ids)), OrderItem.state != ItemState.CANCELLED)
        .order_by(OrderItem.position)
    )
    found: dict[uuid.UUID, dict[str, None]] = {}
    for key, panel, test in rows:
        if key is not None:
            found.setdefault(key, {})[panel or test] = None
    return {key: list(names) for key, names in found.items()}
