"""What a Siemens DCA Vantage says and hears: POCT1-A documents (CLSI POCT01-A2) on a TCP line.

Written from a public capture of a DCA Vantage's dialogue: HEL, DST, then on REQ ROBS an OBS.R01 for each stored result,
EOT; on DTV START_CONTINUOUS an ACK, and from then on an OBS.R01 for each new one. Values are those of `blood.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree

from simulators.analyzers.blood import Tube, chemistry

_ROOT = re.compile(rb"<([A-Z]{3}\.R\d\d)[\s/>]")


@dataclass(frozen=True, slots=True)
class Reading:
    """One value that the device shows."""

    code: str
    value: str
    unit: str
    flag: str


@dataclass
class SiemensDca:
    """The device's own count of documents and results, kept over every conversation."""

    serial: str = "S099901"
    control_id: int = 10_000
    sequence: int = 100

    def document(self, kind: str, body: str, at: datetime) -> tuple[str, str]:
        """A document of the device and its control id."""
        self.control_id += 1
        header = (
            f'<HDR><HDR.message_type V="{kind}" /><HDR.control_id V="{self.control_id}" />'
            f'<HDR.version_id V="POCT1" /><HDR.creation_dttm V="{at.isoformat(timespec="seconds")}" /></HDR>'
        )
        text = f'<?xml version="1.0" encoding="utf-8"?><{kind}>{header}{body}</{kind}>'
        return text, str(self.control_id)

    def hello(self, at: datetime) -> tuple[str, str]:
        body = (
            f'<DEV><DEV.device_id V="SIEM^DCA Vantage^{self.serial}" /><DEV.vendor_id V="SIEM" />'
            f'<DEV.model_id V="DCA Vantage" /><DEV.serial_id V="{self.serial}" />'
            '<DCP><DCP.application_timeout V="60" /></DCP><DSC><DSC.connection_profile_cd V="SA" />'
            '<DSC.topics_supported_cd V="D_EV" /><DSC.directives_supported_cd V="START_CONTINUOUS" />'
            '<DSC.max_message_sz V="16000" /></DSC></DEV>'
        )
        return self.document("HEL.R01", body, at)

    def status(self, stored: int, at: datetime) -> tuple[str, str]:
        stamp = at.isoformat(timespec="seconds")
        body = (
            f'<DST><DST.status_dttm V="{stamp}" /><DST.new_observations_qty V="{stored}" />'
            '<DST.condition_cd V="B" /></DST>'
        )
        return self.document("DST.R01", body, at)

    def end_of_topic(self, request_id: str, at: datetime) -> tuple[str, str]:
        body = f'<EOT><EOT.eot_control_id V="{request_id}" /><EOT.topic_cd V="OBS" /></EOT>'
        return self.document("EOT.R01", body, at)

    def accept(self, control_id: str, at: datetime) -> tuple[str, str]:
        body = f'<ACK><ACK.type_cd V="AA" /><ACK.ack_control_id V="{control_id}" /></ACK>'
        return self.document("ACK.R01", body, at)

    def measure(self, tube: Tube, *, seed: int) -> list[Reading]:
        """HbA1c in mmol/mol (IFCC, from percent NGSP) and the estimated average glucose."""
        percent = chemistry(seed, tube)["HBA1C"]
        ifcc = round(10.93 * percent - 23.5)
        glucose = round(28.7 * percent - 46.7)
        return [
            Reading("HbA1c", str(ifcc), "mmol/mol", "H" if ifcc > 42 else "N"),
            Reading("eAG", str(glucose), "mg/dL", ""),
        ]

    def observation(self, barcode: str, readings: list[Reading], measured_at: datetime) -> str:
        """The SVC of one result, without its document: it is kept until the host has it."""
        self.sequence += 1
        observations = "".join(self._one(each) for each in readings)
        return (
            f'<SVC><SVC.role_cd V="OBS" /><SVC.observation_dttm V="{measured_at.strftime("%Y-%m-%dT%H:%M:%S")}" />'
            f'<SVC.reason_cd V="NEW" /><SVC.sequence_nbr V="{self.sequence}" />'
            f'<PT><PT.patient_id V="{barcode}" />{observations}</PT>'
            '<RGT><RGT.name V="DCA HbA1c" /><RGT.lot_number V="0853" />'
            '<RGT.expiration_date V="2027-03-31" /></RGT></SVC>'
        )

    def _one(self, reading: Reading) -> str:
        flag = f'<OBS.interpretation_cd V="{reading.flag}" />' if reading.flag else ""
        return (
            f'<OBS><OBS.observation_id V="{reading.code}" SN="SIEM" SV="1.0"><TRANSLTN V="{reading.code}" />'
            f'</OBS.observation_id><OBS.value V="{reading.value}" U="{reading.unit}" />'
            f'<OBS.method_cd V="{"C" if reading.code == "eAG" else "M"}" />{flag}</OBS>'
        )


@dataclass(frozen=True, slots=True)
class Heard:
    """A document of the host's: its type, control id, and what it says."""

    kind: str
    control_id: str
    fields: dict[str, str]


def take_document(buffer: bytearray) -> Heard | None:
    """The first whole document in `buffer`, taken out of it; None while it is not all there."""
    start = _ROOT.search(buffer)
    if start is None:
        return None
    end = buffer.find(b"</" + start[1] + b">")
    if end < 0:
        return None
    end += len(start[1]) + 3
    root = ElementTree.fromstring(bytes(buffer[start.start() : end]))
    del buffer[:end]
    fields = {each.tag: each.get("V", "") for each in root.iter()}
    return Heard(root.tag, fields.get("HDR.control_id", ""), fields)
