"""Facts that the HIS told and that services above react to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class NumbersMoved(Event):
    """Of a session of the HIS (`aggregate_id`: ours of it) a window sold a number, or took one back."""

    type: ClassVar[str] = "his.numbers_moved"
