"""``./xinglin bench protocols``: from the bytes of a line to materialised observations, beside peers and a bare split.

Ours is all the work: link with checksums and acknowledgements, character set, delimiters, escapes, and each observation
with its value, unit, flags and time as an object. A peer's is its plain parse of the message without frames. The floor
is `str.split` by record and field. Times are the processor's, so that what else the machine does is not counted, and
rounds alternate between them; the exit status is 1 where the median of the rounds' ratios misses an aim, on an input
of ours or on a capture.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from protocols.astm_driver import AstmDriver
from protocols.driver import Driver, discover
from protocols.hl7_driver import Hl7Driver
from protocols.links.contract import FrameReceived, Link, MessageReceived
from protocols.model import Decoded
from tests.bench.protocols_inputs import CAPTURES, Input, captured, generated
from tests.bench.protocols_peers import Peer, PeerFailed, start

_SLICE_S = 0.06
"""How long one measurement of one round takes at least, roughly."""
_AIMS = {"astm": 2.0, "hl7": 10.0}
"""Times as fast as the fastest ASTM peer; times as fast as python-hl7."""
_HL7_PEER = "hl7"


def through_link(link: Link, pieces: tuple[bytes, ...], session: bool) -> bytes:
    """The payload that a link hands out, each frame acknowledged before the next comes (stop and wait)."""
    payload = b""
    if session:
        link.receive(b"\x05", 0.0)
    for piece in pieces:
        for event in link.receive(piece, 0.0):
            if isinstance(event, FrameReceived):
                link.acknowledge(event.frame_id, 0.0)
            elif isinstance(event, MessageReceived):
                payload = event.payload
        link.bytes_to_send()
    if session:
        link.receive(b"\x04", 0.0)
    return payload


@dataclass
class Ours:
    """Our stages over one input."""

    given: Input
    driver: Driver = field(init=False)
    link: Link = field(init=False)

    def __post_init__(self) -> None:
        self.driver = discover()[self.given.driver]
        self.link = self.driver.new_link()
        assert self.carry() == self.given.payload, f"{self.given.name}: the link changed the message"

    def carry(self) -> bytes:
        return through_link(self.link, self.given.pieces, self.given.family == "astm")

    def decode(self) -> Decoded:
        return self.driver.decode(self.given.payload)

    def read(self) -> object:
        assert isinstance(self.driver, AstmDriver | Hl7Driver)
        return self.driver.read(self.given.payload)

    def whole(self) -> Decoded:
        return self.driver.decode(self.carry())

    def split(self) -> object:
        return [line.split("|") for line in self.given.payload.decode("latin-1").split("\r")]


def seconds(act: Callable[[], object], times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        act()
    return time.process_time() - started


def enough(once: float) -> int:
    return max(1, round(_SLICE_S / max(once, 1e-7)))


@dataclass
class Row:
    """Microseconds a message, one entry for each round."""

    given: Input
    times: dict[str, list[float]]
    """By name: "split", "link", "read", "decode", "ours", and each peer."""
    failed: dict[str, str]

    def best(self, name: str) -> float:
        return min(self.times[name])

    def ratio(self, name: str) -> tuple[float, float]:
        """How many times as fast as `name` ours is: best against best, and the median of the rounds."""
        pairs = zip(self.times[name], self.times["ours"], strict=True)
        return self.best(name) / self.best("ours"), statistics.median(theirs / ours for theirs, ours in pairs)


def measure(given: Input, peers: list[Peer], rounds: int, file: Path) -> Row:
    ours = Ours(given)
    file.write_bytes(given.payload)
    acts: dict[str, Callable[[], object]] = {
        "split": ours.split,
        "link": ours.carry,
        "read": ours.read,
        "decode": ours.decode,
        "ours": ours.whole,
    }
    counts = {name: enough(min(seconds(act, 3) / 3 for _ in range(3))) for name, act in acts.items()}
    row = Row(given, {name: [] for name in acts}, {})
    living = []
    for peer in (each for each in peers if each.family == given.family):
        try:
            counts[peer.name] = enough(peer.seconds(file, 1))
            row.times[peer.name] = []
            living.append(peer)
        except PeerFailed as failed:
            row.failed[peer.name] = str(failed)
    for _ in range(rounds):
        gc.collect()
        for name, act in acts.items():
            row.times[name].append(seconds(act, counts[name]) / counts[name] * 1e6)
        for peer in living:
            row.times[peer.name].append(peer.seconds(file, counts[peer.name]) / counts[peer.name] * 1e6)
    return row


def show(row: Row) -> None:
    given, results = row.given, row.given.results
    print(f"\n{given.name}: {len(given.payload)} B, {results} results, driver {given.driver}")
    print(f"  {'':28} {'µs best':>9} {'median':>9} {'msg/s':>8}   times as fast: best  median")
    for name, times in row.times.items():
        label = {"split": "bare split (floor)", "ours": "ours, link to items"}.get(name, name)
        label = f"  of it: {name}" if name in ("link", "read", "decode") else label
        line = f"  {label:28} {min(times):9.1f} {statistics.median(times):9.1f} {1e6 / min(times):8.0f}"
        if name not in ("ours", "link", "read", "decode"):
            best, median = row.ratio(name)
            line += f"   {best:19.2f} {median:7.2f}"
        print(line)
    stages = ", ".join(f"{name} {row.best(name) / max(1, results):.2f}" for name in ("link", "read", "decode", "ours"))
    print(f"  µs for each result: {stages} (decode includes read)")
    for name, reason in row.failed.items():
        print(f"  {name}: does not read it ({reason})")


def verdict(row: Row) -> tuple[bool, str] | None:
    """Whether the aim of its family is met; None where no peer is there to compare with."""
    own = ("split", "link", "read", "decode", "ours")
    names = [name for name in row.times if name not in own and (row.given.family == "astm" or name == _HL7_PEER)]
    if not names:
        return None
    fastest = min(names, key=row.best)
    aim, median = _AIMS[row.given.family], row.ratio(fastest)[1]
    met = median >= aim
    return met, f"{row.given.name}: {median:.1f} times {fastest} (aim {aim:g}) {'met' if met else 'MISSED'}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench protocols", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="figures as one JSON line at the end")
    parser.add_argument("--without-captures", action="store_true")
    parser.add_argument("--only", default="", help="part of an input's name")
    arguments = parser.parse_args()
    inputs = generated()
    if not arguments.without_captures:
        if not CAPTURES.is_dir():
            print("the captures of real analyzers are not at hand: only inputs of our own")
        inputs += captured()
    inputs = [given for given in inputs if arguments.only.lower() in given.name.lower()]
    peers = start({given.family for given in inputs})
    try:
        with tempfile.TemporaryDirectory(prefix="xinglin-bench-") as folder:
            rows = []
            for given in inputs:
                rows.append(measure(given, peers, arguments.rounds, Path(folder) / "message"))
                show(rows[-1])
    finally:
        for peer in peers:
            peer.close()
    return report(rows, arguments.json)


def report(rows: list[Row], as_json: bool) -> int:
    print()
    missed = False
    for row in rows:
        found = verdict(row)
        print(found[1] if found else f"{row.given.name}: no peer to compare with, aim not judged")
        missed = missed or (found is not None and not found[0])
    if as_json:
        figures = [
            {"input": row.given.name, "us": {name: min(each) for name, each in row.times.items()}} for row in rows
        ]
        print(json.dumps({"bench": "protocols", "rows": figures}, ensure_ascii=False))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
