"""Siemens DCA Vantage: HbA1c, albumin and creatinine at the point of care, by POCT1-A over Ethernet.

Source: a captured dialogue of a DCA Vantage (software 4.4) with a public host program, and Siemens' operator's guide,
appendix G, for what it sends: test records, control records, its own events. SN="SIEM" marks codes of Siemens' own. The
clock of the captured device had never been set (2006), while its results bore the right time: times stay as sent.
Vendor commands (DTV.SIEM.DVCMD) lock the device or force a control; none is ever sent.
"""

from __future__ import annotations

from typing import ClassVar

from protocols.driver import Match, Status
from protocols.messages.poct1a import NotReadable, Poct1aMessage, read
from protocols.poct1a_driver import Poct1aDriver


class SiemensDca(Poct1aDriver):
    id: ClassVar[str] = "siemens_dca"
    vendor: ClassVar[str] = "Siemens"
    models: ClassVar[tuple[str, ...]] = ("DCA Vantage",)
    source: ClassVar[str] = "captured POCT1-A dialogue of a DCA Vantage; DCA Vantage Operator's Guide, appendix G"
    status: ClassVar[Status] = Status.CAPTURED
    flag_meanings: ClassVar[dict[str, str]] = {
        "H": "above the reference range set on the device",
        "L": "below the reference range set on the device",
        "N": "within the reference range set on the device",
    }

    def fingerprint(self, payload: bytes) -> Match:
        if b"DCA" not in payload and b"SIEM" not in payload:
            return Match(0.0, "neither DCA nor SIEM is named")
        try:
            message = read(payload)
        except NotReadable as fault:
            return Match(0.0, str(fault))
        device = message.root.first("DEV")
        if device is not None and device.field("DEV.model_id").startswith("DCA"):
            return Match(1.0, f"DEV.model_id names {device.field('DEV.model_id')}")
        return self._by_results(message)

    def _by_results(self, message: Poct1aMessage) -> Match:
        names = [each for each in message.root.walk() if each.name == "RGT.name" and each.value.startswith("DCA ")]
        codes = [each for each in message.root.walk() if each.attributes.get("SN") == "SIEM"]
        if names and codes:
            return Match(0.9, f"the reagent {names[0].value} and codes of Siemens' own (SN SIEM)")
        if codes:
            return Match(0.6, f"codes of Siemens' own (SN SIEM) in {message.kind}")
        return Match(0.0, "no name of a Siemens DCA")
