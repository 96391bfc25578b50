"""What the phones have read: each report's page and paper, kept with the link that was opened."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from simulators.demo.compare import Lines


@dataclass(frozen=True, slots=True)
class Reading:
    link: str
    page: Lines
    paper: Lines


@dataclass(slots=True)
class Readings:
    """By accession, in the order of reading; a report that was pushed twice is read twice."""

    by_accession: dict[str, list[Reading]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, accession: str, link: str, page: Lines, paper: Lines) -> None:
        with self._lock:
            self.by_accession.setdefault(accession, []).append(Reading(link, page, paper))

    def any(self) -> bool:
        return bool(self.by_accession)

    def last(self, accession: str) -> Reading | None:
        found = self.by_accession.get(accession)
        return found[-1] if found else None
