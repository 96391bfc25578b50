"""Any analyzer that sends HL7 v2 results (ORU, OUL) and has no driver of its own: its channels are mapped in data.

Source: the HL7 v2.3.1 to 2.5 chapter 7 fields as captures show them (BC-5380, GeneXpert, Clinitek). It claims every HL7
message with a low score, so that no result is lost while a proper driver is missing.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Match, Status
from protocols.hl7_driver import Hl7Driver


class GenericHl7(Hl7Driver):
    id: ClassVar[str] = "generic_hl7"
    vendor: ClassVar[str] = "any"
    models: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = "HL7 v2.3.1 to 2.5, chapter 7"
    status: ClassVar[Status] = Status.CAPTURED

    def fingerprint(self, payload: bytes) -> Match:
        head = payload.lstrip()[:4]
        if head[:3] in (b"MSH", b"FHS", b"BHS") and head[3:] and not head[3:].isalnum():
            return Match(0.1, "an HL7 header segment that no driver claims")
        return Match(0.0, "no HL7 header segment")
