"""Nova Biomedical StatStrip and StatSensor meters (glucose, ketone, lactate, creatinine), by POCT1-A.

Source: Nova's "DML_Novanet Interface Specs" v2.59 and a host program of it, as public projects quote them. Vendor
NOVABIO in HEL; a value may carry NULL when the operator cancelled; ORD.order_id is the accession number
(PT.patient_id is then UNKNOWN); the text of RGT.name says what a lot is (TY=TS strip, TY=QC control). Setup, location
and reagent lists (NOVA.*) go from the vendor's own system to the meter and are not made here.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Match, Status
from protocols.messages.poct1a import Element, NotReadable, read
from protocols.poct1a_driver import Poct1aDriver


class NovaStatStrip(Poct1aDriver):
    id: ClassVar[str] = "nova_statstrip"
    vendor: ClassVar[str] = "Nova Biomedical"
    models: ClassVar[tuple[str, ...]] = ("StatStrip", "StatStrip79", "StatStrip32", "StatSensor39", "StatSensor39i")
    source: ClassVar[str] = "Nova DML_Novanet Interface Specs v2.59, as public projects quote it"
    status: ClassVar[Status] = Status.MANUAL
    flag_meanings: ClassVar[dict[str, str]] = {
        "N": "normal",
        "L": "low",
        "H": "high",
        "LL": "critically low",
        "HH": "critically high",
    }

    def fingerprint(self, payload: bytes) -> Match:
        if b"NOVABIO" not in payload and b"TY=" not in payload:
            return Match(0.0, "no mark of a Nova meter")
        try:
            message = read(payload)
        except NotReadable as fault:
            return Match(0.0, str(fault))
        device = message.root.first("DEV")
        if device is not None and device.field("DEV.vendor_id") == "NOVABIO":
            return Match(1.0, f"DEV.vendor_id NOVABIO, model {device.field('DEV.model_id')}")
        if any(each.attributes.get("SN") == "NOVABIO" for each in message.root.walk()):
            return Match(0.9, "codes of Nova's own (SN NOVABIO)")
        if any(each.name == "RGT.name" and _lot_kind(each) for each in message.root.walk()):
            return Match(0.7, "a lot's kind in the text of RGT.name (TY=...), as Nova's meters write it")
        return Match(0.0, "no mark of a Nova meter")

    def reagent_lot(self, root: Element) -> str | None:
        """The lot of the strip; a control's lot stands in the same list with another kind."""
        for reagent in root.all("RGT"):
            name = reagent.first("RGT.name")
            if name is not None and _lot_kind(name) == "TS":
                return reagent.field("RGT.lot_number") or None
        return None if any(map(_named_kind, root.all("RGT"))) else super().reagent_lot(root)


def _lot_kind(name: Element) -> str:
    text = name.text.strip()
    return text[3:] if text.startswith("TY=") else ""


def _named_kind(reagent: Element) -> str:
    name = reagent.first("RGT.name")
    return _lot_kind(name) if name is not None else ""
