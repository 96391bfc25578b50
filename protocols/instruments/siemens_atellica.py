"""Siemens Atellica Solution by its HL7 interface, IHE LAW over MLLP.

Source: messages of an Atellica Solution in a public interface of a laboratory (OUL^R22 with its orders' OML^O33). No
capture was at hand.

The sender is the configured name of the line (`UIW_LIS`). Test codes are of the system 99SiemensHDXTestCode; each
result of a test has a code of its own (`aHCV.INDX`, `aHCV.INTR`, `aHCV.RLU`). OBX-4 is run^replicate. Flags of a result
come as NTE whose NTE-4 is FLAG.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Match, Status
from protocols.law_driver import LawDriver, is_named
from protocols.messages.hl7 import Segment
from protocols.model import Observation, changed

_TESTS = "99SiemensHDX"


class SiemensAtellica(LawDriver):
    id: ClassVar[str] = "siemens_atellica"
    vendor: ClassVar[str] = "Siemens Healthineers"
    models: ClassVar[tuple[str, ...]] = ("Atellica Solution", "Atellica CI")
    source: ClassVar[str] = "Messages of an Atellica Solution (OUL^R22, OML^O33) in a public laboratory interface"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    code_system: ClassVar[str] = "99SiemensHDXTestCode"
    application: ClassVar[str] = "UIW_LIS"

    def fingerprint(self, payload: bytes) -> Match:
        return is_named(payload, ("uiw_lis", "atellica"), _TESTS)

    def note(self, segment: Segment, result: Observation) -> Observation | None:
        """NTE-4 FLAG: the words of NTE-3 are a flag of the result."""
        if segment.component(4, 1) != "FLAG":
            return None
        return changed(result, flags=(*result.flags, segment.text(3)))
