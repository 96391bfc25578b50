"""Any point-of-care device that speaks POCT1-A and has no driver of its own: its channels are mapped in data.

Source: the CLSI POCT01-A2 objects as a captured dialogue (Siemens DCA Vantage) and public host programs show them. It
claims every POCT1-A document with a low score, so that no result is lost while a proper driver is missing.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Match, Status
from protocols.messages.poct1a import ROOT_NAME, kind_of
from protocols.poct1a_driver import Poct1aDriver


class GenericPoct1a(Poct1aDriver):
    id: ClassVar[str] = "generic_poct1a"
    vendor: ClassVar[str] = "any"
    models: ClassVar[tuple[str, ...]] = ()
    source: ClassVar[str] = "CLSI POCT01-A2, Device Messaging Layer, as captures and public host programs show it"
    status: ClassVar[Status] = Status.CAPTURED

    def fingerprint(self, payload: bytes) -> Match:
        kind = kind_of(payload)
        if ROOT_NAME.fullmatch(kind.encode("utf-8", "replace")):
            return Match(0.1, f"a POCT1-A document ({kind}) that no driver claims")
        if b"HDR.control_id" in payload and b"POCT1" in payload:
            return Match(0.1, f"a POCT1-A header in a document of the vendor's own ({kind})")
        return Match(0.0, "no POCT1-A document")
