"""Dialogues played many times over: the driver is asked once for each different message, the link every time.

For property tests, the fuzzer and its short version. `tests.support.transcripts.replay` is the plain form.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import pairwise

from protocols.driver import Driver, discover
from protocols.links.contract import FrameReceived, FrameRefused, Link, LinkEvent, MessageReceived
from protocols.model import Decoded
from tests.support.transcripts import Case, cases_of, known, read_case


@dataclass
class Outcome:
    """What one playing came to."""

    payloads: list[bytes] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)
    """Our bytes, one entry for each `host:` line of the dialogue and one for the end."""
    events: list[LinkEvent] = field(default_factory=list)

    @property
    def raws(self) -> bytes:
        """All bytes that the link kept or showed."""
        return b"".join(event.raw for event in self.events if isinstance(event, FrameReceived | FrameRefused))


class Dialogue:
    """One case of one driver."""

    def __init__(self, driver: Driver, case: Case) -> None:
        self.driver = driver.configured(case.options)
        self.case = case
        self.name = f"{driver.id}/{case.name}"
        self._read: dict[bytes, tuple[Decoded, Sequence[bytes]]] = {}

    @property
    def device_steps(self) -> list[bytes]:
        return [data for kind, data in self.case.steps if kind == "device"]

    @cached_property
    def whole(self) -> Outcome:
        """The dialogue as it stands."""
        return self.play()

    def read(self, payload: bytes) -> tuple[Decoded, Sequence[bytes]]:
        """What the driver makes of a message, and what it answers."""
        found = self._read.get(payload)
        if found is None:
            decoded = self.driver.decode(payload)
            orders = known(self.case, decoded.items)
            found = decoded, self.driver.respond(payload, decoded, orders, self.case.now)
            if len(self._read) < 1000:
                self._read[payload] = found
        return found

    def play(self, pieces: Mapping[int, Sequence[bytes]] | None = None, *, link: Link | None = None) -> Outcome:
        """The device's side from beginning to end; `pieces` says how the device's n-th line arrives instead."""
        link = link or self.driver.new_link()
        outcome = Outcome()
        now, number = 0.0, 0
        for kind, data in self.case.steps:
            if kind == "device":
                for piece in (pieces or {}).get(number, (data,)):
                    self._serve(link, piece, now, outcome)
                number += 1
            elif kind == "wait":
                now += float(data)
                self._serve(link, b"", now, outcome)
            else:
                outcome.written.append(link.bytes_to_send())
        for _ in range(20):  # everything that waits for silence
            if (due := link.wake_at) is None:
                break
            now = max(now, due)
            self._serve(link, b"", now, outcome)
        outcome.written.append(link.bytes_to_send())
        return outcome

    def _serve(self, link: Link, data: bytes, now: float, outcome: Outcome) -> None:
        events = [*link.wake(now), *link.receive(data, now)]
        while events:
            event = events.pop(0)
            outcome.events.append(event)
            if isinstance(event, FrameReceived):
                events += link.acknowledge(event.frame_id, now)
            elif isinstance(event, MessageReceived):
                outcome.payloads.append(event.payload)
                for reply in self.read(event.payload)[1]:
                    link.send(reply, now)
            events += link.wake(now)


@cache
def dialogues() -> list[Dialogue]:
    """Every transcript of every driver."""
    return [
        Dialogue(driver, read_case(folder))
        for driver in sorted(discover().values(), key=lambda each: each.id)
        for folder in cases_of(driver.id)
    ]


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces; a place beyond its end is taken modulo its length."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def sealed(data: bytes) -> bytes:
    """The first ASTM frame in `data` with the checksum that its text asks for (a plain sum)."""
    start = data.find(b"\x02")
    ends = [place for place in (data.find(b"\x03", start), data.find(b"\x17", start)) if place > 0]
    if start < 0 or not ends:
        return data
    end = min(ends)
    return data[: end + 1] + b"%02X" % (sum(data[start + 1 : end + 1]) % 256) + data[end + 3 :]


_CONTROLS = bytes([0, 2, 3, 4, 5, 6, 10, 11, 13, 21, 23, 28, 124, 94, 92, 38, 126, 96, 0x81, 0xFF])


def mutated(dice: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """`data` with one to five faults: bytes changed, taken away, doubled, put in, or a piece of another line."""
    out = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 5))):
        place = dice.randrange(len(out) + 1)
        what = dice.randrange(7)
        if what == 0 and out:
            out[place % len(out)] = dice.randrange(256)
        elif what == 1 and out:
            out[place % len(out)] = dice.choice(_CONTROLS)
        elif what == 2:
            del out[place : place + dice.randrange(1, 12)]
        elif what == 3:
            out[place:place] = bytes([dice.choice(_CONTROLS)])
        elif what == 4:
            out[place:place] = out[max(0, place - dice.randrange(1, 60)) : place]
        elif what == 5:
            donor = dice.choice(others)
            begin = dice.randrange(len(donor) + 1)
            out[place:place] = donor[begin : begin + dice.randrange(1, 80)]
        else:
            out[place:place] = dice.randbytes(dice.randrange(1, 6))
    return bytes(out)
