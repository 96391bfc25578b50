"""kill -9 at a seeded moment while messages are on their way, and start again after a while.

The moment is a number of finished tubes drawn from the seed. From then on the killer waits until something is in flight
and kills at once; what the count after the kill says is what counts. A kill that met nothing is repeated.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from simulators.demo.bench import Bench
from simulators.demo.hospital import Hospital
from simulators.demo.inflight import Waiting, waiting_on_the_box

MOST_TRIES = 8


@dataclass(slots=True)
class Killer:
    """Attended to by the main thread, which also starts the parts again."""

    hospital: Hospital
    bench: Bench
    what: str
    tubes: int
    kills: int = 0
    in_flight: int = 0
    down: set[str] = field(default_factory=set)
    _moment: int = 0
    _back_at: float = 0.0
    _caught: Waiting = field(default_factory=frozenset)
    _sent_again_before: int = 0
    _rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"kill/{self.hospital.seed}/{self.what}")
        self._moment = max(1, round(self.tubes * self._rng.uniform(0.15, 0.5)))

    @property
    def done(self) -> bool:
        """A kill met messages in flight (or there were too many tries) and everything is up again."""
        return not self.down and (self.in_flight > 0 or self.kills >= MOST_TRIES)

    @property
    def lurking(self) -> bool:
        """His moment has come and he waits for something in flight."""
        return not self.down and not self.done and self._finished_tubes() >= self._moment

    @property
    def _store(self) -> Waiting:
        return waiting_on_the_box(self.hospital.store)

    def attend(self) -> bool:
        """Kill or revive when it is time; True when one of them was done."""
        if self.down:
            if time.monotonic() < self._back_at:
                return False
            self.hospital.revive(self.what)
            self.down.clear()
            return True
        if not self.lurking or not self._on_their_way():
            return False
        self._kill()
        return True

    def _finished_tubes(self) -> int:
        with self.bench.lock:
            return sum(each.finished_at is not None for each in self.bench.tubes.values())

    def _on_their_way(self) -> bool:
        """For the box: something is being sent to it. For the cloud and the broker: something waits on the box."""
        if self.what == "edge":
            return self.bench.sent.being_sent > 0
        return bool(self._store)

    def _kill(self) -> None:
        self.down.update(self.hospital.killed_by(self.what))
        self.hospital.kill(self.what)
        self.kills += 1
        # The dead take nothing more: what waits on the box now, or hangs on a line, was in flight.
        waiting = self._store
        self.bench.follow()
        hanging = self.bench.sent.being_sent if self.what == "edge" else 0
        found = len(waiting) + hanging
        if found and not self.in_flight:
            self.in_flight = found
            self._caught = waiting
            self._sent_again_before = self.bench.sent.sent_again
        self._moment = self._finished_tubes() + 1
        self._back_at = time.monotonic() + self._rng.uniform(1.0, 4.0)

    def redelivered(self) -> int:
        """Messages that were in flight at the kill and went out again: by the box, or by the analyzers."""
        still = self._store
        return len(self._caught - still) + self.bench.sent.sent_again
