"""Bio-Rad D-10 haemoglobin HPLC (HbA1c, A2/F), directly or through the Clinical Data Management system, ASTM E1394.

Source: messages of a D-10 line in Medplum's agent guide and in an open laboratory interface, and a description of the
D-10's LIS interface in an open middleware. Bio-Rad's own document was not at hand; nothing is captured by us.

What they show: a chromatogram comes as one result for each peak, R.3 ``^^^peak^aspect``. AREA is the concentration
and keeps the peak's name (A1c, A2, F, A0, P1, TOTAL) as its code, any other aspect (TIME, the retention time) is
``peak^aspect``. Component 1 of O.3 is the barcode; the others (place and injection) are not explained and not
carried. R.5 may hold the standardisation (NGSP) where a unit belongs: as sent. The instrument sends its controls and
calibrators like patients, without a mark that the sources explain. Results only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from protocols.astm_driver import AstmDriver, Test
from protocols.driver import Match, Status
from protocols.messages.astm import Record, read_message


class BioradD10(AstmDriver):
    id: ClassVar[str] = "biorad_d10"
    vendor: ClassVar[str] = "Bio-Rad"
    models: ClassVar[tuple[str, ...]] = ("D-10", "D-10 Dual")
    source: ClassVar[str] = "D-10 messages in Medplum's agent guide and in open laboratory interfaces"
    status: ClassVar[Status] = Status.MANUAL

    def fingerprint(self, payload: bytes) -> Match:
        header = read_message(payload[:1024]).header
        if header is None:
            return Match(0.0, "no ASTM header record")
        name = header.component(5, 1).upper()
        if name.removeprefix("BIO-RAD").strip().replace("-", "") in ("D10", "D10 DUAL"):
            return Match(1.0, f"H.5 names a Bio-Rad {header.component(5, 1)}")
        if name.startswith("BIO-RAD CDM SYSTEM"):
            return Match(0.9, "H.5 names Bio-Rad's Clinical Data Management system")
        return Match(0.0, "H.5 is no Bio-Rad D-10")

    def specimen(self, order: Record) -> tuple[str | None, str | None, str | None]:
        return order.component(3, 1) or order.component(4, 1) or None, None, None

    def test(self, parts: Sequence[str]) -> Test:
        peak, aspect = [*parts[3:5], "", ""][:2]
        if not peak:
            return super().test(parts)
        return peak if aspect in ("", "AREA") else f"{peak}^{aspect}", None, None
