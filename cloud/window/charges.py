"""All bills for who looks after the money: found by number, patient, day, state or department; and how one came about.

The trail of a bill is put together from what is stored anyway: its sealed entries, its payment, its refunds. Nothing is
written here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from cloud.billing import record, refunding
from cloud.billing.model import Charge, ChargeItem, ChargeState, ItemState
from cloud.billing.refunding import RefundView
from cloud.billing.rules import standing
from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.audit import AuditEntry
from cloud.kit.db import among
from cloud.payments.model import Payment
from cloud.people.access import Subject, visible_to
from cloud.people.identity import person_ids
from cloud.people.model import Person
from cloud.staff.trail_words import ACTIONS
from cloud.web.i18n import mark as N_
from cloud.window import finding

PAGE_SIZE = 50
OF_ITEMS = (ItemState.EXECUTED, ItemState.REFUNDING, ItemState.REFUNDED)
"""States to look for that a bill has by one of its items."""
TOLD, PAID, ELSEWHERE, FREE, BACK = (
    N_("已通知患者手机"),
    N_("已缴费"),
    N_("已在 HIS 窗口缴费"),
    N_("无需缴费"),
    N_("退费到账"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Empty fields ask for everything. Without a text and a day it is today's bills."""

    text: str = ""
    """A bill's, payment's, receipt's number, a card, or a name."""
    day: date | None = None
    state: str = ""
    department: str = ""
    """A department's code: it asked for the bill or does its items."""


@dataclass(frozen=True, slots=True)
class Row:
    charge: Charge
    person: Person
    standing: str
    asked_by: str
    done_by: str


def listed(session: Session, subject: Subject, wanted: Wanted, *, page: int = 1) -> tuple[list[Row], int]:
    """One page, the newest first, and how many there are."""
    conditions = [Charge.person_id.in_(visible_to(subject)), *_conditions(session, subject, wanted)]
    total = session.scalar(select(func.count()).select_from(Charge).where(*conditions)) or 0
    found = session.execute(
        select(Charge, Person)
        .join(Person, Person.id == Charge.person_id)
        .where(*conditions)
        .order_by(Charge.made_at.desc(), Charge.id.desc())
        .offset((page - 1) * PAGE_SIZE)
        .limit(PAGE_SIZE)
    ).all()
    states = _item_states(session, [charge.id for charge, _ in found])
    ids = {each for charge, _ in found for each in (charge.department_id, charge.executing_department_id) if each}
    names = _departments(session, ids)
    rows = [
        Row(
            charge,
            person,
            str(standing(charge.state, states.get(charge.id, ()))),
            names.get(charge.department_id, ""),
            names.get(charge.executing_department_id, ""),
        )
        for charge, person in found
    ]
    return rows, total


