"""What is known of one order and one of its tubes while their rows are made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloud.history.copying import NULL
from cloud.history.patients import Previous, Visit
from cloud.history.verdicts import Judged
from cloud.history.world import Place, Signer


@dataclass(slots=True)
class Story:
    visit: Visit
    place: Place
    person: str
    priority: str
    at: datetime
    order_id: str
    doctor: str
    number: str = ""
    diagnosis: str = ""
    visit_number: str = ""


class Tube:
    def __init__(
        self, kind: str, specimen: str, accession: str, collected: datetime, received: datetime, bench: Signer
    ) -> None:
        self.kind, self.specimen, self.accession = kind, specimen, accession
        self.collected, self.received, self.bench = collected, received, bench
        self.items: dict[str, str] = {}
        self.details: dict[str, Any] = {}
        self.stamp = NULL


@dataclass(frozen=True, slots=True)
class Signatures:
    by: Signer
    releaser: Signer
    reviewed: datetime | None
    released: datetime | None


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    code: str
    judged: Judged
    previous: Previous | None
