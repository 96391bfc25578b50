"""HL7 2.5.1 as this HIS writes it: ADT^A04, OML^O21, and the acknowledgement of ORU^R01. UTF-8, declared in MSH-18."""

from __future__ import annotations

from datetime import datetime

from simulators.his.orders import ITEMS, Visit
from simulators.mllp import field, segment, stamp
from simulators.people import Person

_PV1_4_TO_18 = "|" * 16
_ORC_3_TO_8 = "|" * 7
"""Empty fields between the ones that this HIS fills."""
_ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"})


def escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def header(kind: str, number: str, at: datetime) -> str:
    return f"MSH|^~\\&|HIS|XLYY|XINGLIN|LAB|{stamp(at)}||{kind}|{number}|P|2.5.1||||||UNICODE UTF-8"


def patient(person: Person) -> str:
    """PID: hospital number, card and identity number in PID-3; the whole name stands in the family name."""
    identifiers = f"{person.mrn}^^^HIS^MR~{person.card}^^^HIS^CARD~{person.id_number}^^^CHN^NI"
    born = person.birth_date.replace("-", "")
    return f"PID|1||{identifiers}||{escaped(person.name)}||{born}|{person.sex}|||||{person.phone}"


def visit_segment(visit: Visit) -> str:
    code, name, patient_class = visit.department
    return f"PV1|1|{patient_class}|{code}^^^XLYY^^^^^{escaped(name)}{_PV1_4_TO_18}{visit.number}"


def registration(visit: Visit, number: str, at: datetime) -> list[str]:
    return [
        header("ADT^A04^ADT_A01", number, at),
        f"EVN|A04|{stamp(at)}",
        patient(visit.person),
        visit_segment(visit),
    ]


def order(visit: Visit, number: str, at: datetime) -> list[str]:
    """One OML^O21: a group of ORC, TQ1 and OBR for each item, all under the placer's order number."""
    code, name, _ = visit.department
    lines = [header("OML^O21^OML_O21", number, at), patient(visit.person), visit_segment(visit)]
    for count, item in enumerate(visit.items, 1):
        lines += [
            f"ORC|NW|{visit.placer}{_ORC_3_TO_8}{stamp(at)}|||D001^{escaped('主治医师')}|||||{code}^{escaped(name)}",
            f"TQ1|{count}||||||||{visit.priority}",
            f"OBR|{count}|{visit.placer}||{item}^{escaped(ITEMS[item])}^L||{stamp(at)}",
            f"DG1|1||^{escaped(visit.diagnosis)}",
        ]
    return lines


def accepted(received: list[str], at: datetime, number: str, code: str = "AA") -> list[str]:
    """The acknowledgement of a message that reached the HIS."""
    kind = field(segment(received, "MSH"), 9).split("^")
    event = kind[1] if len(kind) > 1 else ""
    return [header(f"ACK^{event}^ACK", number, at), f"MSA|{code}|{field(segment(received, 'MSH'), 10)}"]
