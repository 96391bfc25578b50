"""What a message of the HIS does here: register, update and merge persons, place and cancel orders. Never commits.

Everything may come twice: a person is found by its numbers, an order by the placer's number.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy.orm import Session

from cloud.his import charges, clinic
from cloud.his.filing import BY, file_of, filed, known_file
from cloud.his.mapping import Mapper
from cloud.his.reading import (
    OrderLine,
    Unreadable,
    Visit,
    read_diagnosis,
    read_facts,
    read_merge,
    read_orders,
    read_patient,
    read_visit,
)
from cloud.hospital import service as hospital
from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.errors import Invalid, NotFound
from cloud.lis.catalog.content import LAST_WEEK
from cloud.lis.orders import service as orders
from cloud.lis.orders import timing
from cloud.lis.orders.model import Order, OrderSource
from cloud.people import service as people
from cloud.people.model import Person
from cloud.people.rules import PersonDetails
from cloud.web.i18n import mark as N_
from protocols.messages.hl7 import Hl7Message

Outcome = dict[str, Any]
Act = Callable[[Session, Hl7Message], Outcome]


class Unsupported(ValueError):
    """A kind of message that the laboratory does not take."""


def act(session: Session, message: Hl7Message) -> Outcome:
    """Do what the message says; ids of what came of it. Raises Unsupported, Unreadable or a refusal of `kit.errors`."""
    found = ACTS.get(message.kind)
    if found is None:
        raise Unsupported(f"{message.kind or 'MSH-9'} is not taken here; taken are {', '.join(sorted(ACTS))}")
    return found(session, message)


def file_person(session: Session, message: Hl7Message) -> Outcome:
    """ADT^A01, A04, A08, A28, A31: the person's file says this from now on."""
    return {"person": str(file_of(session, read_patient(message)).id)}


def merge_persons(session: Session, message: Hl7Message) -> Outcome:
    """ADT^A40: the file of MRG goes on as that of PID; a number nobody here carries is filed under the survivor."""
    survivor = file_of(session, read_patient(message))
    ended = read_merge(message)
    retired = known_file(session, ended)
    if retired is None:
        people.update(session, survivor.id, PersonDetails(identifiers=filed(session, ended)), by=BY)
    elif retired.id != survivor.id:
        reason = f"ADT^A40 {message.control_id}"
        people.merge(session, into=survivor.id, retired=retired.id, by=BY, reason=reason)
    return {"person": str(survivor.id), "retired": str(retired.id) if retired else None}


def take_orders(session: Session, message: Hl7Message) -> Outcome:
    """OML^O21: new orders and cancellations, each group of lines under its placer number."""
    person = file_of(session, read_patient(message))
    visit, diagnosis = read_visit(message), read_diagnosis(message)
    told = _clinical_facts(session, message, person)
    lines = sorted(read_orders(message, clock.hospital_zone()), key=lambda each: (each.key, each.control))
    done = []
    for (key, control), group in groupby(lines, key=lambda each: (each.key, each.control)):
        if control == "NW":
            order = _place(session, person, visit, diagnosis, key, list(group), told)
        elif control in ("CA", "OC"):
            order = _cancel(session, person, key, list(group))
        else:
            raise Unreadable(f"ORC-1 {control!r} is not taken here; taken are NW and CA")
        done.append({"placer": key, "order": str(order.id), "number": order.number, "control": control})
    return {"person": str(person.id), "orders": done}


ACTS: dict[str, Act] = {
    **{f"ADT^{event}": file_person for event in ("A01", "A04", "A08", "A28", "A31")},
    "ADT^A40": merge_persons,
    "OML^O21": take_orders,
    "DFT^P03": charges.take_charges,
    "ORM^O01": charges.take_execution,
    **{f"SIU^{event}": clinic.take_session for event in clinic.EVENTS},
}


