"""PixCell HemoScreen: a blood count at the point of care, by POCT1-A2 wrapped as MLLP wraps (VT ... FS CR).

Source: PixCell's "HemoScreen POCT1-A2 Connectivity Protocol" HS-IL-00067 rev. 06, as a public host program quotes it.
Codes are LOINC (SN="LN") with the short name in DN; PT.patient_id is the test identifier; the first one-character note
of a value is its mark; QC and external assessment come as OBS.R02 (role LQC, PRF) with the control in CTC. The device
waits for an ACK of its EOT, and names what it acknowledges in ACK.control_id. Its question for a patient (REQ RPAT) is
answered with a list of one, or an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from protocols.driver import Match, Status
from protocols.links.poct1a import Poct1aOptions
from protocols.messages.poct1a import Body, Element, NotReadable, Poct1aMessage, build, leaf, read, timestamp
from protocols.messages.poct1a_fields import notes
from protocols.model import HostQuery, Item, Order
from protocols.poct1a_driver import Poct1aDriver

_MARKS = ("*", "!", "~", "^")


class PixCellHemoScreen(Poct1aDriver):
    id: ClassVar[str] = "pixcell_hemoscreen"
    vendor: ClassVar[str] = "PixCell"
    models: ClassVar[tuple[str, ...]] = ("HemoScreen",)
    source: ClassVar[str] = "PixCell HS-IL-00067 rev. 06, as a public host program quotes it"
    status: ClassVar[Status] = Status.MANUAL
    answers_host_queries: ClassVar[bool] = True
    link_options: ClassVar[Poct1aOptions] = Poct1aOptions(
        acknowledge_end_of_topic=True, acknowledged_id="ACK.control_id"
    )
    flag_meanings: ClassVar[dict[str, str]] = dict.fromkeys(_MARKS, "marked by the device; its note says why")

    def fingerprint(self, payload: bytes) -> Match:
        try:
            message = read(payload)
        except NotReadable as fault:
            return Match(0.0, str(fault))
        device = message.root.first("DEV")
        if device is not None and device.field("DEV.device_name").startswith("HemoScreen"):
            return Match(1.0, "DEV.device_name HemoScreen")
        control = next((each.value for each in message.root.walk() if each.name == "CTC.lot_number"), "")
        if control.startswith("PIX"):
            return Match(0.8, f"a control lot of PixCell's ({control})")
        if message.kind == "OBS.R01" and self._is_blood_count(message):
            return Match(0.3, "values of a blood count coded in LOINC with the short name in DN, and nothing else")
        if message.kind == "REQ.R01" and _asks_for_patient(message) is not None:
            return Match(0.3, "a REQ RPAT for one patient, as HemoScreen asks")
        return Match(0.0, "no mark of a HemoScreen")

    def _is_blood_count(self, message: Poct1aMessage) -> bool:
        codes = [each for each in message.root.walk() if each.name == "OBS.observation_id"]
        loinc = all(each.attributes.get("SN") == "LN" for each in codes)
        return loinc and {"WBC", "RBC", "HGB"} <= {each.attributes.get("DN", "") for each in codes}

    def items(self, message: Poct1aMessage) -> list[Item]:
        asked = _asks_for_patient(message)
        if asked is None:
            return super().items(message)
        query = HostQuery(
            (asked,) if asked else (), query_id=message.control_id or None, record=message.root.children[-1].index
        )
        return [query]

    def flags(self, element: Element) -> tuple[str, ...]:
        marks = [each for each in notes(element) if each in _MARKS]
        return (*super().flags(element), *marks[:1])

    def answer(self, message: Poct1aMessage, orders: Mapping[str, Sequence[Order]], now: datetime) -> Sequence[bytes]:
        """PTL.R01 with the one who was asked for, by the identifier alone unless the order carries more."""
        asked = _asks_for_patient(message)
        if asked is None:
            return super().answer(message, orders, now)
        known = [each for each in orders.get(asked, ()) if not each.cancelled]
        patients = [_patient(asked, known[0])] if known else []
        return (build("PTL.R01", timestamp(now), *patients),)


def _patient(identifier: str, order: Order) -> Body:
    fields: list[Body] = [leaf("PT.patient_id", identifier)]
    if order.patient_name:
        fields.append(leaf("PT.name", order.patient_name))
    if order.birth_date:
        fields.append(leaf("PT.birth_date", order.birth_date))
    if order.sex in ("M", "F"):
        fields.append(leaf("PT.gender_cd", order.sex))
    return ("PT", None, tuple(fields))


def _asks_for_patient(message: Poct1aMessage) -> str | None:
    """The test identifier of a REQ RPAT; "" where it names none; None: it is no such request."""
    request = message.root.first("REQ")
    if message.kind != "REQ.R01" or request is None or request.field("REQ.request_cd") != "RPAT":
        return None
    return next((each.value for each in message.root.walk() if each.name == "PT.patient_id"), "")
