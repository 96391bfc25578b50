"""What the order pages read: patients to order for, lists of orders. Only through `visible_to` (must 9)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.lis.orders.asked import asked_for
from cloud.lis.orders.model import ItemState, Order, OrderItem
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person, PersonIdentifier

PAGE_SIZE = 50
COUNTED = 1000
"""Orders beyond so many are not counted and have no page: somebody who looks for one narrows the list."""


def patients(session: Session, subject: Subject, text: str, *, limit: int = 12) -> list[Person]:
    """Whom a number of the hospital (record, card) or the beginning of a name finds; files that go on only."""
    wanted = text.strip()
    if not wanted:
        return []
    numbered = select(PersonIdentifier.person_id).where(PersonIdentifier.value == wanted)
    found = select(Person).where(
        Person.id.in_(visible_to(subject)),
        Person.status == "active",
        or_(Person.id.in_(numbered), Person.name.startswith(wanted, autoescape=True)),
    )
    return list(session.scalars(found.order_by(Person.name, Person.id).limit(limit)))


def numbered(session: Session, subject: Subject, number: str) -> list[Person]:
    """Whom a number of the hospital (wristband, record, card) names exactly; files that go on only."""
    if not number:
        return []
    has_it = select(PersonIdentifier.person_id).where(PersonIdentifier.value == number)
    found = select(Person).where(Person.id.in_(visible_to(subject)), Person.status == "active", Person.id.in_(has_it))
    return list(session.scalars(found.order_by(Person.id).limit(2)))


def numbers_of(session: Session, person_ids: list[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The hospital's number of each patient (病历号, else any other)."""
    rows = session.execute(
        select(PersonIdentifier.person_id, PersonIdentifier.value)
        .where(PersonIdentifier.person_id.in_(person_ids))
        .order_by(PersonIdentifier.system != "mrn", PersonIdentifier.id)
    )
    found: dict[uuid.UUID, str] = {}
    for person_id, value in rows:
        found.setdefault(person_id, value)
    return found


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line of the list."""

    order: Order
    person: Person
    department: Department
    asked: list[str]
    progress: dict[str, int]
    """How many items stand in which state."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What the list is narrowed to; empty fields narrow nothing."""

    text: str = ""
    day: date | None = None
    state: str = ""
    department_id: uuid.UUID | None = None


def orders(session: Session, subject: Subject, wanted: Filter, *, page: int = 1) -> tuple[list[OrderLine], int]:
    """One page of orders, newest first, and how many there are (`COUNTED` at most)."""
    found = (
        select(Order, Person, Department)
        .join(Person, Person.id == Order.person_id)
        .join(Department, Department.id == Order.department_id)
        .where(Order.person_id.in_(visible_to(subject)))
    )
    if wanted.text.strip():
        text = wanted.text.strip()
        numbered = select(PersonIdentifier.person_id).where(PersonIdentifier.value == text)
        found = found.where(
            or_(
                Order.number == text.upper(),
                Order.placer_number == text,
                Order.person_id.in_(numbered),
                Person.name.startswith(text, autoescape=True),
            )
        )
    if wanted.day is not None:
        found = found.where(
            Order.ordered_at >= clock.day_begins(wanted.day),
            Order.ordered_at < clock.day_begins(wanted.day + timedelta(days=1)),
        )
    if wanted.state:
        with_state = select(OrderItem.order_id).where(OrderItem.state == wanted.state)
        found = found.where(Order.id.in_(with_state))
    if wanted.department_id is not None:
        found = found.where(Order.department_id == wanted.department_id)
    counted = found.with_only_columns(Order.id).limit(COUNTED).subquery()
    total = session.scalar(select(func.count()).select_from(counted)) or 0
    rows = session.execute(
        found.order_by(Order.ordered_at.desc(), Order.id.desc()).offset((page - 1) * PAGE_SIZE).limit(PAGE_SIZE)
    ).all()
    ids = [order.id for order, _, _ in rows]
    asked, progress = asked_for(session, OrderItem.order_id, ids), _progress(session, ids)
    lines = [
        OrderLine(order, person, department, asked.get(order.id, []), progress.get(order.id, {}))
        for order, person, department in rows
    ]
    return lines, total


def _progress(session: Session, order_ids: list[uuid.UUID]) -> dict[uuid.UUID, dict[str, int]]:
    rows = session.execute(
        select(OrderItem.order_id, OrderItem.state, func.count())
        .where(OrderItem.order_id.in_(order_ids))
        .group_by(OrderItem.order_id, OrderItem.state)
    )
    found: dict[uuid.UUID, dict[str, int]] = {}
    for order_id, state, count in rows:
        found.setdefault(order_id, {})[state] = count
    return found


def waiting_for_a_tube(session: Session) -> int:
    """Orders with a test that has no tube yet, for the home page."""
    waiting = select(OrderItem.order_id).where(OrderItem.state == ItemState.ORDERED, OrderItem.specimen_id.is_(None))
    return session.scalar(select(func.count()).select_from(waiting.distinct().subquery())) or 0
