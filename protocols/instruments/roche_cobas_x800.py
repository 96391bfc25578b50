"""Roche cobas 5800/6800/8800 (x800 Data Manager) and cobas 4800 by their host interface, IHE LAW.

Source: example messages of the x800 Data Manager host interface manual in a public simulator (QBP^Q11, OML^O33 with its
negative and cancelling forms, ORL^O34, OUL^R22) and the cobas 4800 messages of a public interface. No capture was at
hand.

SPM-2 is the tube with ROCHE, SAC-3 the tube alone, SAC-10/11 rack and place. OBR-4 names the test (LOINC), OBX-3 the
target; OBX-4 is the channel (`1/1`, `1.1`). The volume that TCD-9 may ask for is left to the analyzer.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Match, Status
from protocols.law_driver import LawDriver, is_named
from protocols.messages.hl7 import escape
from protocols.model import HostQuery, Order


class RocheCobasX800(LawDriver):
    id: ClassVar[str] = "roche_cobas_x800"
    vendor: ClassVar[str] = "Roche"
    models: ClassVar[tuple[str, ...]] = ("cobas 5800", "cobas 6800", "cobas 8800", "cobas 4800")
    source: ClassVar[str] = (
        "x800 Data Manager host interface manual, example messages in a public simulator; cobas 4800 messages of a "
        "public interface"
    )
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    code_system: ClassVar[str] = "LN"
    application: ClassVar[str] = "X800 DM"

    def fingerprint(self, payload: bytes) -> Match:
        names = ("x800", "cobas 4800", "cobas 5800", "cobas 6800", "cobas 8800", "cobas6800", "cobas5800")
        return is_named(payload, names, "")

    def specimen_segment(self, specimen: str, order: Order, query: HostQuery | None) -> list[str]:
        fields = super().specimen_segment(specimen, order, query)
        fields[2] = f"{escape(specimen)}&ROCHE"
        return fields
