"""A million mutated frames for each family of protocols: ``python -m tests.bench.fuzz [--frames N] [--seed S]``.

The lines of every transcript of every driver, with faults put in, go through that driver's own link in pieces, with
time passing, connections lost, frames refused and replies answered at random; what is handed out is decoded and
answered. Nothing may raise, and memory may not grow. A family whose driver arrives later is picked up by itself.

Work is cut into blocks of 10,000 frames, each with a seed made of --seed, family and number: a fault names its block,
``--family astm --first 37 --frames 10000`` plays it again, and a long run goes on where another stopped.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from protocols.driver import Driver
from protocols.links.contract import FrameReceived, FrameRefused, Link, LinkEvent, MessageAbandoned, MessageReceived
from protocols.model import HostQuery, Order, Undecoded
from protocols.uplink.items import item_to_json
from tests.support.playing import Dialogue, dialogues, mutated, sealed

BLOCK = 10_000
_LINK_LIVES = 200
"""Frames after which a link is replaced by a fresh one."""
_SHORT = 4
"""Bytes of a line that is only a control byte: spoiling most ENQs would hide what stands behind them."""
_ENDLESS = b"x" * 300_000
_NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
_SHOWN_FAULTS = 5


@dataclass
class Tally:
    """What became of the frames of one family. Sizes in bytes."""

    family: str
    frames: int = 0
    accepted: int = 0
    refused: int = 0
    abandoned: int = 0
    messages: int = 0
    items: int = 0
    undecoded: int = 0
    exceptions: int = 0
    largest_buffer: int = 0
    rss_growth_mb: float = 0.0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        for name in ("frames", "accepted", "refused", "abandoned", "messages", "items", "undecoded", "exceptions"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.largest_buffer = max(self.largest_buffer, other.largest_buffer)
        self.rss_growth_mb = max(self.rss_growth_mb, other.rss_growth_mb)
        self.faults = (self.faults + other.faults)[:_SHOWN_FAULTS]


def families() -> dict[str, list[Dialogue]]:
    """The transcripts of each family that has any."""
    found: dict[str, list[Dialogue]] = defaultdict(list)
    for each in dialogues():
        if any(each.device_steps):
            found[each.driver.protocol].append(each)
    return dict(sorted(found.items()))


def held_bytes(thing: object, depth: int = 6) -> int:
    """Bytes in all buffers that an object keeps, however deep."""
    if isinstance(thing, bytes | bytearray):
        return len(thing)
    if isinstance(thing, str) or depth == 0:
        return 0
    if isinstance(thing, dict):
        return sum(held_bytes(each, depth - 1) for each in thing.values())
    if isinstance(thing, list | tuple | set | frozenset) or type(thing).__name__ == "deque":
        return sum(held_bytes(each, depth - 1) for each in thing)  # type: ignore[attr-defined]
    inner = [getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())]
    inner += list(getattr(thing, "__dict__", {}).values())
    return sum(held_bytes(each, depth - 1) for each in inner) if type(thing).__module__.startswith("protocols") else 0


class Line:
    """One driver's link under fire."""

    def __init__(self, driver: Driver, dice: random.Random, tally: Tally) -> None:
        self.driver = driver
        self.link: Link = driver.new_link()
        self.now = 0.0
        self._dice = dice
        self._tally = tally

    def hear(self, data: bytes) -> None:
        if self.driver.protocol == "modbus":
            self._until_asked()
        for piece in self._pieces(data):
            self._take([*self.link.wake(self.now), *self.link.receive(piece, self.now)])
            if self._dice.random() < 0.7:
                self.link.bytes_to_send()
        self._chance()

    def _until_asked(self) -> None:
        """A device that is polled speaks when it is asked."""
        for _ in range(4):
            if self.link.bytes_to_send() or (due := self.link.wake_at) is None:
                return
            self.now = max(self.now, due)
            self._take(self.link.wake(self.now))

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """Whole, in two, or in small pieces."""
        kind = self._dice.random()
        if kind < 0.5 or len(data) < 2:
            yield data
            return
        step = self._dice.randrange(1, len(data)) if kind < 0.9 else self._dice.randrange(1, 40)
        for start in range(0, len(data), step):
            yield data[start : start + step]

    def _chance(self) -> None:
        """What else happens on a line."""
        what = self._dice.random()
        if what < 0.10:
            self.now += self._dice.choice((0.1, 0.4, 3.0, 6.0, 16.0, 31.0))
            for _ in range(4):
                if (due := self.link.wake_at) is None or due > self.now:
                    break
                self._take(self.link.wake(self.now))
        elif what < 0.12:
            self._take(self.link.receive(self._dice.choice((b"\x06", b"\x15", b"\x04", b"\x05")), self.now))
        elif what < 0.125:
            self._take(self.link.disconnected(self.now))
            self.link.bytes_to_send()

    def _take(self, found: Sequence[LinkEvent]) -> None:
        events, tally = list(found), self._tally
        for event in events:  # grows while it is walked
            if isinstance(event, FrameReceived):
                tally.accepted += 1
                answer = self.link.refuse if self._dice.random() < 0.02 else self.link.acknowledge
                events += answer(event.frame_id, self.now)
            elif isinstance(event, MessageReceived):
                self._read(event.payload)
            elif isinstance(event, FrameRefused):
                tally.refused += 1
            elif isinstance(event, MessageAbandoned):
                tally.abandoned += 1

    def _read(self, payload: bytes) -> None:
        tally = self._tally
        tally.messages += 1
        decoded = self.driver.decode(payload)
        orders: dict[str, list[Order]] = {}
        for item in decoded.items:
            tally.items += 1
            tally.undecoded += isinstance(item, Undecoded)
            item_to_json(item)
            if isinstance(item, HostQuery) and self._dice.random() < 0.7:
                orders |= {specimen: [Order(specimen, ("GLU", "WBC"))] for specimen in item.specimens}
        for reply in self.driver.respond(payload, decoded, orders, _NOW):
            self.link.send(reply, self.now)
        if self._dice.random() < 0.05:
            self.driver.fingerprint(payload)
            for reply in self.driver.refuse(payload, "disk full", _NOW):
                self.link.send(reply, self.now)


