"""What a message of the HIS says, as values: patient, visit, orders, merge. Pure; nothing is looked up here.

HL7 v2.5.1: PID and PV1 chapter 3, ORC chapter 4.5.1, OBR 4.5.3, TQ1 4.5.4, MRG 3.4.9. Values are as sent, codes are
theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo

from protocols.messages.hl7 import Hl7Message, Segment

_TIME = re.compile(r"^(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?(?:\.\d+)?([+-]\d{4})?$")


class Unreadable(ValueError):
    """The message lacks what its kind must have; the text names segment and field."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """One repeat of PID-3 or MRG-1."""

    value: str
    type: str
    authority: str


@dataclass(frozen=True, slots=True)
class Patient:
    identifiers: tuple[Identifier, ...]
    name: str
    birth_date: date | None
    sex: str
    phone: str | None
    mother: tuple[Identifier, ...]
    """PID-21: set for a newborn."""


@dataclass(frozen=True, slots=True)
class Visit:
    department_code: str
    department_name: str
    number: str | None
    bed: str | None = None


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One ORC with its OBR."""

    control: str
    """ORC-1."""
    key: str
    """The placer's group number (ORC-4), else its order number (ORC-2, OBR-2): lines with one key are one order."""
    item: str
    """OBR-4.1; "" in a cancellation of the whole order."""
    priority: str
    ordered_at: datetime | None
    planned_at: datetime | None
    """When it is to be drawn: TQ1-7, else OBR-36, OBR-27.4, or an OBR-7 that lies after the order was made (one before
    says when it was drawn)."""
    ordered_by: str
    department_code: str
    department_name: str
    reason: str


def read_time(text: str, zone: tzinfo) -> datetime | None:
    """An HL7 time stamp (DTM); `zone` where it names none. None where it is empty, unreadable or only a year."""
    match = _TIME.match(text.strip())
    if match is None or match[3] is None:
        return None
    year, month, day, hour, minute, second = (int(each or 0) for each in match.groups()[:6])
    offset = zone
    if match[7]:
        sign = -1 if match[7][0] == "-" else 1
        offset = timezone(sign * timedelta(hours=int(match[7][1:3]), minutes=int(match[7][3:5])))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=offset)
    except ValueError:
        return None


def read_patient(message: Hl7Message) -> Patient:
    """PID; raises Unreadable where there is none or it carries no number."""
    pid = _need(message, "PID")
    identifiers = read_identifiers(pid, 3) or read_identifiers(pid, 2)
    if not identifiers:
        raise Unreadable("PID-3 carries no patient number")
    born = read_time(pid.component(7, 1), UTC)
    return Patient(
        identifiers=identifiers,
        name=_name(pid),
        birth_date=born.date() if born else None,
        sex=pid.component(8, 1).upper(),
        phone=pid.component(13, 1) or pid.component(13, 12) or None,
        mother=read_identifiers(pid, 21),
    )


def read_merge(message: Hl7Message) -> tuple[Identifier, ...]:
    """MRG-1: the numbers of the file that ends."""
    identifiers = read_identifiers(_need(message, "MRG"), 1)
    if not identifiers:
        raise Unreadable("MRG-1 carries no patient number")
    return identifiers


def read_visit(message: Hl7Message) -> Visit:
    """PV1; an absent one says nothing."""
    pv1 = message.first("PV1")
    if pv1 is None:
        return Visit("", "", None)
    return Visit(
        pv1.component(3, 1), pv1.component(3, 9), pv1.component(19, 1) or None, pv1.component(3, 3)[:32] or None
    )


def read_diagnosis(message: Hl7Message) -> str | None:
    """The first DG1's text."""
    dg1 = message.first("DG1")
    if dg1 is None:
        return None
    return dg1.component(3, 2) or dg1.text(4) or dg1.component(3, 1) or None


@dataclass(frozen=True, slots=True)
class Fact:
    """One OBX that came with an order: what the ward says of the patient, not a result."""

    code: str
    value: str


