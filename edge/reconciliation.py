"""The box's side of comparing what it holds with what the cloud stores: counts and hashes of ranges, in small steps.

Every hour each link says: what was confirmed since the last time, and a slice of the older ones, so that all that
the box holds is compared at least once a day. The cloud may ask for any range at any time (`CountRequest`).
"""

from __future__ import annotations

import hashlib
import random
import secrets
import sqlite3
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from edge.clock import Clock
from edge.store.holdings import Holdings
from protocols.uplink.counts import MOST_RANGES, CountRequest, Counts, RangeCount, RollingDigest, split

_EVERY_S = 3600.0
_FIRST_AFTER_S = 60.0
_SLICES = 24
_LEAST_SLICE = 1000
_NEWEST = 5000
"""Messages of a link that count as new after a start."""
_STEP = 200
"""Messages read at once: a live result waits behind one step at most."""
_REQUESTS = 100
_ALL_PARTS = 64

log = structlog.get_logger()


@dataclass(slots=True)
class _Count:
    """One `Counts` in the making."""

    link: str
    run: str
    ranges: deque[tuple[int, int]]
    held_from: int
    through: int
    epoch: str
    found: list[RangeCount] = field(default_factory=list)
    next: int = 0
    rolling: RollingDigest = field(default_factory=RollingDigest)
    damaged: int = 0

    def count_on(self, holdings: Holdings) -> None:
        """The next messages of the range at hand."""
        first, last = self.ranges[0]
        rows = holdings.raws(self.link, max(first, self.next), last, _STEP)
        for sequence, raw, whole in rows:
            self.rolling.add(sequence, hashlib.sha256(raw).digest())
            self.damaged += not whole
        if len(rows) == _STEP:
            self.next = rows[-1][0] + 1
            return
        self.found.append(RangeCount(first, last, self.rolling.count, self.rolling.hex, self.damaged))
        self.ranges.popleft()
        self.rolling, self.damaged = RollingDigest(), 0


class Reconciliation:
    """`due` on the loop; `step` beside it, on the one thread that reads."""

    def __init__(self, gateway: str, store: Path, clock: Clock) -> None:
        """`store`: its file."""
        self._gateway = gateway
        self._store = store
        self._clock = clock
        self._requests: deque[CountRequest] = deque()
        self._next_at: float | None = None
        self._said_through: dict[str, int] = {}
        self._slice_from: dict[str, int] = {}
        self._current: _Count | None = None
        self._holdings: Holdings | None = None
        self.said = 0
        """Counts sent since the daemon started."""

    def asked(self, request: CountRequest) -> None:
        if len(self._requests) < _REQUESTS and request not in self._requests:
            self._requests.append(request)

    def now_all(self) -> None:
        """On demand from the box itself: the hourly counts, at once."""
        self._next_at = 0.0

    def due(self, now: float, links: Iterable[str]) -> bool:
        """Is there something to count? `now`: monotonic seconds."""
        if self._next_at is None:
            self._next_at = now + random.uniform(0.5, 1.5) * _FIRST_AFTER_S  # noqa: S311 - spreads boxes
        if now >= self._next_at:
            self._next_at = now + random.uniform(0.9, 1.1) * _EVERY_S  # noqa: S311
            for link in sorted(links):
                self._requests.append(CountRequest("", link, secrets.token_hex(8)))
        return self._current is not None or bool(self._requests)

    def step(self) -> Counts | None:
        """A little work; the counts when they are complete. What cannot be read is not said: the next hour says it."""
        try:
            return self._step()
        except sqlite3.Error as error:
            log.warning("reconciliation.cannot_read", reason=str(error))
            self._stop()
            return None

    def _stop(self) -> None:
        if self._holdings is not None:
            self._holdings.close()
        self._holdings = self._current = None

    def _step(self) -> Counts | None:
        holdings = self._holdings = self._holdings or Holdings(self._store)
        if self._current is None and not self._begin(holdings):
            self._stop()
            return None
        count = self._current
        assert count is not None
        if not count.ranges:
            self._stop()
            self.said += 1
            at = self._clock.now().at
            ranges = tuple(count.found)
            return Counts(self._gateway, count.epoch, count.link, count.run, at, count.held_from, count.through, ranges)
        count.count_on(holdings)
        return None

    def _begin(self, holdings: Holdings) -> bool:
        if not self._requests:
            return False
        request = self._requests.popleft()
        held = holdings.held(request.link)
        if held is None or request.epoch not in ("", held.epoch) or held.through < held.first:
            return False
        epoch, held_from, through = held
        if request.epoch == "":
            ranges = self._hourly(request.link, held_from, through)
        elif request.ranges:
            ranges = [
                (max(first, held_from), min(last, through))
                for first, last in request.ranges
                if last >= held_from and first <= through
            ]
        else:
            ranges = split(held_from, through, _ALL_PARTS)
        self._current = _Count(request.link, request.run, deque(ranges[:MOST_RANGES]), held_from, through, epoch)
        return True

    def _hourly(self, link: str, held_from: int, through: int) -> list[tuple[int, int]]:
        """A slice of the older ones, then what is new."""
        new_from = max(held_from, self._said_through.get(link, through - _NEWEST) + 1)
        self._said_through[link] = through
        ranges = [(new_from, through)] if new_from <= through else []
        if held_from < new_from:
            size = max(_LEAST_SLICE, -(-(new_from - held_from) // _SLICES))
            start = self._slice_from.get(link, random.randrange(held_from, new_from))  # noqa: S311 - spreads the work
            if not held_from <= start < new_from:
                start = held_from
            last = min(start + size, new_from) - 1
            self._slice_from[link] = last + 1
            ranges.insert(0, (start, last))
        return ranges
