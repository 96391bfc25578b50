"""What was there before the first patient came: places, people of the laboratory, analyzers, the catalogue."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import Any

from cloud.history.verdicts import Channel
from cloud.lis.catalog.model import Test
from cloud.lis.reports.view import ReportItem


@dataclass(frozen=True, slots=True)
class Signer:
    id: uuid.UUID
    name: str

    @property
    def actor(self) -> str:
        return f"staff:{self.id}"


@dataclass(frozen=True, slots=True)
class Place:
    """A department and who orders there."""

    id: str
    name: str
    campus_id: str
    doctors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Analyzer:
    id: str
    link: str
    driver: str
    driver_version: str
    channels: dict[str, Channel]
    """By test code."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What every row and every line of a report says of a test, ready made."""

    id: str
    tube_id: str
    specimen_type: str
    unit: str
    name: str
    sensitive: str
    line: dict[str, Any]

    @classmethod
    def of(cls, test: Test) -> Tested:
        line = asdict(
            ReportItem(test.code, test.name, test.name_en, test.short_name, "", test.unit, "", "", test.method)
        )
        line |= {"loinc": test.loinc, "sensitive": bool(test.sensitive)}
        sensitive = "t" if test.sensitive else "f"
        return cls(str(test.id), str(test.tube_id), test.specimen_type, test.unit, test.name, sensitive, line)


@dataclass(frozen=True, slots=True)
class World:
    """Everything that was there before the first patient came."""

    hospital: str
    campus: str
    tests: dict[str, Tested]
    panels: dict[str, tuple[str, str, frozenset[str]]]
    """Code of a panel: id, name, codes of its tests."""
    places: dict[str, tuple[Place, ...]]
    """By kind of visit."""
    technicians: tuple[Signer, ...]
    reviewers: tuple[Signer, ...]
    counts: tuple[Analyzer, ...]
    chemistry: tuple[Analyzer, ...]
    gateway: str
