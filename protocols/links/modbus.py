"""The master of one Modbus line: devices are polled in turn, one request under way at a time.

No clock of its own: `wake_at` says when the next poll, the end of an answer's time or the silence between two frames is
due. A poll of one device is one message; what it says is written by the `report` that its driver hands in, which may
also find it no news and keep quiet. A Modbus device waits for no acknowledgement, so a poll is a frame by itself; what
the box could not keep is offered again.

A serial answer does not say which registers it holds. After a request whose time ran out, another one is sent only when
the late answer cannot come any more (`late_s`); Modbus/TCP numbers its requests and needs no such pause.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from protocols.links.contract import FrameReceived, FrameRefused, Link, LinkEvent, MessageReceived, SendFailed
from protocols.links.modbus_framing import (
    LONGEST,
    Answer,
    Framing,
    Junk,
    Request,
    find_answer,
    request_bytes,
    why_no_answer,
)

NO_ANSWER = "no answer"
_BUSY = (5, 6)
"""Exceptions that mean: ask again (acknowledge, busy)."""
_ABSENT = (10, 11)
"""Exceptions of a gateway whose device behind it does not answer."""
_LATE = "an answer that came too late"
_SHOWN = 256
_OFFERS = 1000
"""Polls that wait for room in the box's store; beyond, the oldest is given up."""


@dataclass(frozen=True, slots=True)
class ModbusOptions:
    """Times in seconds. `silence_s` is 3.5 characters at the line's rate (MODBUS over Serial Line, 2.5.1.1)."""

    framing: Framing = Framing.RTU
    timeout_s: float = 1.0
    tries: int = 3
    silence_s: float = 0.005
    late_s: float = 1.0
    offer_again_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Poll:
    """One device: what it is asked and how often."""

    device: str
    requests: tuple[Request, ...]
    every_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    """One request and what came of it."""

    request: bytes
    answer: bytes | None
    fault: str = ""


Report = Callable[[str, Sequence[Asked], float], bytes | None]
"""(device, what was asked, now) → the message, or None: nothing new."""


class Stage(StrEnum):
    IDLE = "idle"
    """No poll is under way."""
    READY = "ready"
    """The next request of the poll goes out when the line was silent long enough."""
    WAITING = "waiting"
    """A request is out."""


TRANSITIONS: dict[Stage, frozenset[Stage]] = {
    Stage.IDLE: frozenset({Stage.READY}),
    Stage.READY: frozenset({Stage.WAITING, Stage.IDLE}),
    Stage.WAITING: frozenset({Stage.READY, Stage.IDLE}),
}


