"""What the phones have read: each report's page and paper as they were, with the lines that were read from them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from simulators.demo.compare import Lines


@dataclass(frozen=True, slots=True)
class Reading:
    """One opening of the pushed link and of the PDF behind it."""

    accession: str
    link: str
    html: str
    document: bytes
    page: Lines
    paper: Lines


@dataclass(slots=True)
class Readings:
    """By accession, in the order of reading; a report that was pushed twice is read twice. `folder` keeps evidence."""

    folder: Path
    by_accession: dict[str, list[Reading]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, reading: Reading) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{reading.accession}.html").write_text(reading.html, encoding="utf-8")
        (self.folder / f"{reading.accession}.pdf").write_bytes(reading.document)
        with self._lock:
            self.by_accession.setdefault(reading.accession, []).append(reading)

    def last(self, accession: str) -> Reading | None:
        found = self.by_accession.get(accession)
        return found[-1] if found else None
