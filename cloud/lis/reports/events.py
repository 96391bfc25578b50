"""Facts about reports. The sensitive and critical marks travel along, so that a reader decides without asking back."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import ClassVar

from cloud.kit.events import Event, event_type


@event_type
@dataclass(frozen=True, kw_only=True)
class ReportReleased(Event):
    """A version was released; `aggregate_id` is the report. `kind` is preliminary, final or amended."""

    type: ClassVar[str] = "reports.report_released"
    report_version: int
    kind: str
    person_id: uuid.UUID
    order_id: uuid.UUID
    specimen_id: uuid.UUID
    contains_critical: bool
    sensitive: bool


@event_type
@dataclass(frozen=True, kw_only=True)
class ReportRecalled(Event):
    """The report may no longer be read by patients nor acted on."""

    type: ClassVar[str] = "reports.report_recalled"
    report_version: int
    person_id: uuid.UUID
    order_id: uuid.UUID
    specimen_id: uuid.UUID


@event_type
@dataclass(frozen=True, kw_only=True)
class ReportDisclosed(Event):
    """What held the report back from the patient is lifted: `cause` is read_back or clinician."""

    type: ClassVar[str] = "reports.report_disclosed"
    report_version: int
    person_id: uuid.UUID
    cause: str