def _clinical_facts(session: Session, message: Hl7Message, person: Person) -> dict[str, Any]:
    """Phase of the cycle and week of pregnancy, where the HIS tells them. What cannot be read is left out: a range of
    all phases is shown then, and an order is never refused for it."""
    mapper, told = Mapper(session), dict[str, Any]()
    if person.sex == "M":
        return told
    for fact in read_facts(message):
        name = mapper.ours("clinical_fact", fact.code)
        phase = mapper.ours("cycle_phase", fact.value)
        if name == "cycle_phase" and phase is not None:
            told["cycle_phase"] = phase
        weeks = fact.value.partition("+")[0].partition(".")[0]
        if name == "gestation_weeks" and weeks.isdecimal() and int(weeks) <= LAST_WEEK:
            told["gestation_weeks"] = int(weeks)
    if "gestation_weeks" in told:
        told["cycle_phase"] = "pregnant"
    return told


def _place(
    session: Session,
    person: Person,
    visit: Visit,
    diagnosis: str | None,
    key: str,
    lines: list[OrderLine],
    told: dict[str, Any],
) -> Order:
    """A new order; a later message under the same number adds what it has not yet."""
    mapper = Mapper(session)
    if any(not each.item for each in lines):
        raise Unreadable("OBR-4 carries no item")
    together = lines[0].planned_at if len({each.planned_at for each in lines}) == 1 else None
    items = [_code(mapper, each, None if together else each.planned_at) for each in lines]
    known = orders.order_by_placer(session, OrderSource.HIS, key)
    if known is not None and people.surviving_id(session, known.person_id) == person.id:
        if together is not None and together != known.collect_at:  # the order stands with another time, or none
            items = [_code(mapper, each, each.planned_at) for each in lines]
        orders.add_tests(session, known.id, items, by=BY)
        return known
    first = lines[0]
    return orders.place_order(
        session,
        person_id=person.id,
        department_id=_department(session, visit, first).id,
        items=items,
        priority="S" if any(mapper.ours("priority", each.priority) == "S" for each in lines) else "R",
        source=OrderSource.HIS,
        placer_number=key,
        ordered_at=first.ordered_at,
        collect_at=together,
        ordered_by=first.ordered_by,
        by=BY,
        visit_number=visit.number,
        bed=visit.bed,
        diagnosis=diagnosis,
        **told,
    )


def _code(mapper: Mapper, line: OrderLine, at: datetime | None) -> str:
    """Our code of the line's item, with the moment it is to be drawn where the lines of an order differ in it."""
    code = mapper.ours("item", line.item) or line.item
    return timing.with_timing(code, timing.Timing(at=at).text) if at is not None else code


def _department(session: Session, visit: Visit, line: OrderLine) -> Department:
    code = visit.department_code or line.department_code
    if not code:
        raise Unreadable("PV1-3 and ORC-17 name no department")
    ours = Mapper(session).ours("department", code) or code
    name = visit.department_name if visit.department_code else line.department_name
    return hospital.ensure_department(session, code=ours, name=name or ours)


def _cancel(session: Session, person: Person, key: str, lines: list[OrderLine]) -> Order:
    """The lines' items, or the whole order where a line names none."""
    order = orders.order_by_placer(session, OrderSource.HIS, key)
    if order is None:
        raise NotFound("his.order_unknown", N_("没有申请单 {placer}，无法取消。"), placer=key)
    if people.surviving_id(session, order.person_id) != person.id:
        raise Invalid("his.order_of_another", N_("申请单 {placer} 属于另一位患者，请核对。"), placer=key)
    reason = next((each.reason for each in lines if each.reason), "") or "HIS"
    item_ids = None
    if all(each.item for each in lines):
        mapper = Mapper(session)
        wanted = orders.wanted_tests(session, [_code(mapper, each, each.planned_at) for each in lines])
        tests = {(each.test_id, each.timing) for each in wanted}
        items = orders.items_of(session, order.id)
        item_ids = [each.id for each in items if (each.test_id, each.timing) in tests]
        named = {each.test_id for each in items if each.id in set(item_ids)}
        # A line whose time is not that of any item (the order has one for all, or the HIS says none) means the test.
        item_ids += [each.id for each in items if each.test_id in {key[0] for key in tests} - named]
    orders.cancel_order(session, order.id, reason=reason, by=BY, item_ids=item_ids)
    return order
