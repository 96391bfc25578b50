"""BioSystems BA200 and BA400 chemistry analyzers, IHE LAW over MLLP.

Source: messages of a BA200 and a BA400 in the tests of a public laboratory system (QBP^Q11, OML^O33, ORL^O34, OUL^R22)
and of a public middleware. No capture was at hand.

SPM-2 is the tube, without SAC. Test codes are names of the system A400 (`GLUCOSE^GLUCOSE^A400`). OBX-8 NONE is no flag.
Letters outside ASCII come as \\Zhhhh\\ (`\\Z03BC\\g/L`, UTF-16).
"""

from __future__ import annotations

import re
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.law_driver import LawDriver, is_named
from protocols.messages.hl7 import Segment
from protocols.model import HostQuery, Order

_UTF16 = re.compile(r"\\Z([0-9A-Fa-f]{4})\\")


class BiosystemsBa(LawDriver):
    id: ClassVar[str] = "biosystems_ba"
    vendor: ClassVar[str] = "BioSystems"
    models: ClassVar[tuple[str, ...]] = ("BA200", "BA400")
    source: ClassVar[str] = "Messages of BA200 and BA400 in the tests of a public laboratory system"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    code_system: ClassVar[str] = "A400"
    application: ClassVar[str] = "BA400"

    def fingerprint(self, payload: bytes) -> Match:
        return is_named(payload, ("ba200", "ba400"), "^A400")

    def unit(self, segment: Segment) -> str | None:
        unit = super().unit(segment)
        return _UTF16.sub(lambda match: chr(int(match[1], 16)), unit) if unit else None

    def flags(self, segment: Segment) -> tuple[str, ...]:
        return tuple(flag for flag in super().flags(segment) if flag != "NONE")

    def specimen_segment(self, specimen: str, order: Order, query: HostQuery | None) -> list[str]:
        """SPM-2 as the analyzer's own messages have it."""
        fields = super().specimen_segment(specimen, order, query)
        fields[2] = fields[2] or specimen
        return fields
