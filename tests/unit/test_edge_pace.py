"""Who is made to wait when a line takes more of the box's time than its share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from edge.ports.pace import READ_BYTES, Pace

pytestmark = pytest.mark.req("GW-1")


class Loop:
    """A clock that the test moves, and the timers that were asked for."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, act: Callable[[], None]) -> Loop:
        self.timers.append((self.now + delay, act))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def sleep_until_due(self) -> float:
        due, act = self.timers.pop()
        waited, self.now = due - self.now, due
        act()
        return waited


class Line:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = Loop()
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self.loop)
        self.reads = True
        self.more_has_come = False
        self.pace = Pace(lambda: self._switch(False), lambda: self._switch(True), lambda: self.more_has_come)

    def _switch(self, on: bool) -> None:
        assert self.reads is not on, "switched twice"
        self.reads = on

    def read(self, size: int, takes_s: float) -> None:
        assert self.reads, "it was read while it had to wait"
        began = self.loop.now
        self.loop.now += takes_s
        self.pace.took(size, began)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(monkeypatch)


def test_a_flood_gets_a_tenth_of_the_time(line: Line) -> None:
    busy, began = 0.0, line.loop.now
    while line.loop.now < began + 60:
        line.read(READ_BYTES, 0.003)
        busy += 0.003
        if not line.reads:
            line.loop.sleep_until_due()
    assert 0.09 < busy / (line.loop.now - began) < 0.11


def test_acknowledgements_do_not_buy_a_flood_more(line: Line) -> None:
    """Good frames at full speed are answered one and all, and still nobody waited for an answer."""
    busy, began = 0.0, line.loop.now
    while line.loop.now < began + 60:
        line.pace.answered()
        line.read(READ_BYTES, 0.003)
        busy += 0.003
        if not line.reads:
            line.loop.sleep_until_due()
    assert busy / (line.loop.now - began) < 0.11


def test_who_asks_without_end_and_never_waits_for_an_answer_gets_a_tenth_in_little_pieces(line: Line) -> None:
    """Each byte is an ENQ and draws its ACK; at the end of what has come the reads are short."""
    line.more_has_come = True
    busy, longest, began = 0.0, 0.0, line.loop.now
    for number in range(5000):
        size = min(line.pace.read_bytes, (READ_BYTES, 700)[number % 2])
        takes_s = size * 4e-6
        line.pace.answered()
        line.read(size, takes_s)
        busy += takes_s
        longest = max(longest, takes_s) if line.pace.rests > 1 else 0.0
        if not line.reads:
            line.loop.sleep_until_due()
    assert busy / (line.loop.now - began) < 0.11
    assert longest < 0.002, "a turn of it is over soon"


def test_who_waits_again_after_a_flood_is_served_as_before(line: Line) -> None:
    line.more_has_come = True
    for _ in range(100):
        line.pace.answered()
        line.read(line.pace.read_bytes, 0.003)
        if not line.reads:
            line.loop.sleep_until_due()
    line.more_has_come = False
    rests = line.pace.rests
    for _ in range(1000):
        line.pace.answered()
        line.read(247, 0.001)
    assert line.pace.rests == rests
    assert line.pace.read_bytes == READ_BYTES


def test_who_waits_for_each_answer_never_waits_for_us(line: Line) -> None:
    for _ in range(10_000):
        line.read(247, 0.001)
        line.pace.answered()
    assert line.pace.rests == 0


def test_a_large_message_after_silence_is_taken_without_a_stop(line: Line) -> None:
    for _ in range(4):
        line.read(READ_BYTES, 0.004)
    assert line.pace.rests == 0


def test_a_full_store_and_a_rest_are_two_reasons_to_wait(line: Line) -> None:
    line.read(READ_BYTES, 0.03)
    assert not line.reads
    line.pace.pause()
    line.loop.sleep_until_due()
    assert not line.reads, "the store has not answered yet"
    line.pace.resume()
    assert line.reads
    line.pace.pause()
    line.pace.pause()
    line.pace.resume()
    assert line.reads


def test_a_closed_line_leaves_no_timer(line: Line) -> None:
    line.read(READ_BYTES, 0.03)
    line.pace.close()
    assert line.loop.timers == []
