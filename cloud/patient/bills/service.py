"""Which bills an account may see and pay. Every query here goes through `visible_to`; money is decided in billing.

Paying for somebody (scope ``pay``) shows what kind of bill it is and its sum; what exactly was done or given out, and
the department, is read with that person's consent to see orders (scope ``order``), which oneself always has.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.billing import record, refunding, rules
from cloud.billing.model import BillPayment, BillPaymentLine, Charge, ChargeItem, ChargeState
from cloud.billing.refunding import RefundView
from cloud.billing.rules import Route, Standing
from cloud.hospital.model import Department
from cloud.kit import clock
from cloud.kit.errors import NotFound
from cloud.patient.bills.rules import KINDS
from cloud.payments.model import UNSETTLED, Payment
from cloud.people.access import Subject, display_name, visible_to
from cloud.people.model import Person
from cloud.web.i18n import mark as N_

SHOWN = 50
SETTLED_FOR = timedelta(days=366)
"""How far back the list of paid bills goes."""


@dataclass(frozen=True, slots=True)
class Bill:
    """One bill in a list. `title` is a word of `KINDS`; `about` says more only to who may read orders."""

    charge: Charge
    title: str
    about: str
    patient: str
    standing: Standing
    items: int
    mine: uuid.UUID | None
    """The payment of this very account that has it, while it is being paid."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One bill with all that its reader may see of it. `lines` is empty without the right to read orders."""

    bill: Bill
    lines: tuple[ChargeItem, ...]
    route: Route
    word: str
    """Why the phone gives nothing back, "" where it does."""
    refunds: tuple[RefundView, ...]
    executing: str
    payment: Payment | None
    paid_by_me: bool


def payable(session: Session, subject: Subject) -> list[Bill]:
    """What is to be paid for everybody this account pays for, oldest first."""
    return _bills(
        session,
        subject,
        select(Charge)
        .where(
            Charge.person_id.in_(visible_to(subject, "pay")),
            Charge.state.in_((ChargeState.PAYABLE, ChargeState.PAYING)),
        )
        .order_by(Charge.made_at, Charge.id)
        .limit(SHOWN),
    )


def payable_count(session: Session, subject: Subject) -> int:
    """How many bills wait to be paid, for the home page."""
    return len(payable(session, subject))


def settled(session: Session, subject: Subject) -> list[Bill]:
    """What was paid, newest first."""
    return _bills(
        session,
        subject,
        select(Charge)
        .where(
            Charge.person_id.in_(visible_to(subject, "pay")),
            Charge.state == ChargeState.PAID,
            Charge.made_at > clock.now() - SETTLED_FOR,
        )
        .order_by(Charge.paid_at.desc(), Charge.id.desc())
        .limit(SHOWN),
    )


def chosen(session: Session, subject: Subject, charge_ids: Collection[uuid.UUID]) -> list[Bill]:
    """These bills, if this account may pay all of them. Raises `NotFound`, alike for unknown and somebody else's."""
    found = _bills(
        session,
        subject,
        select(Charge)
        .where(Charge.person_id.in_(visible_to(subject, "pay")), Charge.id.in_(list(charge_ids)))
        .order_by(Charge.made_at, Charge.id),
    )
    if not found or len(found) != len(set(charge_ids)):
        raise _not_found()
    return found


def of_payment(session: Session, subject: Subject, bill_payment_id: uuid.UUID) -> tuple[BillPayment, list[Bill]]:
    """What this account paid together. Raises `NotFound`."""
    group = session.get(BillPayment, bill_payment_id, populate_existing=True)
    if group is None or subject.account_id is None or group.payer_key != str(subject.account_id):
        raise _not_found()
    ids = select(BillPaymentLine.charge_id).where(BillPaymentLine.bill_payment_id == group.id)
    found = _bills(
        session,
        subject,
        select(Charge)
        .where(Charge.person_id.in_(visible_to(subject, "pay")), Charge.id.in_(ids))
        .order_by(Charge.made_at, Charge.id),
    )
    return group, found


def opened(session: Session, subject: Subject, charge_id: uuid.UUID) -> Opened:
    """One bill. Raises `NotFound`, alike for unknown and somebody else's."""
    [bill] = chosen(session, subject, [charge_id])
    charge = bill.charge
    route = refunding.route_of(session, charge)
    payment = session.get(Payment, charge.payment_id) if charge.payment_id else None
    may_read = charge.person_id in _readable(session, subject, [charge.person_id])
    executing = session.get(Department, charge.executing_department_id) if charge.executing_department_id else None
    return Opened(
        bill=bill,
        lines=tuple(record.items_of(session, charge_id)) if may_read else (),
        route=route,
        word=refunding.WHY[route.why] if route.why else "",
        refunds=tuple(refunding.refunds_of(session, charge_id)),
        executing=executing.name if executing is not None and may_read else "",
        payment=payment,
        paid_by_me=payment is not None and payment.payer_key == str(subject.account_id),
    )


def _bills(session: Session, subject: Subject, query: object) -> list[Bill]:
    charges: Sequence[Charge] = list(session.scalars(query))  # type: ignore[call-overload]
    persons = [each.person_id for each in charges]
    names = dict(session.execute(select(Person.id, Person.name).where(Person.id.in_(persons))).all())
    readable = _readable(session, subject, persons)
    departments = _departments(session, charges)
    states: dict[uuid.UUID, list[str]] = {}
    rows = session.execute(
        select(ChargeItem.charge_id, ChargeItem.state)
        .join(Charge, (Charge.id == ChargeItem.charge_id) & (Charge.version == ChargeItem.version))
        .where(Charge.id.in_([each.id for each in charges]), Charge.person_id.in_(visible_to(subject, "pay")))
    )
    for charge_id, state in rows:
        states.setdefault(charge_id, []).append(state)
    mine = _mine(session, subject, charges)
    return [
        Bill(
            charge=each,
            title=KINDS[each.kind],
            about=departments.get(each.department_id, "") if each.person_id in readable else "",
            patient=display_name(names[each.person_id]),
            standing=rules.standing(each.state, states.get(each.id, [])),
            items=len(states.get(each.id, [])),
            mine=mine.get(each.paying_id) if each.paying_id else None,
        )
        for each in charges
    ]


def _readable(session: Session, subject: Subject, persons: Collection[uuid.UUID]) -> set[uuid.UUID]:
    found = select(Person.id).where(Person.id.in_(visible_to(subject, "order")), Person.id.in_(list(persons)))
    return set(session.scalars(found))


def _departments(session: Session, charges: Collection[Charge]) -> dict[uuid.UUID | None, str]:
    """Their names; whose bill it is does not matter."""
    ids = {each.department_id for each in charges}
    rows = session.execute(select(Department.id, Department.name).where(Department.id.in_(ids)))
    return dict(rows.all())


def _mine(session: Session, subject: Subject, charges: Collection[Charge]) -> dict[uuid.UUID, uuid.UUID]:
    """The payments under way of this account, by their group."""
    rows = session.execute(
        select(BillPayment.id, BillPayment.payment_id)
        .join(Payment, Payment.id == BillPayment.payment_id)
        .where(
            BillPayment.id.in_({each.paying_id for each in charges if each.paying_id}),
            BillPayment.payer_key == str(subject.account_id),
            Payment.state.in_(UNSETTLED),
        )
    ).all()
    return {group: payment for group, payment in rows if payment is not None}


def _not_found() -> NotFound:
    return NotFound("not_found", N_("没有找到，或者您无权查看。"))