def run_block(family: str, seed: int, number: int, frames: int = BLOCK) -> Tally:
    """One block; the same arguments give the same frames on every machine."""
    dice = random.Random(f"{seed}/{family}/{number}")
    tally = Tally(family)
    seeds = families()[family]
    others = [data for each in seeds for data in each.device_steps if data]
    often = 0.5 if family == "astm" else 0.9  # a session with every frame spoiled gets nowhere
    line = Line(dice.choice(seeds).driver, dice, tally)
    began, at_start = time.perf_counter(), _peak_rss_mb()
    while tally.frames < frames:
        dialogue = dice.choice(seeds)
        if line.driver is not dialogue.driver or tally.frames % _LINK_LIVES == 0:
            line = Line(dialogue.driver, dice, tally)
        try:
            for data in dialogue.device_steps:
                if dice.random() < (0.1 if len(data) < _SHORT else often):
                    data = mutated(dice, data, others)
                    data = sealed(data) if dice.random() < 0.7 else data
                    data = data + _ENDLESS if dice.random() < 0.0005 else data
                    tally.frames += 1
                line.hear(data)
                if len(data) > 10_000:
                    tally.largest_buffer = max(tally.largest_buffer, held_bytes(line.link))
        except Exception:  # the point of it all: counted, shown, and the run goes on
            tally.exceptions += 1
            where = traceback.format_exc(limit=-3)
            tally.faults = [*tally.faults, f"block {number}, {dialogue.name}: {where}"][:_SHOWN_FAULTS]
            line = Line(dialogue.driver, dice, tally)
        if dice.random() < 0.1:
            tally.largest_buffer = max(tally.largest_buffer, held_bytes(line.link))
    tally.seconds = time.perf_counter() - began
    tally.rss_growth_mb = _peak_rss_mb() - at_start
    return tally


def _peak_rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_family(family: str, seed: int, first: int, frames: int, jobs: int) -> Tally:
    """Blocks `first` and on. The first block of each process warms it up: its growth is the drivers', not a leak."""
    sizes = [BLOCK] * (frames // BLOCK) + ([frames % BLOCK] if frames % BLOCK else [])
    total, began = Tally(family), time.perf_counter()
    arguments = [(family, seed, first + number, size) for number, size in enumerate(sizes)]
    lanes = [arguments[lane::jobs] for lane in range(jobs)]
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        for found in pool.map(_run_lane, [lane for lane in lanes if lane]):
            total.add(found)
    total.seconds = time.perf_counter() - began
    return total


def _run_lane(arguments: list[tuple[str, int, int, int]]) -> Tally:
    """Blocks one after another in one process; RSS growth is what all but the first added to the process's peak."""
    total = run_block(*arguments[0])
    warm = _peak_rss_mb()
    for each in arguments[1:]:
        total.add(run_block(*each))
    total.rss_growth_mb = _peak_rss_mb() - warm
    return total


_COLUMNS = ("frames", "accepted", "refused", "abandoned", "messages", "undecoded", "exceptions")


def show(each: Tally) -> None:
    """One line of the table as soon as its family is done; faults below it."""
    counts = "".join(f"{getattr(each, name):>11,}" for name in _COLUMNS)
    rate = each.frames / each.seconds if each.seconds else 0.0
    growth = f"{each.rss_growth_mb:>9.1f} MB{each.largest_buffer:>14,} B{rate:>11,.0f}"
    print(f"{each.family:<10}{counts}{growth}", flush=True)
    for fault in each.faults:
        print(f"\n{each.family}, {fault}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=1_000_000, help="mutated frames for each family")
    parser.add_argument("--family", action="append", help="only this family (may be given several times)")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--first", type=int, default=0, help="number of the first block of 10,000 frames")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    known = families()
    chosen = arguments.family or list(known)
    if missing := set(chosen) - set(known):
        print(f"no transcripts of the family {', '.join(sorted(missing))}; there are: {', '.join(known)}")
        return 2
    drivers = {family: len({each.driver.id for each in known[family]}) for family in chosen}
    print("drivers: " + ", ".join(f"{family} {count}" for family, count in drivers.items()))
    print("family    " + "".join(f"{name:>11}" for name in _COLUMNS) + "  RSS growth  largest buffer   frames/s")
    tallies = []
    for family in chosen:
        tallies.append(run_family(family, arguments.seed, arguments.first, arguments.frames, arguments.jobs))
        show(tallies[-1])
    for each in tallies:
        print(json.dumps({"bench": "fuzz", "seed": arguments.seed, **asdict(each), "faults": len(each.faults)}))
    return 1 if any(each.exceptions for each in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
