"""Mindray's chemistry and immunoassay analyzers (BS and CL series): what their host interface manuals share.

HL7 2.3.1. Results come as ORU^R01, often one test a message; MSH-16 says what it is: 0 patient, 1 calibration, 2
control. A control result stands in the OBR itself. Host queries go by display lines (`protocols.display_driver`).

Source: Mindray's host interface manuals as public projects quote them (BS series, P/N BA20-20-75337; CL series,
2013-08).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import ClassVar

from protocols.display_driver import DisplayDriver
from protocols.driver import Match
from protocols.messages.hl7 import Hl7Message, Segment, read_messages
from protocols.messages.times import iso_time
from protocols.model import Attachment, InstrumentEvent, Item, Observation, QcMark, Undecoded

_CALIBRATION, _CONTROL = "1", "2"
_INVALID = ("-0x0fffffff", str(-0x0FFFFFFF))
_SPECIMEN_TYPES = {
    "serum": "serum",
    "plasma": "plasma",
    "urine": "urine",
    "SER": "serum",
    "PLAS": "plasma",
    "UR": "urine",
}


class MindrayChemistry(DisplayDriver):
    series: ClassVar[str]
    """How the model's name begins (BS, CL)."""
    specimen_types: ClassVar[Mapping[str, str]] = _SPECIMEN_TYPES

    def fingerprint(self, payload: bytes) -> Match:
        messages = read_messages(payload[:4096])
        if not messages:
            return Match(0.0, "no MSH segment")
        message = messages[0]
        model = message.header.component(4, 1)
        if message.header.component(3, 1).upper() == "MINDRAY" and model.upper().startswith(self.series):
            return Match(1.0, f"MSH-3 and MSH-4 name a Mindray {model}")
        for segment in message.segments:
            place = {"OBR": (4, 2), "QRF": (1, 1)}.get(segment.name)
            if place is not None and segment.component(*place).upper().startswith(f"{self.series}-"):
                return Match(0.9, f"{segment.name}-{place[0]} names {segment.component(*place)}")
        return Match(0.0, f"neither MSH, OBR-4 nor QRF-1 names a {self.series}")

    # ------------------------------------------------------------------ results

    def results(self, message: Hl7Message) -> list[Item]:
        kind = message.header.text(16)
        if kind == _CONTROL:
            return [item for each in message.segments if each.name == "OBR" for item in self._controls(each)]
        if kind == _CALIBRATION:
            return [
                InstrumentEvent("calibration", None, each.line, iso_time(each.raw(6)), each.index)
                for each in message.segments
                if each.name in ("OBR", "OBX")
            ]
        return super().results(message)

    def _controls(self, request: Segment) -> list[Item]:
        """OBR-2 test, 3 its name, 6/8 time, 13 material, 14 lot, 17 level, 18 mean, 19 SD, 20 result, 21 unit.

        Several controls of a test may share a segment, as components at the same position.
        """
        code = request.component(2, 1)
        if not code:
            return [Undecoded("control result without a test number (OBR-2)", request.line[:2000], request.index)]
        columns = [request.components(number) for number in (13, 14, 17, 18, 19, 20)]
        observed_at = iso_time(request.raw(8)) or iso_time(request.raw(6)) or iso_time(request.raw(7))
        return [
            Observation(
                specimen=None,
                code=code,
                value=value or None,
                unit=request.component(21, 1) or None,
                observed_at=observed_at,
                name=request.component(3, 1) or None,
                comments=tuple(f"{word} {number}" for word, number in (("mean", mean), ("SD", sd)) if number),
                qc=QcMark(material or None, level or None, lot or None),
                record=request.index,
            )
            for material, lot, level, mean, sd, value in zip_longest(*columns, fillvalue="")
        ]

    def specimen(self, request: Segment) -> str | None:
        """OBR-2 barcode; without one the analyzer's own sample number, which a person must match."""
        return request.component(2, 1) or request.component(3, 1) or None

    def code(self, segment: Segment) -> tuple[str, str | None]:
        return segment.component(3, 1), segment.text(4) or None

    def value(self, segment: Segment, code: str) -> tuple[str | None, tuple[Attachment, ...]]:
        """OBX-5; an invalid number there means that OBX-9 holds the (qualitative) result."""
        value, attachments = super().value(segment, code)
        if value is not None and value.split(".")[0].lower() in _INVALID:
            value = segment.text(9) or None
        return value, attachments
