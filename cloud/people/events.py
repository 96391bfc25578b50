"""Facts about persons. They carry ids and the names of changed fields, never what a field says."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class PersonRegistered(Event):
    """A new file; `aggregate_id` is the person. `kind`: identified, unknown or newborn."""

    type: ClassVar[str] = "people.person_registered"
    kind: str
    by: str


@event_type
@dataclass(frozen=True, kw_only=True)
class PersonUpdated(Event):
    """The file says something else from now on; the old version is kept."""

    type: ClassVar[str] = "people.person_updated"
    version_number: int
    changed: tuple[str, ...]
    by: str


@event_type
@dataclass(frozen=True, kw_only=True)
class PersonsMerged(Event):
    """`retired_id` goes on as `aggregate_id`; phone access to both is suspended until verified again."""

    type: ClassVar[str] = "people.persons_merged"
    retired_id: uuid.UUID
    by: str
    reason: str


@event_type
@dataclass(frozen=True, kw_only=True)
class PersonsUnmerged(Event):
    """`retired_id` stands by itself again, apart from `aggregate_id`."""

    type: ClassVar[str] = "people.persons_unmerged"
    retired_id: uuid.UUID
    by: str
    reason: str
