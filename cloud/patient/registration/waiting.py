"""The waiting list of a full session: whoever came first is offered the next number for a limited time."""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from cloud.hospital.model import ClinicSession
from cloud.kit import clock
from cloud.kit.audit import record
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.jobs import enqueue
from cloud.patient.registration import numbers, settled, telling
from cloud.patient.registration.model import LIVE, Booking, Number, NumberState, WaitingEntry
from cloud.people.identity import surviving_id
from cloud.web.i18n import mark as N_

OFFER_OVER = "registration.offer_over"


def join(session: Session, clinic: ClinicSession, *, person_id: uuid.UUID, account_id: uuid.UUID) -> WaitingEntry:
    """Stand in line. Raises `Conflict`: there are numbers, the line is long enough, has a number or stands already.

    The caller has asked `service.bookable` and taken the person's turn.
    """
    if numbers.left(session, [clinic.id]):
        raise Conflict("registration.not_full", N_("还有号，可以直接挂号。"))
    person_id = surviving_id(session, person_id)
    standing = select(func.count()).where(
        WaitingEntry.clinic_session_id == clinic.id, WaitingEntry.state.in_(("waiting", "offered"))
    )
    if (session.scalar(standing) or 0) >= settled.of(session).waiting_per_session:
        raise Conflict("registration.line_full", N_("候补人数已满，请选择其他时间或其他医生。"))
    mine = select(WaitingEntry.id).where(
        WaitingEntry.clinic_session_id == clinic.id,
        WaitingEntry.person_id == person_id,
        WaitingEntry.state.in_(("waiting", "offered")),
    )
    if session.scalar(mine) is not None:
        raise Conflict("registration.waits", N_("就诊人已在候补。"))
    has_one = select(Booking.id).where(
        Booking.clinic_session_id == clinic.id, Booking.person_id == person_id, Booking.state.in_(LIVE)
    )
    if session.scalar(has_one) is not None:
        raise Conflict("registration.has_one", N_("就诊人已有这次出诊的号。"))
    entry = WaitingEntry(person_id=person_id, account_id=account_id, clinic_session_id=clinic.id)
    session.add(entry)
    session.flush()
    record(
        session,
        actor=f"account:{account_id}",
        action="waiting.join",
        aggregate=("booking_waiting", entry.id),
        after={"session": clinic.id},
    )
    return entry


def leave(session: Session, entry_id: uuid.UUID, *, account_id: uuid.UUID) -> WaitingEntry:
    """No longer wanted; a number offered goes to the next. Raises `NotFound`."""
    entry = _locked(session, entry_id)
    if entry is None or entry.account_id != account_id:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    if entry.state in ("waiting", "offered"):
        _end(session, entry, "withdrawn")
    return entry


def offer(session: Session, number: Number) -> WaitingEntry | None:
    """Give a number that has just come free to whoever waits longest; None: nobody does, it stays free."""
    if number.state != NumberState.FREE or number.to_at <= clock.now():
        return None
    entry = session.scalar(
        select(WaitingEntry)
        .where(WaitingEntry.clinic_session_id == number.clinic_session_id, WaitingEntry.state == "waiting")
        .order_by(WaitingEntry.created_at, WaitingEntry.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if entry is None:
        return None
    now = clock.now()
    until = min(now + timedelta(minutes=settled.of(session).offer_minutes), number.to_at)
    taken = session.scalar(
        update(Number)
        .where(Number.id == number.id, Number.state == NumberState.FREE)
        .values(state=NumberState.HELD, waiting_id=entry.id, hold_until=until, free_from=None)
        .returning(Number.id)
    )
    if taken is None:
        return None
    entry.state, entry.offered_at, entry.offer_until = "offered", now, until
    session.flush()
    enqueue(session, OFFER_OVER, at=until, entry_id=str(entry.id))
    telling.tell_waiting(session, entry, number)
    return entry


def offered_number(session: Session, entry: WaitingEntry) -> Number | None:
    return session.scalar(select(Number).where(Number.waiting_id == entry.id))


def offer_over(session: Session, entry_id: uuid.UUID) -> bool:
    """Nobody took it in time: the next in line, or free for everybody."""
    entry = _locked(session, entry_id)
    if entry is None or entry.state != "offered" or entry.offer_until is None or entry.offer_until > clock.now():
        return False
    _end(session, entry, "passed")
    return True


def offers_over(session: Session, *, most: int = 200) -> int:
    """The sweep behind `offer_over`."""
    due = session.scalars(
        select(WaitingEntry.id)
        .where(WaitingEntry.state == "offered", WaitingEntry.offer_until <= clock.now())
        .limit(most)
        .with_for_update(skip_locked=True)
    ).all()
    return sum(offer_over(session, each) for each in due)


def close_line(session: Session, clinic_session_id: uuid.UUID) -> int:
    """Nobody need wait any more (stopped, over); how many did."""
    rows = session.scalars(
        select(WaitingEntry)
        .where(WaitingEntry.clinic_session_id == clinic_session_id, WaitingEntry.state.in_(("waiting", "offered")))
        .with_for_update()
    ).all()
    for entry in rows:
        entry.state, entry.ended_at = "over", clock.now()
    session.flush()
    return len(rows)


def taken(session: Session, entry: WaitingEntry) -> None:
    """The offer became a booking."""
    entry.state, entry.ended_at = "taken", clock.now()
    session.flush()


def locked_offer(session: Session, entry_id: uuid.UUID, account_id: uuid.UUID) -> WaitingEntry:
    """The entry, held, with an offer that still stands. Raises `NotFound`, `Conflict`."""
    entry = _locked(session, entry_id)
    if entry is None or entry.account_id != account_id:
        raise NotFound("not_found", N_("没有找到，或者您无权查看。"))
    if entry.state != "offered" or entry.offer_until is None or entry.offer_until <= clock.now():
        raise Conflict("registration.offer_over", N_("保留时间已过，号已让给下一位候补。"))
    return entry


def place_in_line(session: Session, entry: WaitingEntry) -> int:
    """1: the next."""
    before = select(func.count()).where(
        WaitingEntry.clinic_session_id == entry.clinic_session_id,
        WaitingEntry.state == "waiting",
        WaitingEntry.created_at < entry.created_at,
    )
    return (session.scalar(before) or 0) + 1


def _locked(session: Session, entry_id: uuid.UUID) -> WaitingEntry | None:
    return session.scalar(
        select(WaitingEntry)
        .where(WaitingEntry.id == entry_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def _end(session: Session, entry: WaitingEntry, state: str) -> None:
    entry.state, entry.ended_at = state, clock.now()
    session.flush()
    number = session.scalar(
        update(Number)
        .where(Number.waiting_id == entry.id, Number.state == NumberState.HELD)
        .values(state=NumberState.FREE, waiting_id=None, hold_until=None, free_from=None)
        .returning(Number)
        .execution_options(populate_existing=True)
    )
    if number is not None:
        offer(session, number)
