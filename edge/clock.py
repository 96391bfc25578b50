"""The box's wall clock and how far it is trusted. Order never depends on it; sequences do that.

A box without a battery wakes up in 1970: a time before this software was made cannot be true, and is marked so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

FLOOR = datetime(2026, 11, 1, tzinfo=UTC)
"""No moment before this can be now: the software did not exist."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A reading of the wall clock: aware, UTC, and whether the box believes it."""

    at: datetime
    sure: bool

    @property
    def microseconds(self) -> int:
        """Since 1970, as the store keeps it."""
        return to_microseconds(self.at)


def to_microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def from_microseconds(value: int) -> datetime:
    return datetime.fromtimestamp(value / 1_000_000, UTC)


class Clock:
    """`floor` rises to the newest time in the store, so that a box that lost its clock notices it."""

    def __init__(self, floor: datetime = FLOOR, read: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._floor = floor
        self._read = read

    def now(self) -> Moment:
        at = self._read()
        return Moment(at, at >= self._floor)

    def not_before(self, moment: datetime) -> None:
        self._floor = max(self._floor, moment)
