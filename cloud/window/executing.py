"""What an executing department sees of a patient: its items, paid or not, done or on their way back."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.billing.model import Charge, ChargeItem, ChargeState, ItemState
from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.errors import Conflict, NotFound
from cloud.people.access import Subject, visible_to
from cloud.people.model import Person
from cloud.web.i18n import mark as N_

LOOKED_BACK = timedelta(days=180)
MOST = 300


@dataclass(frozen=True, slots=True)
class Task:
    """One item to do. `owed`: done before it was paid."""

    item: ChargeItem
    charge: Charge
    asked_by: str
    done_in: str
    owed: bool

    @property
    def can_be_done(self) -> bool:
        return self.item.state == ItemState.PAID


@dataclass(frozen=True, slots=True)
class Tasks:
    """`to_do` first what can be done; `done` newest first; `waiting` is not paid; `going` is being refunded."""

    to_do: tuple[Task, ...]
    waiting: tuple[Task, ...]
    going: tuple[Task, ...]
    done: tuple[Task, ...]


def of(session: Session, subject: Subject, persons: Collection[uuid.UUID], department_id: uuid.UUID | None) -> Tasks:
    """The items of these files (one person's, merges included) that this department does; without one, all of them."""
    query = (
        select(ChargeItem, Charge)
        .join(Charge, (Charge.id == ChargeItem.charge_id) & (Charge.version == ChargeItem.version))
        .where(
            Charge.person_id.in_(visible_to(subject)),
            Charge.person_id.in_(list(persons)),
            Charge.state != ChargeState.VOID,
            Charge.made_at > clock.now() - LOOKED_BACK,
        )
        .order_by(Charge.made_at.desc(), ChargeItem.position)
        .limit(MOST)
    )
    if department_id is not None:
        query = query.where(Charge.executing_department_id == department_id)
    rows = session.execute(query).all()
    ids = {each for item, charge in rows for each in (charge.department_id, item.executed_in) if each}
    names = dict(session.execute(select(Department.id, Department.name).where(Department.id.in_(ids))).all())
    tasks = [
        Task(
            item=item,
            charge=charge,
            asked_by=names.get(charge.department_id, "") if charge.department_id else "",
            done_in=names.get(item.executed_in, "") if item.executed_in else "",
            owed=item.executed_at is not None and charge.state != ChargeState.PAID,
        )
        for item, charge in rows
    ]
    return Tasks(
        to_do=tuple(each for each in tasks if each.can_be_done),
        waiting=tuple(each for each in tasks if each.item.state in (ItemState.PAYABLE, ItemState.PAYING)),
        going=tuple(each for each in tasks if each.item.state in (ItemState.REFUNDING, ItemState.REFUNDED)),
        done=tuple(
            sorted(
                (each for each in tasks if each.item.state == ItemState.EXECUTED and each.item.executed_at),
                key=lambda each: each.item.executed_at or each.charge.made_at,
                reverse=True,
            )
        ),
    )


def departments(session: Session) -> list[Department]:
    """Those that do something for patients, by name."""
    kinds = ("executing", "laboratory", "clinical")
    return list(session.scalars(select(Department).where(Department.kind.in_(kinds)).order_by(Department.name)))


@dataclass(frozen=True, slots=True)
class Debt:
    """One bill of which something was done before it was paid."""

    charge: Charge
    name: str
    done: int


def owed(session: Session, subject: Subject, limit: int = 200) -> list[Debt]:
    """Bills that were worked on and are not paid, oldest first."""
    rows = session.execute(
        select(Charge, Person.name, func.count())
        .join(ChargeItem, (Charge.id == ChargeItem.charge_id) & (Charge.version == ChargeItem.version))
        .join(Person, Person.id == Charge.person_id)
        .where(
            Charge.person_id.in_(visible_to(subject)),
            Charge.state.in_((ChargeState.PAYABLE, ChargeState.PAYING)),
            ChargeItem.executed_at.is_not(None),
        )
        .group_by(Charge.id, Person.name)
        .order_by(Charge.made_at)
        .limit(limit)
    ).all()
    return [Debt(charge, name, int(many)) for charge, name, many in rows]


def undoable(session: Session, persons: Collection[uuid.UUID], item_id: uuid.UUID) -> list[uuid.UUID]:
    """The item, if it is this patient's and no laboratory's (there the tube's reception is undone)."""
    mine = ours(session, persons, [item_id])
    if session.get_one(ChargeItem, item_id).order_key is not None:
        raise Conflict("charge_item.laboratory", N_("检验项目随标本接收登记，请由检验科撤销接收。"))
    return mine


def ours(session: Session, persons: Collection[uuid.UUID], item_ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Those of the items that belong to this patient: a page that was left open for another changes nothing of theirs.

    Raises `NotFound` unless all of them do.
    """
    found = session.scalars(
        select(ChargeItem.id)
        .join(Charge, Charge.id == ChargeItem.charge_id)
        .where(Charge.person_id.in_(list(persons)), ChargeItem.id.in_(list(item_ids)))
    ).all()
    if not found or len(found) != len(set(item_ids)):
        raise NotFound("charge_item.unknown", N_("没有这个收费项目。"))
    return list(found)
