"""Bills, who pays them, and the steps of a bill's life driven one by one in tests."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select, text

from cloud.billing import intake, jobs, paying, record, refunding
from cloud.billing.intake import ChargeIn, ItemIn
from cloud.billing.model import Charge, ChargeItem
from cloud.hospital import service as hospital
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.events import StoredEvent
from cloud.kit.ids import new_id
from cloud.payments import asking, channels
from cloud.payments.model import Payment
from cloud.people import service as people
from cloud.people.rules import PersonDetails
from tests.support import paying as payments
from tests.support.cashiers import Cashiers
from tests.support.work import work

_numbers = itertools.count(1)
CASHIER = f"staff:{uuid.UUID(int=7)}"
TABLES = (
    "charge, charge_item, bill_payment, bill_payment_line, charge_allocation, bill_refund, bill_refund_line,"
    " billing_policy, procrastinate_jobs"
)


@dataclass(frozen=True, slots=True)
class Payer:
    """Somebody's phone."""

    payer_key: str = "account:1"
    payer: str = payments.PAYER
    channel: str = "wechat"

    @property
    def app_id(self) -> str:
        return channels.of(self.channel).app_id

    @property
    def merchant_id(self) -> str:
        return channels.of(self.channel).merchant_id


MINE = Payer()


def person(name: str = "王小梅") -> uuid.UUID:
    with begin() as session:
        details = PersonDetails(name=name, sex="F", birth_date=date(1985, 3, 2))
        return people.register(session, details, by="system").id


def said(
    person_id: uuid.UUID, *items: ItemIn | int, number: str | None = None, kind: str = "lab", **more: object
) -> ChargeIn:
    """A bill as the hospital's system says it; an item may be given by its fen."""
    lines = tuple(
        each if isinstance(each, ItemIn) else ItemIn(f"I{at}", f"项目{at}", each) for at, each in enumerate(items, 1)
    )
    values = {"source": "his", "made_at": clock.now(), **more}
    return ChargeIn(
        number=number or f"B{next(_numbers):08d}",
        person_id=person_id,
        kind=kind,
        items=lines,
        **values,  # type: ignore[arg-type]
    )


def arisen(person_id: uuid.UUID, *items: ItemIn | int, **more: object) -> uuid.UUID:
    with begin() as session:
        return intake.take_in(session, said(person_id, *items, **more)).id  # type: ignore[arg-type]


def begun(charge_ids: Sequence[uuid.UUID], payer: Payer = MINE, key: str | None = None) -> uuid.UUID:
    """The id of the payment of these charges."""
    with begin() as session:
        return paying.begin(session, charge_ids, payer, key=key or str(new_id()), by=payer.payer_key).id


def settled(cashiers: Cashiers, payment_id: uuid.UUID) -> uuid.UUID:
    """The person pays at the channel, the question finds it, and the bills hear of it."""
    asking.prepare(begin, payment_id, subject="门诊缴费", client_ip="203.0.113.9", return_url="http://127.0.0.1/p")
    payments.taps(cashiers, payment_id)
    asking.ask(begin, payment_id, at_once=True)
    work("billing")
    return payment_id


def paid(cashiers: Cashiers, charge_ids: Sequence[uuid.UUID], payer: Payer = MINE) -> uuid.UUID:
    return settled(cashiers, begun(charge_ids, payer))


def cash(charge_ids: Sequence[uuid.UUID], key: str | None = None) -> uuid.UUID:
    with begin() as session:
        return paying.take_cash(session, charge_ids, by=CASHIER, key=key or str(new_id())).payment.id


def asked_back(
    charge_id: uuid.UUID,
    item_ids: Sequence[uuid.UUID] | None = None,
    *,
    at_window: bool = False,
    route: str = "channel",
) -> uuid.UUID:
    with begin() as session:
        return refunding.ask(
            session, charge_id, item_ids, by=CASHIER, reason="不做了", at_window=at_window, route=route
        ).id


def charge(charge_id: uuid.UUID) -> Charge:
    with begin() as session:
        return record.charge(session, charge_id)


def items(charge_id: uuid.UUID) -> list[ChargeItem]:
    with begin() as session:
        return record.items_of(session, charge_id)


def states(charge_id: uuid.UUID) -> str:
    """``paid: executed refunding``: the charge's state and its items'."""
    return f"{charge(charge_id).state}: {' '.join(each.state for each in items(charge_id))}"


def payment_of(charge_id: uuid.UUID) -> Payment:
    with begin() as session:
        return session.get_one(Payment, charge(charge_id).payment_id)


def heard(type_: str) -> int:
    """How many facts of that type are stored."""
    with begin() as session:
        return session.scalar(select(func.count()).where(StoredEvent.type == type_)) or 0


def sweep(rounds: int = 4) -> None:
    """Payments, refunds and bills go as far as they can."""
    payments.sweep(rounds)
    work("billing")
    jobs.sweep(begin)


def clean(cashiers: Cashiers | None = None) -> None:
    """No bills, no payments, on either side."""
    with begin() as session:
        session.execute(text(f"TRUNCATE {TABLES} CASCADE"))
    if cashiers is not None:
        payments.clean(cashiers)


def department(code: str = "FS", name: str = "放射科") -> uuid.UUID:
    with begin() as session:
        return hospital.ensure_department(session, code=code, name=name, kind="executing").id
