"""URIT 8030 series chemistry analyzers (8021A, 8030, 8031), HL7 2.3.1 over MLLP.

Source: messages of a URIT-8031 (ORU^R01, DSR^Q03) in public laboratory systems and simulators. No capture was at hand.

Mindray's dialogue (QRY^Q02, QCK^Q02, DSR^Q03) with display lines of its own: 1 and 2 the tube, 3 the specimen's type, 4
the name, 5 the sex, 16 STAT, 17 the number of tubes, tests from 29 on as ``count^code^^``. MSH-3 is `urit`, MSH-4 the
model. OBR-2 is the tube, OBX-3 the channel's number and OBX-4 the name; OBX-14 is a date with hyphens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from protocols.display_driver import DisplayDriver
from protocols.driver import Match, Status
from protocols.messages.hl7 import Segment, escape, read_messages
from protocols.model import Order

_SPECIMEN_TYPES = {"serum": "SERUM", "SER": "SERUM", "urine": "URINE", "UR": "URINE"}


class Urit8030(DisplayDriver):
    id: ClassVar[str] = "urit_8030"
    vendor: ClassVar[str] = "URIT"
    models: ClassVar[tuple[str, ...]] = ("URIT-8021A", "URIT-8030", "URIT-8031")
    source: ClassVar[str] = "Messages of a URIT-8031 in public laboratory systems and simulators"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    specimen_types: ClassVar[Mapping[str, str]] = _SPECIMEN_TYPES
    flag_meanings: ClassVar[Mapping[str, str]] = {
        "N": "within the reference range",
        "H": "above the reference range",
        "L": "below the reference range",
    }

    def fingerprint(self, payload: bytes) -> Match:
        messages = read_messages(payload[:4096])
        header = messages[0].header if messages else None
        if header is not None and header.text(3).lower() == "urit":
            return Match(1.0, f"MSH names a URIT {header.text(4)}".strip())
        return Match(0.0, "MSH-3 does not name URIT")

    def specimen(self, request: Segment) -> str | None:
        """OBR-2 the tube; OBR-3 is the analyzer's own number of the run."""
        return request.component(2, 1) or request.component(3, 1) or None

    def code(self, segment: Segment) -> tuple[str, str | None]:
        return segment.component(3, 1), segment.text(4) or None

    def lines(self, order: Order) -> Mapping[int, str | None]:
        return {
            1: order.specimen,
            2: order.specimen,
            3: self.specimen_types.get(order.specimen_type or ""),
            4: order.patient_name,
            5: order.sex,
            16: "Y" if order.priority == "S" else "N",
            17: "1",
        }

    def test_line(self, code: str, number: int) -> str:
        return f"{number}^{escape(code)}^^"
