"""Facts about accounts. They carry ids only."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class AccountBound(Event):
    """`aggregate_id` is the account. `relation`: self or family; `method`: sms or window."""

    type: ClassVar[str] = "patient.account_bound"
    person_id: uuid.UUID
    relation: str
    method: str


@event_type
@dataclass(frozen=True, kw_only=True)
class AccountUnbound(Event):
    """`aggregate_id` is the account; it may do nothing for this person any more."""

    type: ClassVar[str] = "patient.account_unbound"
    person_id: uuid.UUID
    relation: str
