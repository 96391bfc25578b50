"""The rows of a session's numbers: made, claimed, given back. Every change of hands is one conditional statement."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cloud.hospital.booked import Booked
from cloud.hospital.model import ClinicSession
from cloud.kit import clock
from cloud.kit.db import among
from cloud.kit.ids import new_id
from cloud.patient.registration import settled
from cloud.patient.registration.model import Number, NumberState
from cloud.patient.registration.rules import return_delay, slots

_chance = random.SystemRandom()


def make(session: Session, clinic: ClinicSession) -> int:
    """Bring the session's numbers to its capacity and segments; how many are new.

    Fewer: free ones from the end are taken out. Numbers somebody has keep their row, with the new times.
    """
    plan = slots(clinic.starts_at, clinic.ends_at, clinic.capacity, clinic.segment_minutes)
    now = clock.now()
    added = 0
    if plan:
        rows = [
            {
                "id": new_id(),
                "created_at": now,
                "clinic_session_id": clinic.id,
                "seq": each.seq,
                "from_at": each.from_at,
                "to_at": each.to_at,
                "state": NumberState.FREE,
            }
            for each in plan
        ]
        written = insert(Number).values(rows)
        kept = Number.from_at.is_distinct_from(written.excluded.from_at) | Number.to_at.is_distinct_from(
            written.excluded.to_at
        )
        before = session.scalar(select(func.count()).where(Number.clinic_session_id == clinic.id)) or 0
        session.execute(
            written.on_conflict_do_update(
                index_elements=["clinic_session_id", "seq"],
                set_={"from_at": written.excluded.from_at, "to_at": written.excluded.to_at},
                where=kept,
            )
        )
        added = (session.scalar(select(func.count()).where(Number.clinic_session_id == clinic.id)) or 0) - before
    _capacity_blocked(session, clinic)
    return added


def _capacity_blocked(session: Session, clinic: ClinicSession) -> None:
    mine = Number.clinic_session_id == clinic.id
    session.execute(
        update(Number)
        .where(mine, Number.seq > clinic.capacity, Number.state == NumberState.FREE)
        .values(state=NumberState.BLOCKED, blocked_why="capacity", free_from=None)
    )
    session.execute(
        update(Number)
        .where(
            mine,
            Number.seq <= clinic.capacity,
            Number.state == NumberState.BLOCKED,
            Number.blocked_why == "capacity",
        )
        .values(state=NumberState.FREE, blocked_why=None)
    )


def claimable(now: datetime) -> ColumnElement[bool]:
    """Free, back from a cancellation for long enough, its segment not over."""
    back = or_(Number.free_from.is_(None), Number.free_from <= now)
    return and_(Number.state == NumberState.FREE, back, Number.to_at > now)


def claim(
    session: Session, clinic_session_id: uuid.UUID, booking_id: uuid.UUID, *, until: datetime, from_at: datetime | None
) -> Number | None:
    """Take the first free number (of the segment that begins at `from_at`) for a booking; None: there is none.

    Rows that others are just taking are passed over, so that nobody waits and nobody gets what another has.
    """
    wanted = [Number.clinic_session_id == clinic_session_id, claimable(clock.now())]
    if from_at is not None:
        wanted.append(Number.from_at == from_at)
    first = select(Number.id).where(*wanted).order_by(Number.seq).limit(1).with_for_update(skip_locked=True)
    return session.scalar(
        update(Number)
        .where(Number.id == first.scalar_subquery(), Number.state == NumberState.FREE)
        .values(state=NumberState.HELD, booking_id=booking_id, hold_until=until, free_from=None)
        .returning(Number)
        .execution_options(populate_existing=True)
    )


def claim_this(session: Session, number_id: uuid.UUID, booking_id: uuid.UUID, *, until: datetime) -> Number | None:
    """Take one certain number again (money came after it was given back); None: somebody has it."""
    return session.scalar(
        update(Number)
        .where(Number.id == number_id, Number.state == NumberState.FREE)
        .values(state=NumberState.HELD, booking_id=booking_id, hold_until=until, free_from=None)
        .returning(Number)
        .execution_options(populate_existing=True)
    )


def take_offered(
    session: Session, number_id: uuid.UUID, waiting_id: uuid.UUID, booking_id: uuid.UUID, *, until: datetime
) -> Number | None:
    """The number offered to an entry of the waiting list becomes its booking's; None: the offer is over."""
    return session.scalar(
        update(Number)
        .where(Number.waiting_id == waiting_id, Number.state == NumberState.HELD, Number.id == number_id)
        .values(waiting_id=None, booking_id=booking_id, hold_until=until)
        .returning(Number)
        .execution_options(populate_existing=True)
    )


