"""Facts about results before release."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class ResultsReceived(Event):
    """New values of one specimen (`aggregate_id`) wait for review, or came after its release."""

    type: ClassVar[str] = "results.results_received"
    order_id: uuid.UUID
    person_id: uuid.UUID
    result_ids: tuple[uuid.UUID, ...]
    contains_critical: bool
    after_release: bool
