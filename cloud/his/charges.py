"""Bills that the HIS made, and what was done of them there: DFT^P03 and ORM^O01 read, and handed to billing.

HL7 v2.5.1 chapter 6.5.1. An FT1 is a line: FT1-3 the bill's number, FT1-2 the line's, FT1-6 CG (charge), CD (the whole
bill is taken back) or PY (it was paid at a window of the HIS); FT1-17 the fee category, FT1-13 who executes it. An ORC
behind it names the order it pays for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import Any

from sqlalchemy.orm import Session

from cloud.billing import execution, intake, settling
from cloud.billing.intake import ChargeIn, ItemIn
from cloud.billing.rules import order_key
from cloud.his.filing import BY, file_of
from cloud.his.mapping import Mapper
from cloud.his.reading import Unreadable, read_patient, read_time, read_visit
from cloud.hospital import service as hospital
from cloud.kit import clock
from cloud.kit.money import fen as fen_of
from cloud.people.model import Person
from protocols.messages.hl7 import Hl7Message, Segment

SOURCE = "his"
GOODS = frozenset({"drug", "material"})
CHARGE, CREDIT, PAYMENT = "CG", "CD", "PY"
DONE = ("CM", "A")
"""ORC-5, table 0038: completed, some results available."""


@dataclass(frozen=True, slots=True)
class FeeLine:
    """One FT1 with the order behind it, in the HIS's words."""

    kind: str
    bill: str
    line: str
    at: datetime
    code: str
    name: str
    spec: str
    category: str
    quantity: Decimal
    fen: int
    price_fen: int | None
    executing: tuple[str, str]
    order: str


def read_fees(message: Hl7Message, zone: tzinfo) -> tuple[FeeLine, ...]:
    """Every FT1; raises Unreadable where one lacks number, time or amount."""
    groups: list[list[Segment]] = []
    for segment in message.segments:
        if segment.name == "FT1":
            groups.append([segment])
        elif groups:
            groups[-1].append(segment)
    if not groups:
        raise Unreadable("FT1 is missing")
    return tuple(_line(group, zone) for group in groups)


def _line(group: Sequence[Segment], zone: tzinfo) -> FeeLine:
    ft1 = group[0]
    orc = next((each for each in group if each.name == "ORC"), None)
    at = read_time(ft1.component(4, 1), zone)
    bill = ft1.text(3) or ft1.text(2)
    if at is None or not bill:
        raise Unreadable("FT1-4 carries no time" if bill else "FT1-2 and FT1-3 carry no number")
    return FeeLine(
        kind=ft1.text(6).upper(),
        bill=bill,
        line=ft1.text(2),
        at=at,
        code=ft1.component(7, 1),
        name=ft1.component(7, 2) or ft1.text(8) or ft1.component(7, 1),
        spec=ft1.text(9),
        category=ft1.text(17),
        quantity=_quantity(ft1),
        fen=_fen(ft1, 11),
        price_fen=_fen(ft1, 12) if ft1.text(12) else None,
        executing=(ft1.component(13, 1), ft1.component(13, 2)),
        order=(orc.component(4, 1) or orc.component(2, 1)) if orc is not None else "",
    )


def _quantity(ft1: Segment) -> Decimal:
    try:
        return Decimal(ft1.text(10) or "1")
    except InvalidOperation as error:
        raise Unreadable("FT1-10 is no number") from error


def _fen(ft1: Segment, number: int) -> int:
    """CP: the amount is the first part of its first component (``12.50&CNY``)."""
    said = ft1.component(number, 1).split(ft1.delimiters.sub)[0]
    try:
        return fen_of(said)
    except ValueError as error:
        raise Unreadable(f"FT1-{number} is no amount in yuan") from error


def take_charges(session: Session, message: Hl7Message) -> dict[str, Any]:
    """DFT^P03: each bill in it taken in, taken back, or marked as paid at a window of the HIS."""
    person = file_of(session, read_patient(message))
    lines = sorted(read_fees(message, clock.hospital_zone()), key=lambda each: each.bill)
    done = []
    for number, group in groupby(lines, key=lambda each: each.bill):
        of_bill = list(group)
        kinds = {each.kind for each in of_bill}
        if kinds == {CHARGE}:
            intake.take_in(session, _charge(session, message, person, number, of_bill), by=BY)
        elif kinds == {CREDIT}:
            intake.void(session, SOURCE, number, by=BY, reason=f"DFT^P03 {message.control_id}")
        elif kinds == {PAYMENT}:
            first = of_bill[0]
            settling.paid_elsewhere(session, SOURCE, number, at=first.at, receipt=first.line or None, by=BY)
        else:
            raise Unreadable(
                f"FT1-6 of bill {number}: {', '.join(sorted(kinds))}; taken are CG, CD or PY, one in a bill"
            )
        done.append({"number": number, "kind": of_bill[0].kind})
    return {"person": str(person.id), "charges": done}


def take_execution(session: Session, message: Hl7Message) -> dict[str, Any]:
    """ORM^O01: lines of bills (ORC-2, ORC-4 the bill's number) that were done at the HIS's own stations (SC, CM)."""
    zone = clock.hospital_zone()
    orders = [each for each in message.segments if each.name == "ORC"]
    if not orders or any(each.text(1).upper() != "SC" or each.text(5).upper() not in DONE for each in orders):
        raise Unreadable("ORC-1 SC with ORC-5 CM is taken here, nothing else")
    done = []
    for number, group in groupby(sorted(orders, key=_bill_of), key=_bill_of):
        of_bill = list(group)
        lines = [each.component(2, 1) for each in of_bill]
        at = read_time(of_bill[0].component(9, 1), zone) or clock.now()
        by = f"{BY}:{of_bill[0].component(10, 2) or of_bill[0].component(10, 1)}".rstrip(":")
        whole = not any(lines) or lines == [number]
        execution.note(session, SOURCE, number, None if whole else lines, by=by, at=at)
        done.append({"number": number, "lines": lines})
    return {"executed": done}


def _bill_of(orc: Segment) -> str:
    return orc.component(4, 1) or orc.component(2, 1)


def _charge(session: Session, message: Hl7Message, person: Person, number: str, lines: Sequence[FeeLine]) -> ChargeIn:
    mapper, visit = Mapper(session), read_visit(message)
    kinds = [mapper.ours("charge_kind", each.category) or "other" for each in lines]

    def department(code: str, name: str) -> Any:
        ours = mapper.ours("department", code) or code
        return hospital.ensure_department(session, code=ours, name=name or ours).id if code else None

    def key_of(line: FeeLine, kind: str) -> str | None:
        code = (mapper.ours("item", line.code) or line.code) if kind == "lab" else ""
        return order_key(SOURCE, line.order, code) if line.order else None

    return ChargeIn(
        source=SOURCE,
        number=number,
        person_id=person.id,
        kind=kinds[0] if len(set(kinds)) == 1 else "other",
        made_at=min(each.at for each in lines),
        visit=visit.number,
        department_id=department(visit.department_code, visit.department_name),
        executing_department_id=department(*lines[0].executing),
        items=tuple(
            ItemIn(
                code=each.code,
                name=each.name,
                fen=each.fen,
                quantity=each.quantity,
                price_fen=each.price_fen,
                spec=each.spec,
                goods=kind in GOODS,
                order_key=key_of(each, kind),
                line=each.line if each.line != number else "",
            )
            for each, kind in zip(lines, kinds, strict=True)
        ),
    )
