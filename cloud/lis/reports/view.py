"""A report as its readers get it: the frozen content of one version as values. JSON in the database, these types
outside.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from cloud.lis.reports.disclosure import ReportMarks

CONTENT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Earlier:
    """A released value of the same test before this one; `at` is ISO 8601, UTC."""

    value: str
    at: str
    flag: str = ""


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
    earlier: tuple[Earlier, ...] = ()
    """What came before `previous_value`, newest first, where the form prints more than one."""
    instrument: str = ""
    value_type: str = ""
    """`cloud.lis.catalog.model.ValueType`; empty on what was released before it was kept."""
    referral: str = ""
    """The laboratory that examined it for this one."""


@dataclass(frozen=True, slots=True)
class ReportImage:
    """A histogram or picture printed with the report; `sha256` is that of the stored attachment."""

    attachment_id: str
    name: str
    media_type: str
    sha256: str


@dataclass(frozen=True, slots=True)
class TrendPoint:
    at: str
    value: str
    number: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The course of one test as drawn, oldest first and this report's value last, all in one unit."""

    code: str
    name: str
    unit: str
    low: float | None
    high: float | None
    points: tuple[TrendPoint, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What an amended version says otherwise than the version before it."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SignatureUsed:
    """Whose signature stands on the paper as an image; `act` is review or release."""

    act: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FormUsed:
    """The form a version was made out on (`forms`), and the typesetting source by its hash: both are stored."""

    code: str
    version: int
    source: str


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
    remarks: tuple[str, ...] = ()
    """On the specimen: concessions, what the analyzer said of the serum."""
    trends: tuple[Trend, ...] = ()
    changes: tuple[Change, ...] = ()
    supersedes_at: str | None = None
    """Release of the version that this one amends."""
    signatures: tuple[SignatureUsed, ...] = ()
    bed: str | None = None
    form: FormUsed | None = None
    """None: released before forms were kept; it prints on the product's own general form."""

    def to_json(self) -> dict[str, Any]:
        """What is empty is left out: a million reports are kept."""
        items = [_without_empty(asdict(each), _ITEM_EXTRAS) for each in self.items]
        return _without_empty({"v": CONTENT_VERSION, **asdict(self), "items": items}, _EXTRAS)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ReportContent:
        """Keys unknown to this version are ignored, missing ones take their default."""
        values = _known(cls, data)
        values["items"] = tuple(_item(each) for each in data.get("items", ()))
        values["images"] = _each(ReportImage, data.get("images", ()))
        values["changes"] = _each(Change, data.get("changes", ()))
        values["signatures"] = _each(SignatureUsed, data.get("signatures", ()))
        values["trends"] = tuple(
            Trend(**{**_known(Trend, each), "points": _each(TrendPoint, each["points"])})
            for each in data.get("trends", ())
        )
        values["missing"] = tuple(data.get("missing", ()))
        values["remarks"] = tuple(data.get("remarks", ()))
        values["form"] = FormUsed(**_known(FormUsed, data["form"])) if data.get("form") else None
        return cls(**values)


_EXTRAS = frozenset({"remarks", "trends", "changes", "supersedes_at", "signatures", "bed", "form"})
_ITEM_EXTRAS = frozenset({"earlier", "instrument", "value_type", "referral"})


def _item(data: dict[str, Any]) -> ReportItem:
    return ReportItem(**{**_known(ReportItem, data), "earlier": _each(Earlier, data.get("earlier", ()))})


def _each(cls: type[Any], rows: Iterable[dict[str, Any]]) -> tuple[Any, ...]:
    return tuple(cls(**_known(cls, row)) for row in rows)


def _known(cls: type[Any], data: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(cls)}
    return {key: value for key, value in data.items() if key in names}


def _without_empty(data: dict[str, Any], extras: Container[str]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value or key not in extras}


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
