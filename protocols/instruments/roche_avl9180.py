"""Roche (AVL) 9180 electrolyte analyzer: the printer's slip, which ends with silence.

Source: an open program that reads one (Vietbait LabLink): the slip begins with the analyzer's name, has a line
``Sample:``, the date as ``12JAN26`` and a line for each electrolyte (``Na=142.3 mmol/L``). No sample number is read
there: the results wait for a person to name the sample. Not proved on an instrument.
"""

from __future__ import annotations

import re
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.links.text import TextOptions
from protocols.links.text_framing import SILENCE
from protocols.messages.printed_times import iso_clock, iso_date
from protocols.model import Observation
from protocols.text_driver import Printed, PrintoutDriver

_RESULT = re.compile(r"\s*(Na|K|Ca|Cl|Li)\s*=\s*([<>]?\s*\d[\d.]*|[-*.]{2,})\s*([A-Za-z/%]*)\s*(.*)$")
_DATE = re.compile(r"\s*(\d{2}[A-Za-z]{3}\d{2})\s+(\d{1,2}:\d{2})?")


class RocheAvl9180(PrintoutDriver):
    id: ClassVar[str] = "roche_avl9180"
    vendor: ClassVar[str] = "Roche"
    models: ClassVar[tuple[str, ...]] = ("AVL 9180",)
    source: ClassVar[str] = "an open program that reads an AVL 9180 (Vietbait LabLink)"
    status: ClassVar[Status] = Status.MANUAL
    link_options: ClassVar[TextOptions] = TextOptions(SILENCE, accept=b"", refuse=b"", idle_end_s=3.0)
    headings: ClassVar[re.Pattern[str] | None] = re.compile(r"\s*(?:[-=*_ ]+|-\s+NA-K.*)$")

    def fingerprint(self, payload: bytes) -> Match:
        if b"AVL 9180" in payload[:400]:
            return Match(0.95, "the slip names an AVL 9180")
        return Match(0.0, "no slip of an AVL 9180")

    def head(self, line: str, printed: Printed) -> bool:
        if "AVL 9180" in line:
            printed.sender = line.strip(" *-")
            return True
        date = _DATE.match(line)
        if date is not None:
            printed.date = iso_date(date[1], None) or date[1]
            printed.time = iso_clock(date[2]) if date[2] else None
        return date is not None

    def result(self, line: str, printed: Printed) -> Observation | None:
        match = _RESULT.match(line)
        if match is None:
            return None
        value = match[2].replace(" ", "")
        return Observation(
            specimen=printed.specimen,
            code=match[1],
            value=value if value.strip("-*.") else None,
            unit=match[3] or None,
            flags=tuple(match[4].split()),
        )
