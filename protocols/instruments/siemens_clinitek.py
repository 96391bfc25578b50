"""Siemens CLINITEK Status+ urine analyzer by its connector, HL7 2.4 (ORU^R01) over MLLP.

Source: a capture of a Clinitek Status (a control of Multistix 10 SG). Its manual was not at hand: what the capture does
not show stays as sent.

OBR-15.7 is Q for a control. NTE behind OBR describe it: QCName, QCLevel, QCLot, QCExpiry, QCResult. OBR-3 is the
analyzer's own number of the test, OBR-4 the strip, OBR-20 its lot and OBR-21 its month of expiry. A control's OBX has
an NTE QCRResult with its own verdict.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Match, Status
from protocols.hl7_driver import Hl7Driver
from protocols.messages.hl7 import Hl7Message, Segment, read_messages
from protocols.model import Item, Observation, QcMark, changed

_MARKS = {"QCName": "material", "QCLevel": "level", "QCLot": "lot"}


class SiemensClinitek(Hl7Driver):
    id: ClassVar[str] = "siemens_clinitek"
    vendor: ClassVar[str] = "Siemens Healthineers"
    models: ClassVar[tuple[str, ...]] = ("CLINITEK Status+",)
    source: ClassVar[str] = "A capture of a Clinitek Status"
    status: ClassVar[Status] = Status.CAPTURED

    def fingerprint(self, payload: bytes) -> Match:
        messages = read_messages(payload[:4096])
        sender = messages[0].header.component(3, 1) if messages else ""
        if sender.lower().startswith("clinitek"):
            return Match(1.0, f"MSH-3 names a {sender}")
        return Match(0.0, "MSH-3 does not name a Clinitek")

    def results(self, message: Hl7Message) -> list[Item]:
        """The notes of an order group are read before its results: they name the control and the strip."""
        marks, lots = _of_groups(message)
        found: list[Item] = []
        for item in super().results(message):
            if not isinstance(item, Observation):
                found.append(item)
                continue
            group = max((index for index in marks if index < (item.record or 0)), default=0)
            said = marks.get(group, {})
            own = item.qc.material if item.qc is not None else None
            mark = QcMark(material=said.get("material", own), level=said.get("level"), lot=said.get("lot"))
            found.append(changed(item, qc=mark if item.qc is not None else None, reagent_lot=lots.get(group)))
        return found


def _of_groups(message: Hl7Message) -> tuple[dict[int, dict[str, str]], dict[int, str | None]]:
    """By the OBR's index: what its notes say of the control, and the lot of its strip (OBR-20)."""
    marks: dict[int, dict[str, str]] = {}
    lots: dict[int, str | None] = {}
    group, above = 0, ""
    for segment in message.segments[1:]:
        if segment.name == "OBR":
            group = segment.index
            marks[group], lots[group] = {}, segment.text(20) or None
        elif segment.name == "NTE" and above != "OBX" and group:
            marks[group].update(_mark(segment))
        above = above if segment.name == "NTE" else segment.name
    return marks, lots


def _mark(note: Segment) -> dict[str, str]:
    name, _, value = note.text(3).partition(":")
    field = _MARKS.get(name.strip())
    return {field: value.strip()} if field and value.strip() else {}
