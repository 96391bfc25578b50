"""Facts about worklists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class WorklistChanged(Event):
    """The worklist of one box has a new revision. `aggregate_id` is the specimen it is about."""

    type: ClassVar[str] = "lis.worklists.worklist_changed"

    gateway: str
    revision: int