def read_facts(message: Hl7Message) -> tuple[Fact, ...]:
    """Every OBX with a value: OBX-3.1 (else 3.4) and the first component of OBX-5 (chapter 7.4.2)."""
    found = [each for each in message.segments if each.name == "OBX"]
    facts = (Fact(each.component(3, 1) or each.component(3, 4), each.component(5, 1).strip()) for each in found)
    return tuple(each for each in facts if each.code and each.value and each.value != '""')


def read_orders(message: Hl7Message, zone: tzinfo) -> tuple[OrderLine, ...]:
    """Every ORC with the OBR and TQ1 behind it; raises Unreadable where there is none or one has no number."""
    lines = tuple(_order_line(group, zone) for group in _groups(message.segments))
    if not lines:
        raise Unreadable("ORC is missing")
    return lines


def read_identifiers(segment: Segment, number: int) -> tuple[Identifier, ...]:
    """CX repeats: id^check^scheme^authority^type. A number without type counts as a medical record number (MR)."""
    found = []
    for repeat in segment.repeats(number):
        parts = [segment.plain(each).strip() for each in repeat.split(segment.delimiters.component)] + [""] * 5
        if parts[0] and parts[0] != '""':
            authority = parts[3].split(segment.delimiters.sub)[0]
            found.append(Identifier(parts[0], parts[4] or "MR", authority))
    return tuple(found)


def _groups(segments: Iterable[Segment]) -> list[list[Segment]]:
    groups: list[list[Segment]] = []
    for segment in segments:
        if segment.name == "ORC":
            groups.append([segment])
        elif groups:
            groups[-1].append(segment)
    return groups


def _order_line(group: list[Segment], zone: tzinfo) -> OrderLine:
    orc = group[0]
    obr = next((each for each in group if each.name == "OBR"), None)
    tq1 = next((each for each in group if each.name == "TQ1"), None)
    key = orc.component(4, 1) or orc.component(2, 1) or (obr.component(2, 1) if obr else "")
    if not key:
        raise Unreadable("ORC-2 carries no order number")
    priority = (tq1.component(9, 1) if tq1 else "") or _component_of(obr, 5, 1) or _component_of(obr, 27, 6) or "R"
    ordered_at = read_time(orc.component(9, 1), zone) or read_time(_component_of(obr, 6, 1), zone)
    return OrderLine(
        control=orc.text(1).upper(),
        key=key,
        item=_component_of(obr, 4, 1),
        priority=priority.upper(),
        ordered_at=ordered_at,
        planned_at=_planned(tq1, obr, ordered_at, zone),
        ordered_by=_person(orc, 12) or (_person(obr, 16) if obr else ""),
        department_code=orc.component(17, 1),
        department_name=orc.component(17, 2),
        reason=orc.component(16, 2) or orc.component(16, 1),
    )


def _planned(tq1: Segment | None, obr: Segment | None, ordered_at: datetime | None, zone: tzinfo) -> datetime | None:
    said = (_component_of(tq1, 7, 1), _component_of(obr, 36, 1), _component_of(obr, 27, 4))
    planned = next((moment for each in said if (moment := read_time(each, zone)) is not None), None)
    observed = read_time(_component_of(obr, 7, 1), zone)
    if planned is None and observed is not None and ordered_at is not None and observed > ordered_at:
        planned = observed
    return planned


def _component_of(segment: Segment | None, number: int, position: int) -> str:
    return segment.component(number, position) if segment is not None else ""


def _person(segment: Segment, number: int) -> str:
    """XCN: the name, else the id."""
    family, given = segment.component(number, 2), segment.component(number, 3)
    return _joined(family, given) or segment.component(number, 1)


def _name(pid: Segment) -> str:
    family = pid.component(5, 1).split(pid.delimiters.sub)[0]
    return _joined(family, pid.component(5, 2))


def _joined(family: str, given: str) -> str:
    """A Chinese name has no space between its parts; a Latin one has."""
    parts = [each for each in (family, given) if each and each != '""']
    return (" " if all(each.isascii() for each in parts) else "").join(parts)


def _need(message: Hl7Message, name: str) -> Segment:
    segment = message.first(name)
    if segment is None:
        raise Unreadable(f"{name} is missing")
    return segment
