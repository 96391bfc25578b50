"""Facts about orders."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class OrderPlaced(Event):
    """`aggregate_id` is the order."""

    type: ClassVar[str] = "lis.orders.order_placed"

    person_id: uuid.UUID
    source: str
    placer_number: str
    priority: str


@event_type
@dataclass(frozen=True, kw_only=True)
class TestsAdded(Event):
    """Tests were added to an order (加做). `aggregate_id` is the order."""

    __test__: ClassVar[bool] = False  # not a test of pytest's
    type: ClassVar[str] = "lis.orders.tests_added"

    item_ids: tuple[uuid.UUID, ...]


@event_type
@dataclass(frozen=True, kw_only=True)
class OrderCancelled(Event):
    """These items are not to be done any more; `whole`: none of the order is left. `aggregate_id` is the order."""

    type: ClassVar[str] = "lis.orders.order_cancelled"

    item_ids: tuple[uuid.UUID, ...]
    specimen_ids: tuple[uuid.UUID, ...]
    whole: bool
    reason: str
