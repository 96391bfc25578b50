"""Reactions to facts of the hospital and of money, and what has its time."""

from __future__ import annotations

import uuid

from sqlalchemy.orm import Session

from cloud.his.events import NumbersMoved
from cloud.his.reporting import tells
from cloud.hospital.booked import count_with
from cloud.hospital.events import SessionChanged, SessionPublished, SessionStopped, SessionSubstituted
from cloud.kit.events import on
from cloud.kit.jobs import Begin, job
from cloud.patient.registration import (
    at_his,
    confirming,
    ending,
    hindering,
    moving,
    numbers,
    reminding,
    service,
    stopping,
    taking,
    waiting,
)
from cloud.payments.events import PaymentClosed, PaymentSettled, RefundArrived

assert hindering  # what keeps an account from letting go of a person is known from here on


@on(SessionPublished, "registration.published", background=True)
def published(session: Session, event: SessionPublished) -> None:
    stopping.numbers_follow(session, event.aggregate_id)


@on(SessionChanged, "registration.session_changed")
def session_changed(session: Session, event: SessionChanged) -> None:
    stopping.numbers_follow(session, event.aggregate_id)
    if event.starts_before is not None:
        stopping.times_moved(session, event.aggregate_id)


@on(SessionStopped, "registration.session_stopped", own_transactions=True)
def session_stopped(begin: Begin, event: SessionStopped) -> None:
    stopping.stop(begin, event.aggregate_id)


@on(SessionSubstituted, "registration.session_substituted")
def session_substituted(session: Session, event: SessionSubstituted) -> None:
    stopping.substituted(session, event.aggregate_id)


@on(PaymentSettled, "registration.settled")
def settled(session: Session, event: PaymentSettled) -> None:
    if event.purpose == service.PURPOSE:
        confirming.money_came(session, event.subject_id, event.aggregate_id)


@on(PaymentClosed, "registration.payment_closed")
def payment_closed(session: Session, event: PaymentClosed) -> None:
    if event.purpose == service.PURPOSE:
        confirming.payment_closed(session, event.subject_id, event.aggregate_id)


@on(RefundArrived, "registration.refunded")
def refunded(session: Session, event: RefundArrived) -> None:
    if event.purpose == service.PURPOSE:
        confirming.refund_arrived(session, event.payment_id)


@job(service.EXPIRE)
def expire(session: Session, booking_id: str) -> None:
    service.expire(session, uuid.UUID(booking_id))


@job(waiting.OFFER_OVER)
def offer_over(session: Session, entry_id: str) -> None:
    waiting.offer_over(session, uuid.UUID(entry_id))


@job(confirming.REMIND)
def remind(session: Session, booking_id: str) -> None:
    reminding.remind(session, uuid.UUID(booking_id))


@job(ending.AT_HIS_JOB, own_transactions=True)
def ask_his(begin: Begin, booking_id: str) -> None:
    at_his.step(begin, uuid.UUID(booking_id))


@on(NumbersMoved, "registration.numbers_moved", own_transactions=True)
def numbers_moved(begin: Begin, event: NumbersMoved) -> None:
    """A window of the HIS sold one of the numbers, or took one back."""
    at_his.open_there(begin, event.aggregate_id)


@job(taking.OPEN_AT_HIS, own_transactions=True)
def open_at_his(begin: Begin, clinic_session_id: str) -> None:
    at_his.open_there(begin, uuid.UUID(clinic_session_id))


@job(stopping.CHOOSE, own_transactions=True)
def choice_over(begin: Begin, booking_id: str) -> None:
    stopping.choice_over(begin, uuid.UUID(booking_id))


@job("registration.sweep", own_transactions=True, every="* * * * *")
def sweep(begin: Begin, **_: object) -> None:
    """Nothing here hangs on one job: what is due and was not done is done now."""
    with begin() as session:
        service.expire_due(session)
    with begin() as session:
        moving.expire_due(session)
    with begin() as session:
        waiting.offers_over(session)
    for booking_id in at_his.due(begin):
        at_his.step(begin, booking_id)
    for booking_id in stopping.due(begin):
        stopping.choice_over(begin, booking_id)


@job("registration.evening", own_transactions=True, every="*/15 * * * *")
def evening(begin: Begin, **_: object) -> None:
    """Reminders that have no job (the visit was booked long before the setting was changed), and missed visits."""
    reminding.remind_due(begin)
    reminding.mark_no_shows(begin)


count_with(numbers.booked)
tells(service.PURPOSE, at_his.paid_for)
