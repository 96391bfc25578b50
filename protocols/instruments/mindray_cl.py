"""Mindray CL series immunoassay analyzers (CL-900i, CL-1000i, CL-2000i ...), HL7 2.3.1 over MLLP.

Source: Mindray's host interface manual of the CL series (2013-08), as extracted text in a public project, with its
examples of results, controls, queries and orders sent without a query. No capture was at hand.

As the BS series (results, controls in OBR, QRY^Q02 and DSR^Q03), and: OBR-30 is the module of a control's result,
OBX-17 1 a rerun, the host may put orders on the analyzer with DSR^Q03 whose MSH-15 is P. MSH-3 and MSH-4 may be left
empty: then only the configuration knows the analyzer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from protocols.dialects.mindray_chemistry import MindrayChemistry
from protocols.driver import Status
from protocols.hl7_driver import Context
from protocols.messages.hl7 import Hl7Message, Segment
from protocols.model import Item, Observation, Undecoded, changed


class MindrayCl(MindrayChemistry):
    id: ClassVar[str] = "mindray_cl"
    vendor: ClassVar[str] = "Mindray"
    models: ClassVar[tuple[str, ...]] = ("CL-900i", "CL-1000i", "CL-1200i", "CL-2000i", "CL-6000i")
    source: ClassVar[str] = "Mindray CL series host interface manual (2013-08), extracted text in a public project"
    status: ClassVar[Status] = Status.MANUAL
    series: ClassVar[str] = "CL"
    answers_host_queries: ClassVar[bool] = True
    takes_orders: ClassVar[bool] = True
    specimen_types: ClassVar[Mapping[str, str]] = {
        **MindrayChemistry.specimen_types,
        "whole blood": "whole blood",
        "BLD": "whole blood",
    }
    flag_meanings: ClassVar[Mapping[str, str]] = {"N": "sent with every result, says nothing (manual: fixed)"}

    def results(self, message: Hl7Message) -> list[Item]:
        """OBR-30: the module of a control's result."""
        module = {segment.index: segment.text(30) for segment in message.segments if segment.name == "OBR"}
        return [
            changed(item, module=module.get(item.record or 0) or None)
            if isinstance(item, Observation) and item.qc is not None
            else item
            for item in super().results(message)
        ]

    def observation(self, segment: Segment, context: Context) -> Observation | Undecoded:
        """OBX-17: 1 marks a rerun. OBX-8 is always N; the range is void."""
        found = super().observation(segment, context)
        if isinstance(found, Observation) and segment.text(17) == "1":
            return changed(found, comments=(*found.comments, "rerun"))
        return found
