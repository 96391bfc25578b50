"""Bookings driven step by step in tests: a session with numbers, persons with phones, held, paid at the simulator."""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import func, select, text, update

from cloud.kit import clock
from cloud.kit.db import begin
from cloud.kit.ids import new_id
from cloud.patient.identity.model import PatientAccount
from cloud.patient.registration import jobs, service
from cloud.patient.registration.model import Booking, Number, RegistrationSettings
from cloud.patient.registration.service import HoldWish, Payer
from cloud.payments import asking, channels
from cloud.people import access
from cloud.people import service as people
from cloud.people.rules import PersonDetails
from tests.support import clinic, paying
from tests.support.cashiers import Cashiers
from tests.support.work import work

assert jobs  # its reactions to published sessions and to money are known from here on


def opened_session(capacity: int = 3, **more: object) -> uuid.UUID:
    """A session tomorrow, released, with its numbers."""
    with begin() as session:
        made = clinic.clinic_session(session, capacity=capacity, **more).id
    work("registration")
    return made


def person(name: str = "王小梅") -> tuple[uuid.UUID, uuid.UUID]:
    """Somebody with a phone of their own: (account, person)."""
    with begin() as session:
        who = people.register(session, PersonDetails(name=name, sex="F"), by="test").id
        account = PatientAccount(channel="wechat", app_id="wx-hospital", open_id=f"o{new_id().hex}")
        session.add(account)
        session.flush()
        access.grant(session, account_id=account.id, person_id=who, scopes=("book", "pay"), origin="self", by="test")
        return account.id, who


def wish(clinic_id: uuid.UUID, who: tuple[uuid.UUID, uuid.UUID], **more: object) -> HoldWish:
    values: dict[str, object] = {
        "clinic_session_id": clinic_id,
        "account_id": who[0],
        "person_id": who[1],
        "by": f"account:{who[0]}",
        "key": str(new_id()),
    }
    return HoldWish(**(values | more))  # type: ignore[arg-type]


def held(clinic_id: uuid.UUID, who: tuple[uuid.UUID, uuid.UUID] | None = None, **more: object) -> uuid.UUID:
    with begin() as session:
        return service.hold(session, wish(clinic_id, who or person(), **more)).id


def paying_for(booking_id: uuid.UUID, channel: str = "wechat") -> uuid.UUID:
    """A payment that the phone could pay: its id."""
    offered = channels.of(channel)
    payer = Payer(channel, offered.app_id, offered.merchant_id, paying.PAYER, "account:1")
    with begin() as session:
        payment_id = service.pay_for(session, booking_id, payer, key=f"pay:{new_id()}").id
    asking.prepare(
        begin, payment_id, subject="杏林医院-挂号费", client_ip="203.0.113.9", return_url="http://127.0.0.1/p"
    )
    return payment_id


def paid(cashiers: Cashiers, booking_id: uuid.UUID) -> uuid.UUID:
    payment_id = paying_for(booking_id)
    paying.taps(cashiers, payment_id)
    asking.ask(begin, payment_id, at_once=True)
    work("registration")
    return payment_id


def booking(booking_id: uuid.UUID) -> Booking:
    with begin() as session:
        return session.get_one(Booking, booking_id)


def state(booking_id: uuid.UUID) -> str:
    return booking(booking_id).state


def numbers(clinic_id: uuid.UUID) -> dict[str, int]:
    with begin() as session:
        return service.count_of(session, clinic_id)


def time_is_up(booking_id: uuid.UUID) -> None:
    """Its hold is over, the payment's time too."""
    past = clock.now() - timedelta(minutes=2)
    with begin() as session:
        session.execute(update(Booking).where(Booking.id == booking_id).values(hold_until=past))
        session.execute(update(Number).where(Number.booking_id == booking_id).values(hold_until=past))
        found = session.get_one(Booking, booking_id).payment_id
    if found is not None:
        paying.over(found)


def waits_over() -> None:
    """Returned numbers are free, offers are over."""
    past = clock.now() - timedelta(seconds=1)
    with begin() as session:
        session.execute(update(Number).where(Number.free_from.is_not(None)).values(free_from=past))


def settle(**values: object) -> None:
    with begin() as session:
        session.execute(text("DELETE FROM registration_settings"))
        session.add(RegistrationSettings(id=1, **values))


def refunds_done() -> None:
    """Whatever goes back has gone back, and everybody knows."""
    paying.sweep(4)
    work("registration")


def live_of(clinic_id: uuid.UUID) -> int:
    with begin() as session:
        return (
            session.scalar(
                select(func.count(func.distinct(Number.booking_id))).where(
                    Number.clinic_session_id == clinic_id, Number.booking_id.is_not(None)
                )
            )
            or 0
        )
