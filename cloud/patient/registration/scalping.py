"""Bookings that look like a scalper's: many persons on one account, numbers handed on by cancelling, bursts.

Only shown to the outpatient office, which looks at them and decides; nothing here blocks anybody by itself.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.kit import clock
from cloud.patient.registration.model import Booking

MOST = 20_000
"""Bookings that are looked at, the newest."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From what on something is shown."""

    days: int = 30
    persons: int = 5
    """Different persons booked for by one account within the days."""
    pair_seconds: int = 60
    """A number ended for one person and was booked for another by so soon."""
    pairs: int = 2
    burst: int = 4
    burst_seconds: int = 60
    """So many bookings of one account within so many seconds."""


@dataclass(frozen=True, slots=True)
class Booked:
    """What of a booking is looked at."""

    account: uuid.UUID
    person: uuid.UUID
    number: uuid.UUID
    at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Alarm:
    """One account. `score`: each of the three by its threshold, added up; 1 and more of any one is an alarm."""

    account: uuid.UUID
    persons: int
    pairs: int
    burst: int
    bookings: int
    last_at: datetime
    score: float


def alarms(found: Sequence[Booked], known: Thresholds) -> list[Alarm]:
    """The accounts that pass a threshold, the highest score first. A pair counts for the account that booked last."""
    of: dict[uuid.UUID, list[Booked]] = defaultdict(list)
    of_number: dict[uuid.UUID, list[Booked]] = defaultdict(list)
    for each in sorted(found, key=lambda each: each.at):
        of[each.account].append(each)
        of_number[each.number].append(each)
    pairs: dict[uuid.UUID, int] = defaultdict(int)
    within = timedelta(seconds=known.pair_seconds)
    for line in of_number.values():
        for before, after in pairwise(line):
            handed_on = before.ended_at is not None and before.ended_at <= after.at <= before.ended_at + within
            if handed_on and before.person != after.person:
                pairs[after.account] += 1
    made = []
    for account, line in of.items():
        persons, burst = len({each.person for each in line}), _burst(line, known.burst_seconds)
        shares = (persons / known.persons, pairs[account] / known.pairs, burst / known.burst)
        if max(shares) >= 1:
            score = round(sum(shares), 1)
            made.append(Alarm(account, persons, pairs[account], burst, len(line), line[-1].at, score))
    return sorted(made, key=lambda each: (-each.score, str(each.account)))


def _burst(line: Sequence[Booked], seconds: int) -> int:
    """The most bookings that began within so many seconds."""
    most, first = 0, 0
    for last, each in enumerate(line):
        while each.at - line[first].at > timedelta(seconds=seconds):
            first += 1
        most = max(most, last - first + 1)
    return most


def recent(session: Session, days: int) -> list[Booked]:
    """Bookings by phone of the last days."""
    rows = session.execute(
        select(Booking.account_id, Booking.person_id, Booking.number_id, Booking.created_at, Booking.ended_at)
        .where(
            Booking.account_id.is_not(None),
            Booking.created_at > clock.now() - timedelta(days=days),
            Booking.rebooked_from.is_(None),
        )
        .order_by(Booking.created_at.desc())
        .limit(MOST)
    )
    return [Booked(row[0], row[1], row[2], row[3], row[4]) for row in rows if row[0] is not None]
