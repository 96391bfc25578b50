"""ORU^R01 for the HIS from a frozen version of a report. Pure: content in, bytes out.

HL7 v2.5.1 chapter 7: OBR 7.4.1, OBX 7.4.2, result status of a value table 0085 (F final, P preliminary, C correction, W
posted as wrong) and of a report table 0123 (which has no W: a recalled report is a correction), value types NM, SN, ST
and ED (2.A.24; tables 0191, 0291, 0299). One OBR for each report; the HIS finds its order by ORC-2 and OBR-2.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from cloud.lis.reports.view import ReportContent, ReportItem
from protocols.messages.hl7 import build, escape
from protocols.model import read_quantity

_STATUS = {"preliminary": "P", "final": "F", "amended": "C"}
_SUBTYPES = {"image/png": "PNG", "image/jpeg": "JPEG", "image/tiff": "TIFF", "image/gif": "GIF"}
_CHARSETS = {"UNICODE UTF-8": "utf-8", "GB 18030-2000": "gb18030"}
WRONG, CORRECTED = "W", "C"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the report, where the HIS wants them."""

    name: str
    media_type: str
    data: bytes


def oru(
    content: ReportContent,
    *,
    control_id: str,
    now: datetime,
    zone: tzinfo,
    names: Mapping[str, str],
    recalled: bool,
    pictures: Sequence[Picture] = (),
) -> bytes:
    """The message; times on the hospital's wall clock. `recalled`: every value is withdrawn (status W).

    Pictures that are not sent along are counted in a note, so that nobody takes the values for the whole report.
    """
    status = WRONG if recalled else _STATUS[content.kind]
    segments: list[Sequence[str]] = [
        [
            "MSH",
            "^~\\&",
            names["application"],
            names["facility"],
            names["receiving_application"],
            names["receiving_facility"],
            now.astimezone(zone).strftime("%Y%m%d%H%M%S"),
            "",
            "ORU^R01^ORU_R01",
            control_id,
            "P",
            "2.5.1",
            *[""] * 5,
            names["charset"],
        ],
        _pid(content, names),
        ["PV1", "1", "U", escape(content.department), *[""] * 15, escape(content.visit_number or "")],
        ["ORC", "RE", escape(content.placer_number), escape(content.accession)],
        _obr(content, CORRECTED if recalled else status, zone),
    ]
    for number, item in enumerate(content.items, 1):
        segments.append(_obx(number, item, status, zone))
    for number, picture in enumerate(pictures, len(content.items) + 1):
        segments.append(_picture(number, picture, status))
    if len(pictures) < len(content.images):
        segments.append(["NTE", "1", "L", f"附图 {len(content.images) - len(pictures)} 幅，见检验报告单"])
    segments += [["NTE", "1", "L", escape(each)] for each in (content.comment, content.reason) if each]
    return build(segments, _CHARSETS.get(names["charset"], "utf-8"))


def _pid(content: ReportContent, names: Mapping[str, str]) -> list[str]:
    born = (content.birth_date or "").replace("-", "")
    identifier = f"{escape(content.mrn)}^^^{names['receiving_application']}^MR" if content.mrn else ""
    return ["PID", "1", "", identifier, "", escape(content.patient_name), "", born, content.sex]


def _obr(content: ReportContent, status: str, zone: tzinfo) -> list[str]:
    fields = [""] * 26
    fields[0] = "OBR"
    fields[1] = "1"
    fields[2], fields[3] = escape(content.placer_number), escape(content.accession)
    fields[4] = f"{escape(content.accession)}^{escape(content.title or content.report_number)}^L"
    fields[7] = _stamp(content.collected_at, zone)
    fields[14] = _stamp(content.received_at, zone)
    fields[16] = f"^{escape(content.ordered_by)}"
    fields[22] = _stamp(content.released_at, zone)
    fields[25] = status
    return fields


def _obx(number: int, item: ReportItem, status: str, zone: tzinfo) -> list[str]:
    kind, value = _value(item.value)
    code = f"{escape(item.code)}^{escape(item.name)}^L"
    if item.loinc:
        code += f"^{escape(item.loinc)}^{escape(item.name_en)}^LN"
    return [
        "OBX",
        str(number),
        kind,
        code,
        "1",
        value,
        escape(item.unit),
        escape(item.range_text),
        item.flag,
        "",
        "",
        status,
        "",
        "",
        _stamp(item.observed_at, zone),
    ]


def _picture(number: int, picture: Picture, status: str) -> list[str]:
    subtype = _SUBTYPES.get(picture.media_type, "")
    value = f"^IM^{subtype}^Base64^{base64.b64encode(picture.data).decode()}"
    code = f"IMAGE^{escape(picture.name)}^L"
    return ["OBX", str(number), "ED", code, "1", value, "", "", "", "", "", status]


def _value(text: str) -> tuple[str, str]:
    """NM for a number, SN for one with a comparator, ST for words."""
    quantity = read_quantity(text)
    if quantity is None:
        return "ST", escape(text)
    if quantity.comparator is None:
        return "NM", escape(text.strip())
    return "SN", f"{quantity.comparator}^{text.strip().lstrip('<>=≤≥ ')}"


def _stamp(moment: str | None, zone: tzinfo) -> str:
    return datetime.fromisoformat(moment).astimezone(zone).strftime("%Y%m%d%H%M%S") if moment else ""
