"""The box's time and how far it is trusted. Order never depends on it; sequences do that.

The time is the monotonic clock plus an offset. As long as nobody knows better the offset follows the wall clock; once
the kernel says that it is synchronised, or the cloud has told its time, the offset is known, and a wall clock that
steps afterwards is not followed. A box without a battery wakes up in 1970: a time before this software was made, before
what the store holds or before what was saved last cannot be true, one far behind it is not believed; both are marked.

Nothing here sets the system's clock: the box does not run as root (`edge/decisions/0006`).
"""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

FLOOR = datetime(2026, 11, 1, tzinfo=UTC)
"""No moment before this can be now: the software did not exist."""
_FAR_S = 180 * 86400.0
"""A box was hardly off for longer: further behind its last known time a clock is believed when somebody confirms it."""
_FAR_FROM_RELEASE_S = 5 * 365 * 86400.0
"""The same for a box of which nothing is known but its software's release."""
_STEP_S = 2.0
"""The kernel slews by at most half a millisecond a second: what differs more was set."""
_DOUBTFUL_STEP_S = 60.0
_DIFFERS_S = 30.0
"""The cloud's time was on its way for so long at most: a smaller difference confirms our clock."""
_TIME_ERROR = 5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Moment:
    """A reading of the clock: aware, UTC, and whether the box believes it."""

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


def kernel_synchronised() -> bool:
    """Whether something (NTP, PTP) keeps the system's clock right: adjtimex(2)."""
    buffer = ctypes.create_string_buffer(512)  # struct timex, modes 0: only read
    found: int = ctypes.CDLL(None).adjtimex(buffer)
    return 0 <= found < _TIME_ERROR


def boot_id() -> str:
    """Drawn by the kernel at every start; the monotonic clock counts from there."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


class Clock:
    """`on_change` is called when `base_us` or trust changes, before the reading that noticed it is given out."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        synchronised: Callable[[], bool] = lambda: False,
    ) -> None:
        """`wall`, `monotonic`: seconds. `synchronised`: whether the wall clock is surely right."""
        self._wall = wall
        self._monotonic = monotonic
        self._synchronised = synchronised
        self._certain = self._newest = FLOOR.timestamp()
        self._far_s = _FAR_FROM_RELEASE_S
        self._wall_base = self._base = wall() - monotonic()
        self._confirmed = False
        self._step = ""
        self.on_change: Callable[[], None] = lambda: None
        self._look(0.0)

    @property
    def floor(self) -> datetime:
        """It is this late at least, without any doubt: what TLS goes by while the clock is not trusted."""
        return datetime.fromtimestamp(self._certain, UTC)

    @property
    def confirmed(self) -> bool:
        """Does somebody who knows say so, and not only that the clock is not impossible?"""
        return self._confirmed

    @property
    def base_us(self) -> int:
        """Our time minus the monotonic clock: a time of the same boot that was taken with another base was wrong by
        the difference."""
        return round(self._base * 1_000_000)

    @property
    def doubt(self) -> str:
        """Why the clock is not believed; "" while it is."""
        at = self._monotonic() + self._base
        if self._confirmed:
            return ""
        if at < self._newest:
            return f"the clock says {_day(at)}, and it was {_day(self._newest)} before"
        if at > self._newest + self._far_s:
            return f"the clock says {_day(at)}, and what is known last is of {_day(self._newest)}"
        return self._step

    def now(self) -> Moment:
        monotonic = self._monotonic()
        wall_base = self._wall() - monotonic
        step = wall_base - self._wall_base
        self._wall_base = wall_base
        if not -_STEP_S < step < _STEP_S:
            self._look(step)
        elif not self._confirmed:
            self._base = wall_base
        at = monotonic + self._base
        sure = self._confirmed or (self._newest <= at <= self._newest + self._far_s and not self._step)
        return Moment(datetime.fromtimestamp(at, UTC), sure)

    def not_before(self, moment: datetime, *, certain: bool = False) -> None:
        """What was saved, or the store's newest time: it is later now. `certain`: a confirmed clock gave it."""
        at = moment.timestamp()
        if certain:
            self._certain = max(self._certain, at)
        elif at > self._newest + self._far_s:
            return  # of a clock that was wrong then
        self._newest = max(self._newest, at)
        self._far_s = _FAR_S

    def told(self, at: datetime) -> None:
        """The cloud's own time, just now. It counts unless the kernel is sure of its clock."""
        if at < FLOOR:
            return
        self._look(0.0)
        if self._synchronised():
            return
        off_by = at.timestamp() - (self._monotonic() + self._base)
        if self._confirmed and abs(off_by) <= _DIFFERS_S:
            return
        log.warning("clock.told_by_the_cloud", off_by_s=round(off_by, 1), doubt=self.doubt)
        self._newest = self._certain = at.timestamp()
        self._confirm(self._base if abs(off_by) <= _DIFFERS_S else self._base + off_by)

    def _look(self, step: float) -> None:
        """The wall clock was set by `step` seconds, or somebody wants to know where we stand."""
        if self._synchronised():
            if not self._confirmed or abs(self._wall_base - self._base) > _STEP_S:
                self._confirm(self._wall_base)
        elif step and self._confirmed:
            log.warning("clock.step_not_followed", by_s=round(step, 1))
        elif step:
            log.warning("clock.stepped", by_s=round(step, 1))
            if abs(step) > _DOUBTFUL_STEP_S and not self.doubt:
                self._step = f"the clock was set by {step:+.0f} s"
            self._base = self._wall_base
            self.on_change()

    def _confirm(self, base: float) -> None:
        self._base, self._confirmed, self._step = base, True, ""
        self.on_change()


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def save(clock: Clock, file: Path) -> None:
    """For the next start; nothing is saved of a clock that is not believed. Whole or not at all."""
    now = clock.now()
    if now.sure:
        temporary = file.with_name(file.name + ".new")
        temporary.write_text(json.dumps({"at": now.at.isoformat(), "confirmed": clock.confirmed}), encoding="utf-8")
        temporary.replace(file)


def restore(clock: Clock, file: Path) -> None:
    """It is later than what was saved last. Nothing saved, or nothing that can be read: nothing is known."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        at = datetime.fromisoformat(found["at"])
        clock.not_before(at.astimezone(UTC), certain=bool(found["confirmed"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.info("clock.nothing_saved", reason=type(error).__name__)