class ModbusLink(Link):
    """See the module."""

    def __init__(self, options: ModbusOptions, polls: Sequence[Poll], report: Report) -> None:
        self.options = options
        self.stage = Stage.IDLE
        self._polls = [each for each in polls if each.requests]
        self._report = report
        self._due = [0.0] * len(self._polls)
        self._silent = [False] * len(self._polls)
        self._current = 0
        self._asked: list[Asked] = []
        self._tries = 0
        self._transaction = 0
        self._request = b""
        self._buffer = bytearray()
        self._output = bytearray()
        self._send_at = 0.0
        self._deadline = 0.0
        self._late_until = 0.0
        """Until then an answer may come to a request whose time ran out."""
        self._asked_at = 0.0
        self._offers: deque[bytes] = deque(maxlen=_OFFERS)
        self._offer_at: float | None = None
        self._given: dict[int, bytes] = {}
        self._next_id = 1
        self._refused_sends: list[SendFailed] = []

    # ------------------------------------------------------------------ the contract

    @property
    def checked(self) -> bool:
        return self.options.framing is not Framing.TCP

    def receive(self, data: bytes, now: float) -> list[LinkEvent]:
        events = self.wake(now)
        if not data:
            return events
        self._buffer += data
        if self.stage is not Stage.WAITING:
            self._drop(_LATE if now <= self._late_until else "bytes nobody asked for", events)
            self._send_at = max(self._send_at, now + self.options.silence_s)
        else:
            self._read(now, events)
        return events + self.wake(now)

    def acknowledge(self, frame_id: int, now: float) -> list[LinkEvent]:
        self._given.pop(frame_id, None)
        return []

    def refuse(self, frame_id: int, now: float) -> list[LinkEvent]:
        """No device repeats a poll for us: it is offered again."""
        payload = self._given.pop(frame_id, None)
        if payload is not None:
            self._offers.append(payload)
            self._offer_at = now + self.options.offer_again_s
        return []

    def send(self, payload: bytes, now: float) -> int:
        """Devices are only read."""
        self._next_id += 1
        self._refused_sends.append(SendFailed(self._next_id, "a Modbus device takes no messages"))
        return self._next_id

    def bytes_to_send(self) -> bytes:
        data = bytes(self._output)
        self._output.clear()
        return data

    @property
    def wake_at(self) -> float | None:
        times = [self._offer_at] if self._offer_at is not None else []
        if self.stage is Stage.WAITING:
            times.append(self._deadline)
        elif self.stage is Stage.READY:
            times.append(self._send_at)
        elif self._polls:
            times.append(min(self._due))
        return min(times, default=None)

    def wake(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = list(self._refused_sends)
        self._refused_sends.clear()
        if self._offer_at is not None and now >= self._offer_at:
            self._offer_at = None
            while self._offers:
                self._hand_out(self._offers.popleft(), events)
        if self.stage is Stage.WAITING and now >= self._deadline:
            self._time_ran_out(now, events)
        if self.stage is Stage.IDLE and self._polls and now >= min(self._due):
            self._begin(now)
        if self.stage is Stage.READY and now >= self._send_at:
            self._ask(now)
        return events

    def disconnected(self, now: float) -> list[LinkEvent]:
        """The poll under way ends as unanswered; the next ones are due as ever and tell that nobody is there."""
        events: list[LinkEvent] = []
        self._drop("bytes before the line closed", events)
        self._output.clear()
        self._late_until = 0.0
        if self.stage is not Stage.IDLE:
            poll = self._polls[self._current]
            for request in poll.requests[len(self._asked) :]:
                self._asked.append(Asked(self._bytes_of(request), None, NO_ANSWER))
            self._silent[self._current] = True
            self._finish(now, events)
        return events

    # ------------------------------------------------------------------ one poll

    def move_to(self, stage: Stage) -> None:
        assert stage in TRANSITIONS[self.stage], f"{self.stage} to {stage}"
        self.stage = stage

    def _begin(self, now: float) -> None:
        """The device that is due longest. What was missed while others were slow is not made up for."""
        self._current = self._due.index(min(self._due))
        poll = self._polls[self._current]
        due = self._due[self._current] + poll.every_s
        self._due[self._current] = due if due > now else now + poll.every_s
        self._asked = []
        self._next_request(now)

    def _next_request(self, now: float) -> None:
        self._tries = 1 if self._silent[self._current] else self.options.tries
        self._transaction = self._transaction % 0xFFFF + 1
        self.move_to(Stage.READY)
        self._send_at = max(now + self.options.silence_s, self._late_until)

    def _ask(self, now: float) -> None:
        self._request = self._bytes_of(self._wanted)
        self._output += self._request
        self._asked_at, self._deadline = now, now + self.options.timeout_s
        self.move_to(Stage.WAITING)

    @property
    def _wanted(self) -> Request:
        return self._polls[self._current].requests[len(self._asked)]

    def _bytes_of(self, request: Request) -> bytes:
        return request_bytes(self.options.framing, request, self._transaction)

    def _read(self, now: float, events: list[LinkEvent]) -> None:
        while self._buffer and self.stage is Stage.WAITING:
            found = find_answer(self.options.framing, bytes(self._buffer), self._wanted, self._transaction)
            if found is None:
                break
            raw = bytes(self._buffer[: found.length])
            del self._buffer[: found.length]
            if isinstance(found, Junk):
                events.append(FrameRefused(found.reason, raw[:_SHOWN]))
            else:
                self._answered(found, now, events)
        if len(self._buffer) > LONGEST:
            self._drop("more bytes than an answer has", events)

    def _answered(self, answer: Answer, now: float, events: list[LinkEvent]) -> None:
        if answer.noise:
            events.append(FrameRefused("noise before the answer", answer.noise[:_SHOWN]))
        self._silent[self._current] = answer.exception in _ABSENT
        if answer.exception in _BUSY and self._tries > 1:
            self._tries -= 1
            self.move_to(Stage.READY)
            self._send_at = now + self.options.timeout_s
            return
        if self._late_until > self._asked_at:  # this may be the answer to the first try: the second's is on its way
            self._late_until = max(self._late_until, self._deadline)
        self._asked.append(Asked(self._request, answer.raw))
        if len(self._asked) < len(self._polls[self._current].requests):
            self._next_request(now)
        else:
            self._finish(now, events)

    def _time_ran_out(self, now: float, events: list[LinkEvent]) -> None:
        why = why_no_answer(self.options.framing, bytes(self._buffer), self._wanted) if self._buffer else ""
        self._drop(why, events)
        self._tries -= 1
        if self.options.framing is not Framing.TCP:
            self._late_until = now + self.options.late_s
        if self._tries > 0:  # the same question: a late answer to the first is an answer to the second
            self.move_to(Stage.READY)
            self._send_at = now + self.options.silence_s
            return
        self._silent[self._current] = True
        for request in self._polls[self._current].requests[len(self._asked) :]:  # more questions would cost more time
            self._asked.append(Asked(self._bytes_of(request), None, NO_ANSWER))
        self._finish(now, events)

    def _finish(self, now: float, events: list[LinkEvent]) -> None:
        self.move_to(Stage.IDLE)
        payload = self._report(self._polls[self._current].device, self._asked, now)
        self._asked = []
        if payload is not None:
            self._hand_out(payload, events)

    # ------------------------------------------------------------------ handing out

    def _hand_out(self, payload: bytes, events: list[LinkEvent]) -> None:
        self._next_id += 1
        self._given[self._next_id] = payload
        while len(self._given) > _OFFERS:
            del self._given[min(self._given)]
        events.append(FrameReceived(self._next_id, payload))
        events.append(MessageReceived((self._next_id,), payload))

    def _drop(self, reason: str, events: list[LinkEvent]) -> None:
        if self._buffer:
            events.append(FrameRefused(reason, bytes(self._buffer[:_SHOWN])))
            self._buffer.clear()