def mark(session: Session, booking_id: uuid.UUID, before: Iterable[NumberState], after: NumberState) -> Number | None:
    """Move the number of a booking on; None: the booking has none in `before`."""
    return session.scalar(
        update(Number)
        .where(Number.booking_id == booking_id, Number.state.in_(tuple(before)))
        .values(state=after, hold_until=None)
        .returning(Number)
        .execution_options(populate_existing=True)
    )


def stopped(session: Session, booking_id: uuid.UUID) -> None:
    """The session does not take place: the row stays, nobody has it."""
    session.execute(
        update(Number)
        .where(Number.booking_id == booking_id)
        .values(state=NumberState.STOPPED, booking_id=None, hold_until=None)
    )


def let_go(session: Session, booking_id: uuid.UUID, *, at_once: bool, taken_elsewhere: bool = False) -> Number | None:
    """The booking's number is nobody's any more: free (`at_once`, or after the delay), or blocked when the HIS has
    given it at a window. None: it had none. Whoever waits is asked by the caller (`waiting.offer`)."""
    now = clock.now()
    known = settled.of(session)
    back_at = None
    if not at_once:
        back_at = now + return_delay(known.return_min_minutes, known.return_max_minutes, _chance)
    return session.scalar(
        update(Number)
        .where(Number.booking_id == booking_id, Number.state.in_((NumberState.HELD, NumberState.SOLD)))
        .values(
            state=NumberState.BLOCKED if taken_elsewhere else NumberState.FREE,
            blocked_why="his" if taken_elsewhere else None,
            booking_id=None,
            hold_until=None,
            free_from=None if taken_elsewhere else back_at,
        )
        .returning(Number)
        .execution_options(populate_existing=True)
    )


def left(session: Session, clinic_session_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
    """How many numbers of each session can be had now; sessions without any are missing."""
    rows = session.execute(
        select(Number.clinic_session_id, func.count())
        .where(among(Number.clinic_session_id, list(clinic_session_ids)), claimable(clock.now()))
        .group_by(Number.clinic_session_id)
    )
    return {row[0]: row[1] for row in rows}


def segments(session: Session, clinic_session_id: uuid.UUID) -> list[tuple[datetime, datetime, int]]:
    """The session's segments in order with how many numbers each has left; those without any stand too."""
    free = func.count().filter(claimable(clock.now()))
    rows = session.execute(
        select(Number.from_at, Number.to_at, free)
        .where(Number.clinic_session_id == clinic_session_id, Number.state != NumberState.BLOCKED)
        .group_by(Number.from_at, Number.to_at)
        .order_by(Number.from_at)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def booked(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Booked]:
    """How full each session is, for the schedule's pages."""
    given = (NumberState.HELD, NumberState.SOLD, NumberState.USED, NumberState.NO_SHOW)
    rows = session.execute(
        select(
            Number.clinic_session_id,
            func.count().filter(Number.state.in_(given)),
            func.count().filter(claimable(clock.now())),
        )
        .where(among(Number.clinic_session_id, list(ids)))
        .group_by(Number.clinic_session_id)
    )
    return {row[0]: Booked(given=row[1], free=row[2]) for row in rows}