def _conditions(session: Session, subject: Subject, wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    text = wanted.text.strip()
    if text:
        people = [each for one in finding.persons(session, subject, text) for each in person_ids(session, one.id)]
        named = session.scalar(select(Charge.id).where(Charge.number == text).limit(1)) is not None
        conditions.append(Charge.number == text if named else Charge.person_id.in_(people))
    day = wanted.day or (None if text else clock.today())
    if day is not None:
        begins = clock.day_begins(day)
        conditions += [Charge.made_at >= begins, Charge.made_at < clock.day_begins(day + timedelta(days=1))]
    if wanted.state in OF_ITEMS:
        item = select(ChargeItem.id).where(ChargeItem.charge_id == Charge.id, ChargeItem.state == wanted.state)
        conditions.append(item.exists())
    elif wanted.state:
        conditions.append(Charge.state == wanted.state)
    if wanted.department:
        place = select(Department.id).where(Department.code == wanted.department).scalar_subquery()
        conditions.append(or_(Charge.department_id == place, Charge.executing_department_id == place))
    return conditions


def _item_states(session: Session, charge_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[str]]:
    found: dict[uuid.UUID, list[str]] = {}
    rows = session.execute(
        select(ChargeItem.charge_id, ChargeItem.state)
        .join(Charge, (Charge.id == ChargeItem.charge_id) & (Charge.version == ChargeItem.version))
        .where(among(Charge.id, charge_ids))
    )
    for charge_id, state in rows:
        found.setdefault(charge_id, []).append(state)
    return found


def _departments(session: Session, ids: set[uuid.UUID]) -> Mapping[uuid.UUID | None, str]:
    rows = session.execute(select(Department.id, Department.name).where(among(Department.id, ids)))
    return {row.id: row.name for row in rows}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to the bill. `text` is a word of the pages; `what`: lines, an amount or a number."""

    at: datetime
    text: str
    what: str = ""
    by: str = ""
    """An actor as stored."""
    reason: str = ""
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    charge: Charge
    person: Person
    items: Sequence[ChargeItem]
    standing: str
    asked_by: str
    done_by: str
    payment: Payment | None
    refunds: Sequence[RefundView]
    steps: Sequence[Step]


def story(session: Session, subject: Subject, charge_id: uuid.UUID) -> Story | None:
    """None: there is none, or its patient may not be seen."""
    charge = session.scalar(select(Charge).where(Charge.id == charge_id, Charge.person_id.in_(visible_to(subject))))
    if charge is None:
        return None
    items = record.items_of(session, charge.id)
    payment = session.get(Payment, charge.payment_id) if charge.payment_id else None
    refunds = refunding.refunds_of(session, charge.id)
    names = _departments(session, {each for each in (charge.department_id, charge.executing_department_id) if each})
    return Story(
        charge,
        session.get_one(Person, charge.person_id),
        items,
        str(standing(charge.state, [each.state for each in items])),
        names.get(charge.department_id, ""),
        names.get(charge.executing_department_id, ""),
        payment,
        refunds,
        sorted(_steps(session, charge, items, payment, refunds), key=lambda each: each.at),
    )


def _steps(
    session: Session,
    charge: Charge,
    items: Sequence[ChargeItem],
    payment: Payment | None,
    refunds: Sequence[RefundView],
) -> list[Step]:
    names = {each.line: each.name for each in items}
    sealed = session.scalars(
        select(AuditEntry)
        .where(AuditEntry.kind == "charge", AuditEntry.aggregate_id == str(charge.id))
        .order_by(AuditEntry.number)
    )
    steps = [
        Step(each.at, ACTIONS.get(each.action, each.action), _lines(each, names), each.actor, each.reason or "")
        for each in sealed
    ]
    if charge.told_at is not None:
        steps.append(Step(charge.told_at, TOLD))
    if charge.paid_at is not None and charge.paid_how != "elsewhere":
        number = payment.number if payment is not None else ""
        steps.append(Step(charge.paid_at, FREE if payment is None else PAID, number))
    elif charge.paid_at is not None:
        steps.append(Step(charge.paid_at, ELSEWHERE, charge.receipt or ""))
    for each in refunds:
        if each.stage == "arrived" and each.refund.done_at is not None:
            gone = [item.name for item in items if item.id in each.lines]
            steps.append(Step(each.refund.done_at, BACK, "、".join(gone)))
    return steps


def _lines(entry: AuditEntry, names: Mapping[str, str]) -> str:
    said = entry.after.get("lines") if isinstance(entry.after, dict) else None
    return "、".join(names.get(str(each), str(each)) for each in said) if isinstance(said, list) else ""


STATES = {
    ChargeState.PAYABLE: N_("待缴费"),
    ChargeState.PAYING: N_("手机正在支付"),
    ChargeState.PAID: N_("已缴费"),
    ItemState.EXECUTED: N_("有已执行的项目"),
    ItemState.REFUNDING: N_("有退费中的项目"),
    ItemState.REFUNDED: N_("有已退的项目"),
    ChargeState.VOID: N_("已作废"),
}
"""What the list can be filtered by."""
