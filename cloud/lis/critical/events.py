"""Facts about critical values."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class CriticalOpened(Event):
    """Critical values were released, or came after it; somebody has to be told now. `aggregate_id` is the case."""

    type: ClassVar[str] = "critical.opened"
    specimen_id: uuid.UUID
    order_id: uuid.UUID
    person_id: uuid.UUID
    department_id: uuid.UUID


@event_type
@dataclass(frozen=True, kw_only=True)
class CriticalReadBack(Event):
    """The ward read the values back."""

    type: ClassVar[str] = "critical.read_back"
    specimen_id: uuid.UUID
