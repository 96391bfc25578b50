"""Facts about clinic sessions. Numbers and bookings react to them in registration."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class SessionPublished(Event):
    """A session stands in the schedule; patients may book from its release time on."""

    type: ClassVar[str] = "hospital.session_published"
    department_id: uuid.UUID
    doctor_id: uuid.UUID | None
    day: date
    owner: str


@event_type
@dataclass(frozen=True, kw_only=True)
class SessionChanged(Event):
    """Something else than its doctor changed; `changed` names the columns (also ``state`` when it was closed or opened
    for booking again). `starts_before` is set where the beginning moved: patients have to be told."""

    type: ClassVar[str] = "hospital.session_changed"
    changed: tuple[str, ...]
    starts_before: datetime | None


@event_type
@dataclass(frozen=True, kw_only=True)
class SessionStopped(Event):
    """It does not take place: every booking is rebooked or paid back."""

    type: ClassVar[str] = "hospital.session_stopped"
    why: str


@event_type
@dataclass(frozen=True, kw_only=True)
class SessionSubstituted(Event):
    """Another doctor sits there; `substitute_id` None: the doctor himself comes after all."""

    type: ClassVar[str] = "hospital.session_substituted"
    doctor_id: uuid.UUID | None
    substitute_id: uuid.UUID | None
    why: str
