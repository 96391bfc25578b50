"""A report as its readers get it: the frozen content of one version as values. JSON in the database, these types
outside.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from cloud.lis.reports.disclosure import ReportMarks

CONTENT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ReportItem:
    """One line of a report, as printed."""

    code: str
    name: str
    name_en: str
    short_name: str
    value: str
    unit: str
    flag: str
    """"" , N, L, H, LL, HH or A (`cloud.lis.verification.rules.Flag`)."""
    range_text: str
    method: str
    loinc: str | None = None
    draft: bool = False
    critical: bool = False
    sensitive: bool = False
    previous_value: str | None = None
    previous_at: str | None = None
    """ISO 8601, UTC."""
    observed_at: str | None = None
    corrected_from: str | None = None
    """The value of the version before, where an amendment changed it."""


@dataclass(frozen=True, slots=True)
class ReportImage:
    """A histogram or picture printed with the report; `sha256` is that of the stored attachment."""

    attachment_id: str
    name: str
    media_type: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ReportContent:
    """Everything printed, frozen at release. Times are ISO 8601 UTC; printing uses the hospital's zone."""

    hospital: str
    campus: str
    title: str
    report_number: str
    accession: str
    barcode: str
    patient_name: str
    sex: str
    """M, F or U."""
    age_text: str
    birth_date: str | None
    mrn: str | None
    department: str
    ordered_by: str
    visit_number: str | None
    diagnosis: str | None
    order_number: str
    placer_number: str
    priority: str
    specimen_type: str
    ordered_at: str
    collected_at: str | None
    received_at: str | None
    released_at: str
    reviewed_by: str
    released_by: str
    kind: str
    """preliminary, final or amended."""
    version: int
    comment: str | None
    reason: str | None
    """Why it was amended."""
    draft: bool
    items: tuple[ReportItem, ...] = ()
    missing: tuple[str, ...] = ()
    """Names of ordered tests without a released result (preliminary)."""
    images: tuple[ReportImage, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"v": CONTENT_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ReportContent:
        """Keys unknown to this version are ignored, missing ones take their default."""
        values = _known(cls, data)
        values["items"] = tuple(ReportItem(**_known(ReportItem, each)) for each in data.get("items", ()))
        values["images"] = tuple(ReportImage(**_known(ReportImage, each)) for each in data.get("images", ()))
        values["missing"] = tuple(data.get("missing", ()))
        return cls(**values)


def _known(cls: type[Any], data: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(cls)}
    return {key: value for key, value in data.items() if key in names}


@dataclass(frozen=True, slots=True)
class ReportView:
    """One version of a report for a reader. Whoever shows it to a patient asks `disclosure` with `marks` first."""

    report_id: uuid.UUID
    person_id: uuid.UUID
    order_id: uuid.UUID
    specimen_id: uuid.UUID
    campus_id: uuid.UUID
    department_id: uuid.UUID
    state: str
    """preliminary, final, amended or recalled: of the report now."""
    version: int
    current: bool
    released_at: datetime
    marks: ReportMarks
    content: ReportContent = field(repr=False)

    @property
    def items(self) -> tuple[ReportItem, ...]:
        return self.content.items
