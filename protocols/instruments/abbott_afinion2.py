"""Abbott Afinion 2 point-of-care analyzer (HbA1c, CRP, ACR, lipids), ASTM E1394, results only.

Source: the Afinion 2 ASTM interface as senaite.astm quotes it (abbott_afinion2.py: fields, flags and example
records). Not captured by us. The analyzer can be set to HL7 or POCT1-A instead; those lines are other drivers'
business.

The instrument knows no specimen number: what its operator typed stands in P.4 and is carried as the specimen. O.4 is
only its own running number. A value that could not be measured or calculated is sent as ``---`` and stays so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Context
from protocols.driver import Match, Status
from protocols.messages.astm import Record, read_message
from protocols.model import QcMark


class AbbottAfinion2(AstmDriver):
    id: ClassVar[str] = "abbott_afinion2"
    vendor: ClassVar[str] = "Abbott"
    models: ClassVar[tuple[str, ...]] = ("Afinion 2",)
    source: ClassVar[str] = "Afinion 2 ASTM interface as senaite.astm quotes it"
    status: ClassVar[Status] = Status.MANUAL
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "<": "below the measuring range",
        ">": "above the measuring range",
        "L": "below the normal range",
        "H": "above the normal range",
        "LL": "below the extreme range",
        "HH": "above the extreme range",
        "!": "ambiguous result",
    }

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        if header.component(5, 1).lower() == "afinion 2 analyzer":
            return Match(1.0, f"H.5 names an Afinion 2, device {header.component(5, 3) or 'not told'}")
        return Match(0.0, "H.5 is not an Afinion 2")

    def _take(self, record: Record, context: Context) -> None:
        super()._take(record, context)
        if record.kind == "P":
            context.specimen = record.text(4) or None

    def begin_order(self, record: Record, context: Context) -> None:
        typed = context.specimen
        super().begin_order(record, context)
        context.specimen = typed
        if context.qc is not None:
            context.qc = QcMark(material=typed)
