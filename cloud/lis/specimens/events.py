"""Facts about specimens. `aggregate_id` is the specimen."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class SpecimenCollected(Event):
    type: ClassVar[str] = "lis.specimens.specimen_collected"

    order_id: uuid.UUID
    person_id: uuid.UUID
    accession: str
    priority: str


@event_type
@dataclass(frozen=True, kw_only=True)
class SpecimenSent(Event):
    """It left the ward, in a batch with this number."""

    type: ClassVar[str] = "lis.specimens.specimen_sent"

    order_id: uuid.UUID
    person_id: uuid.UUID
    accession: str
    priority: str
    batch: str


@event_type
@dataclass(frozen=True, kw_only=True)
class TubeMovedByLine(Event):
    """An assembly line put the tube into a rack, took it out, or threw it away (`action`)."""

    type: ClassVar[str] = "lis.specimens.tube_moved_by_line"

    action: str
    rack: str
    position: str
    module: str
    line: str
    moved_at: datetime


@event_type
@dataclass(frozen=True, kw_only=True)
class SpecimenReceived(Event):
    """The tube is in the laboratory: instruments may be told what to do with it."""

    type: ClassVar[str] = "lis.specimens.specimen_received"

    order_id: uuid.UUID
    person_id: uuid.UUID
    accession: str
    priority: str


@event_type
@dataclass(frozen=True, kw_only=True)
class SpecimenRejected(Event):
    """`replacement_id`: the specimen to be collected in its place."""

    type: ClassVar[str] = "lis.specimens.specimen_rejected"

    order_id: uuid.UUID
    person_id: uuid.UUID
    accession: str
    reason_code: str
    replacement_id: uuid.UUID | None


@event_type
@dataclass(frozen=True, kw_only=True)
class SpecimenTestsChanged(Event):
    """Tests were added to a tube, or cancelled on it."""

    type: ClassVar[str] = "lis.specimens.specimen_tests_changed"

    order_id: uuid.UUID
    accession: str
