"""An hour of work with trouble at random: ``./xinglin bench soak [--minutes 60]``.

A real box with 16 analyzers on TCP, mosquitto, the cloud's own ingest worker on a PostgreSQL of its own. All the time
one fault after the other, drawn at random; never the box itself, whose memory is watched (its ends are `faults kill`).
Printed: memory each minute and its slope, what was acknowledged, stored, lost, doubled, and the comparisons of what the
box holds with what the cloud stores (counts and hashes), the last of them over everything and wanted equal.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from statistics import linear_regression

from tests.bench.edge_process import cpu_seconds, memory_mb
from tests.faults.cloud_faults import CloudOfItsOwn
from tests.faults.instruments import frames_of, started
from tests.faults.site import Row, Site, show, show_head, site
from tests.support.analyzer import ACK, ENQ, Analyzer, over_tcp
from tests.support.waiting import eventually

_EVERY_S = 1.0
"""Between two messages of one analyzer: 16 of them send in 80 minutes what a large laboratory sends in a day."""
_WARM_MINUTES = 10
"""Caches fill and the store reaches its pages; the slope is taken after it."""
_COMPARED = {"equal", "repaired"}


class Trouble:
    """What can befall the box's surroundings; each mends itself."""

    def __init__(self, here: Site, cloud: CloudOfItsOwn, ports: dict[str, int], pick: random.Random) -> None:
        self._here, self._cloud, self._ports, self._pick = here, cloud, ports, pick
        self._left: list[Analyzer] = []
        self.done: Counter[str] = Counter()
        self.kinds: dict[str, Callable[[], None]] = {
            "broker killed": self.broker_killed,
            "broker away": self.broker_away,
            "cloud and database down": self.cloud_down,
            "half-open line": self.half_open,
            "noise": self.noise,
            "cut in mid-frame": self.cut,
        }

    def strike(self) -> None:
        name = self._pick.choice(sorted(self.kinds))
        self.kinds[name]()
        self.done[name] += 1

    def broker_killed(self) -> None:
        assert self._here.broker is not None
        self._here.broker.kill()
        self._here.broker.start()

    def broker_away(self) -> None:
        assert self._here.broker is not None
        self._here.broker.stop()
        time.sleep(self._pick.uniform(5, 60))
        self._here.broker.start()

    def cloud_down(self) -> None:
        self._cloud.down()
        time.sleep(self._pick.uniform(1, 20))
        self._cloud.up()

    def half_open(self) -> None:
        """A connection on a line of its own begins a message, and is never heard of again."""
        analyzer = over_tcp("127.0.0.1", self._ports["spare"])
        self._left.append(analyzer)
        if analyzer.begin() == ACK:
            analyzer.put(frames_of(("99", "1.0"))[0])

    def noise(self) -> None:
        analyzer = over_tcp("127.0.0.1", self._ports["spare"])
        for _ in range(200):
            analyzer.send(self._pick.randbytes(64))
        analyzer.close()

    def cut(self) -> None:
        analyzer = over_tcp("127.0.0.1", self._ports["spare"])
        analyzer.send(ENQ + frames_of(("99", "1.0"))[0][:9])
        analyzer.close()

    def close(self) -> None:
        for each in self._left:
            each.close()


def soak(row: Row, minutes: float, lines: int) -> dict[str, object]:
    pick = random.Random(row.seed)
    with site(row, quick=False, uplink=True, receipt_timeout_s=10.0) as here:
        ports = here.links(lines)
        spare = here.box.add_tcp("spare")
        cloud = CloudOfItsOwn(here)
        here.cloud = cloud
        here.box.start()
        instruments = started(ports, every_s=_EVERY_S)
        trouble = Trouble(here, cloud, {**ports, "spare": spare}, pick)
        memory, began, cpu = _watch(here, trouble, minutes, pick)
        trouble.close()
        for each in instruments:
            each.end()
        here.all_arrived(instruments, within_s=600)
        states = _compared_whole(here, list(ports))
        here.judge(instruments)
        if states.keys() - _COMPARED:
            row.wrong.append(f"box and cloud differ: {dict(states)}")
        row.notes |= {"faults": sum(trouble.done.values())}
        return {
            "minutes": round((time.monotonic() - began) / 60, 1),
            "rss_mb": memory,
            "rss_mb_a_day": slope(memory),
            "cpu_cores": round(cpu, 3),
            "faults": dict(sorted(trouble.done.items())),
            "comparisons": dict(states),
            "refused": sum(each.refused for each in instruments),
            "hung_up": sum(each.hung_up for each in instruments),
        }


def _watch(here: Site, trouble: Trouble, minutes: float, pick: random.Random) -> tuple[list[float], float, float]:
    began, cpu, memory = time.monotonic(), cpu_seconds(here.box.pid), [memory_mb(here.box.pid)[0]]
    next_fault = pick.uniform(5, 30)
    while (passed := time.monotonic() - began) < minutes * 60:
        if passed >= len(memory) * 60:
            memory.append(round(memory_mb(here.box.pid)[0], 2))
        if passed >= next_fault:
            trouble.strike()
            next_fault = time.monotonic() - began + pick.uniform(5, 60)
        time.sleep(0.2)
    passed = time.monotonic() - began
    return memory, began, (cpu_seconds(here.box.pid) - cpu) / passed


def slope(memory: list[float]) -> float | None:
    """Megabytes a day after the warm-up; None for a run too short to say."""
    steady = memory[_WARM_MINUTES:]
    if len(steady) < _WARM_MINUTES:
        return None
    return round(linear_regression(range(len(steady)), steady).slope * 24 * 60, 2)


def _compared_whole(here: Site, links: list[str]) -> Counter[str]:
    """Have the box compare all that it holds of each link; the states of all comparisons of the run."""
    from sqlalchemy import select

    from cloud.gateways.model import Reconciliation
    from cloud.gateways.reconciliation import ask_reconciliation, send_request
    from cloud.kit.db import begin

    runs = []
    for link in links:
        with begin() as session:
            runs.append(ask_reconciliation(session, here.box.gateway, link, by="soak").run)
        send_request(begin, here.box.gateway, runs[-1])

    def states() -> Counter[str]:
        with begin() as session:
            return Counter(str(each) for each in session.scalars(select(Reconciliation.state)))

    def through() -> bool:
        time.sleep(0.2)
        return not states().keys() & {"asked", "narrowing", "repairing"}

    eventually(through, within_s=300, what="all comparisons have ended")
    return states()


def main() -> int:
    parser = argparse.ArgumentParser(prog="./xinglin bench soak", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--lines", type=int, default=16)
    parser.add_argument("--seed", type=int, default=20261123)
    arguments = parser.parse_args()
    row = Row("soak", arguments.seed)
    found = soak(row, arguments.minutes, arguments.lines)
    show_head()
    show(row)
    memory = found["rss_mb"]
    assert isinstance(memory, list)
    marks = [memory[0], *memory[_WARM_MINUTES : _WARM_MINUTES + 1], memory[-1]]
    print(f"  RSS at minute 0, {_WARM_MINUTES}, last  {marks}")
    print(f"  slope after {_WARM_MINUTES} minutes      {found['rss_mb_a_day']} MB a day (aim 1)")
    print(f"  CPU                         {found['cpu_cores']} cores")
    print(f"  faults                      {found['faults']}")
    print(f"  comparisons box and cloud   {found['comparisons']}")
    print(json.dumps({"bench": "soak", "lost": row.lost, "twice": row.twice, "wrong": row.wrong, **found}))
    return 0 if row.good else 1


if __name__ == "__main__":
    sys.exit(main())
