"""Abbott Alinity (c, i, ci, m and h series) by its HL7 interface, IHE LAW over MLLP.

Source: messages of Abbott's Alinity ci-series LIS interface manual (HL7, 80000455) as a public driver writes them
(connection test NMD^N02, available tests TCU^U10, RSP^K11, OML^O33, the negative answer), and the message layout of
Alinity m that a public interface documents from its laboratory. No capture was at hand.

SPM-2 is empty, the tube stands in SAC-3. Codes are assay numbers of the system 99ABT (`1006^HIV-1^99ABT`); an unread
OBX-6.1 leaves the unit's name in OBX-6.2. Alinity listens on a port of its own for LAB-28.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.law_driver import LawDriver, is_named


class AbbottAlinity(LawDriver):
    id: ClassVar[str] = "abbott_alinity"
    vendor: ClassVar[str] = "Abbott"
    models: ClassVar[tuple[str, ...]] = ("Alinity c", "Alinity i", "Alinity ci", "Alinity m", "Alinity h")
    source: ClassVar[str] = (
        "Abbott Alinity ci-series LIS interface manual (HL7) 80000455 as a public driver quotes it; Alinity m messages "
        "as a public interface documents them"
    )
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    code_system: ClassVar[str] = "99ABT"
    application: ClassVar[str] = "Alinity ci"
    notices: ClassVar[Mapping[str, str]] = {"NMD^N02": "connection test", "TCU^U10": "tests available"}

    def fingerprint(self, payload: bytes) -> Match:
        return is_named(payload, ("alinity",), "99ABT")
