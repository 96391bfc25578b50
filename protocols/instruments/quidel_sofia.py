"""Quidel Sofia and Sofia 2: rapid antigen tests (influenza, SARS, strep A ...), by POCT1-A2 (firmware above 2.1).

Source: Quidel's POCT1-A interface specification of Sofia as a public project catalogues it, and Quidel's page on it.
Values are qualitative (OBS.qualitative_value); codes bear SN="QUIDEL"; OBS.R02 carries calibration and controls, in
the specification's own example with role OBS. Once in continuous mode, Sofia announces results by DST and sends them.
SET_TIME and operator lists are offered by the device; none is sent unasked.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Match, Status
from protocols.messages.poct1a import NotReadable, read
from protocols.poct1a_driver import Poct1aDriver


class QuidelSofia(Poct1aDriver):
    id: ClassVar[str] = "quidel_sofia"
    vendor: ClassVar[str] = "Quidel"
    models: ClassVar[tuple[str, ...]] = ("Sofia", "Sofia 2")
    source: ClassVar[str] = "Quidel Sofia POCT1-A specification, as a public project catalogues it"
    status: ClassVar[Status] = Status.MANUAL

    def fingerprint(self, payload: bytes) -> Match:
        if b"QUIDEL" not in payload and b"Sofia" not in payload:
            return Match(0.0, "no mark of a Sofia")
        try:
            message = read(payload)
        except NotReadable as fault:
            return Match(0.0, str(fault))
        device = message.root.first("DEV")
        if device is not None and device.field("DEV.manufacturer_name").upper() == "QUIDEL":
            return Match(1.0, f"DEV.manufacturer_name QUIDEL, {device.field('DEV.device_name')}")
        if any(each.attributes.get("SN") == "QUIDEL" for each in message.root.walk()):
            return Match(0.9, "codes of Quidel's own (SN QUIDEL)")
        if any(each.name in ("RGT.name", "ORD.universal_service_id") and "Sofia" in each.value
               for each in message.root.walk()):  # fmt: skip
            return Match(0.8, "a Sofia cassette")
        return Match(0.0, "no mark of a Sofia")
