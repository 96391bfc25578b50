"""ASTM records in Snibe's simplified envelope: every control byte is acknowledged by itself, nothing is checked.

ENQ, STX, the records (H to L, each ended with CR), ETX, EOT: each of the five draws an ACK of its own, in both
directions. There is no frame number, no checksum, no CR LF behind ETX, and STX may come alone and wait. The records
are handed out when their L record is closed and acknowledged when they are durable; what comes again before ETX is a
repetition.

Source: Maglumi 800 operating instructions 16.2, 16.3, 16.6 and a bench report of a Maglumi X3, as public projects
quote them (the X3 waits 3 s for an ACK and tries 3 times; it keeps one connection through hours of silence).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocols.errors import LocalProtocolError
from protocols.links.contract import (
    FrameReceived,
    FrameRefused,
    Link,
    LinkEvent,
    MessageReceived,
    SendCompleted,
    SendFailed,
)

_STX, _ETX, _EOT, _ENQ, _ACK, _NAK = 0x02, 0x03, 0x04, 0x05, 0x06, 0x15
_TERMINATOR = re.compile(rb"(?:\A|[\r\n])L(?:\|[^\r\n]*)?[\r\n]")
_CONTROL = re.compile(rb"[\x02-\x06\x15]")
_FILLER = b"\r\n\x00"
_RESTRICTED = re.compile(rb"[\x00-\x08\x0a-\x0c\x0e-\x1f]")
_SHOWN = 512


class State(StrEnum):
    NEUTRAL = "neutral"
    AWAITING_STX = "awaiting STX"
    READING = "reading records"
    HOLDING = "holding a message"
    """It was handed out and waits for `acknowledge` or `refuse`; nothing behind it is read."""
    AWAITING_ETX = "awaiting ETX"
    AWAITING_EOT = "awaiting EOT"
    SENDING = "sending"


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.NEUTRAL: frozenset({State.AWAITING_STX, State.SENDING}),
    State.AWAITING_STX: frozenset({State.READING, State.AWAITING_STX, State.NEUTRAL}),
    State.READING: frozenset({State.HOLDING, State.READING, State.AWAITING_STX, State.AWAITING_ETX, State.NEUTRAL}),
    State.HOLDING: frozenset({State.AWAITING_ETX, State.READING, State.NEUTRAL}),
    State.AWAITING_ETX: frozenset({State.AWAITING_EOT, State.READING, State.AWAITING_STX, State.NEUTRAL}),
    State.AWAITING_EOT: frozenset({State.NEUTRAL, State.AWAITING_STX, State.READING, State.AWAITING_EOT}),
    State.SENDING: frozenset({State.SENDING, State.NEUTRAL, State.AWAITING_STX}),
}


@dataclass(frozen=True, slots=True)
class EnvelopeOptions:
    """Times in seconds, sizes in bytes."""

    message_limit: int = 1024 * 1024
    receive_timeout_s: float = 30.0
    """Silence inside a session after which it is over; outside of one, silence means nothing."""
    reply_timeout_s: float = 10.0
    attempts: int = 3


@dataclass(slots=True)
class _Sending:
    """The message on its way: its steps, the one that waits for its ACK, how often that one was tried."""

    token: int
    steps: tuple[bytes, ...]
    step: int = 0
    tries: int = 1
    accepted: bool = False


class AstmEnvelopeLink(Link):
    """See the module."""

    def __init__(self, options: EnvelopeOptions | None = None) -> None:
        self.options = options or EnvelopeOptions()
        self.state = State.NEUTRAL
        self._buffer = bytearray()
        self._output = bytearray()
        self._deadline: float | None = None
        self._next_id = 1
        self._next_token = 1
        self._held: int | None = None
        self._held_text = b""
        self._last_text = b""
        """The records acknowledged last in this session, until ETX closes them."""
        self._stale_through = 0
        """Messages up to this id were handed out on a connection that is gone."""
        self._queue: deque[_Sending] = deque()

    # ------------------------------------------------------------------ the contract

    def receive(self, data: bytes, now: float) -> list[LinkEvent]:
        events = self.wake(now)
        self._buffer += data
        self._read(now, events)
        return events

    def acknowledge(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._settle(frame_id, now, stored=True)

    def refuse(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._settle(frame_id, now, stored=False)

    def send(self, payload: bytes, now: float) -> int:
        if not payload or _RESTRICTED.search(payload):
            raise LocalProtocolError("a message to send is empty or holds control bytes")
        token, self._next_token = self._next_token, self._next_token + 1
        self._queue.append(_Sending(token, (b"\x05", b"\x02", payload, b"\x03", b"\x04")))
        self._bid(now)
        return token

    def bytes_to_send(self) -> bytes:
        data = bytes(self._output)
        self._output.clear()
        return data

    @property
    def wake_at(self) -> float | None:
        return self._deadline

    def wake(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = []
        if self._deadline is not None and now >= self._deadline:
            if self.state is State.SENDING:
                self._refused("no answer", now, events)
            else:
                self._leave("the session did not go on in time", now, events)
        return events

    def disconnected(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = [SendFailed(each.token, "the connection closed") for each in self._queue]
        self._queue.clear()
        self._stale_through, self._held = self._next_id - 1, None
        if self._buffer.strip(_FILLER):
            events.append(FrameRefused("the connection closed", bytes(self._buffer[:_SHOWN])))
        self._buffer.clear()
        self._output.clear()
        if self.state is not State.NEUTRAL:
            self._move_to(State.NEUTRAL, now)
        return events

    # ------------------------------------------------------------------ state

    def _move_to(self, state: State, now: float) -> None:
        if state not in TRANSITIONS[self.state]:
            raise LocalProtocolError(f"the envelope link cannot go from {self.state} to {state}")
        self.state = state
        if state in (State.NEUTRAL, State.HOLDING):
            self._deadline = None
        else:
            wait = self.options.reply_timeout_s if state is State.SENDING else self.options.receive_timeout_s
            self._deadline = now + wait

    def _leave(self, reason: str, now: float, events: list[LinkEvent]) -> None:
        """The instrument's session is over before its EOT."""
        left = self._take(len(self._buffer))
        if left.strip(_FILLER):
            events.append(FrameRefused(reason, left[:_SHOWN]))
        self._move_to(State.NEUTRAL, now)
        self._bid(now)

    # ------------------------------------------------------------------ receiving

    def _read(self, now: float, events: list[LinkEvent]) -> None:
        while self._buffer and self.state is not State.HOLDING and self._read_one(now, events):
            pass
        self._bid(now)

    def _read_one(self, now: float, events: list[LinkEvent]) -> bool:
        """One control byte, one message or one piece of noise; False when more bytes are needed."""
        first = self._buffer[0]
        if self.state is State.SENDING:
            self._reply(self._take(1)[0], now, events)
            return True
        if first in _FILLER or first in (_ACK, _NAK):
            self._take(1)
            return True
        if first in (_ENQ, _STX, _ETX, _EOT):
            self._control(self._take(1)[0], now)
            return True
        if self.state in (State.READING, State.AWAITING_STX, State.AWAITING_ETX):
            return self._records(now, events)
        control = _CONTROL.search(self._buffer)
        noise = self._take(control.start() if control is not None else len(self._buffer))
        events.append(FrameRefused("bytes outside a message", noise[:_SHOWN]))
        return True

    def _control(self, byte: int, now: float) -> None:
        """Each draws its ACK, also when it is said again because our last answer was lost."""
        inside = self.state is not State.NEUTRAL
        if byte == _ENQ:
            self._last_text = b""
            self._move_to(State.AWAITING_STX, now)
        elif byte == _STX and inside:
            self._move_to(State.READING, now)
        elif byte == _ETX and self.state in (State.AWAITING_ETX, State.AWAITING_EOT):
            self._last_text = b""
            self._move_to(State.AWAITING_EOT, now)
        elif byte == _EOT:
            if inside:
                self._move_to(State.NEUTRAL, now)
        else:  # ETX with no message before it promises nothing; outside of a session nobody waits for an answer
            self._output += b"\x15" if inside else b""
            return
        self._output.append(_ACK)

    def _records(self, now: float, events: list[LinkEvent]) -> bool:
        """Records up to their L, or up to a control byte that breaks them off."""
        control = _CONTROL.search(self._buffer)
        limit = control.start() if control is not None else len(self._buffer)
        end = _TERMINATOR.search(self._buffer, 0, limit)
        if end is not None and end.end() <= self.options.message_limit:
            self._hand_out(self._take(end.end()), now, events)
            return True
        if len(self._buffer) > self.options.message_limit:
            events.append(FrameRefused("message longer than the limit", self._take(len(self._buffer))[:_SHOWN]))
            self._output.append(_NAK)
            return True
        if control is None:
            if self.state is not State.READING:
                self._move_to(State.READING, now)
            self._deadline = now + self.options.receive_timeout_s
            return False
        if self._buffer[limit] == _ETX and _TERMINATOR.search(text := bytes(self._buffer[:limit]) + b"\r") is not None:
            self._take(limit)
            self._hand_out(text, now, events)
            return True
        events.append(FrameRefused("the records were broken off before their L", self._take(limit)[:_SHOWN]))
        if self._buffer[0] == _ETX:
            self._take(1)
            self._output.append(_NAK)
        return True

    def _hand_out(self, text: bytes, now: float, events: list[LinkEvent]) -> None:
        if self.state is not State.READING:
            self._move_to(State.READING, now)
        if text[:1] not in b"Hh":  # what stood before was broken off: no ACK for the rest of a message
            events.append(FrameRefused("records without their header", text[:_SHOWN]))
            self._output.append(_NAK)
            return
        if text == self._last_text:
            self._output.append(_ACK)
            self._move_to(State.AWAITING_ETX, now)
            return
        frame_id, self._next_id = self._next_id, self._next_id + 1
        self._held, self._held_text = frame_id, text
        events += [FrameReceived(frame_id, text), MessageReceived((frame_id,), text)]
        self._move_to(State.HOLDING, now)

    def _settle(self, frame_id: int, now: float, *, stored: bool) -> list[LinkEvent]:
        events: list[LinkEvent] = []
        if 0 < frame_id <= self._stale_through:
            return events  # stored when the connection was gone already
        if self._held is None or self._held != frame_id:
            raise LocalProtocolError(f"message {frame_id} does not wait for an acknowledgement")
        self._held = None
        if stored:
            self._last_text = self._held_text
        self._output.append(_ACK if stored else _NAK)
        self._move_to(State.AWAITING_ETX if stored else State.READING, now)
        self._read(now, events)
        return events

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    # ------------------------------------------------------------------ sending

    def _bid(self, now: float) -> None:
        if self.state is State.NEUTRAL and self._queue and not self._buffer:
            self._queue[0].step, self._queue[0].tries = 0, 1
            self._output += self._queue[0].steps[0]
            self._move_to(State.SENDING, now)

    def _reply(self, byte: int, now: float, events: list[LinkEvent]) -> None:
        sending = self._queue[0]
        if byte == _ACK:
            self._next_step(sending, now, events)
        elif byte == _NAK:
            self._refused("refused by the instrument", now, events)
        elif byte == _ENQ:  # the instrument speaks first: it is heard, ours comes behind it
            if sending.accepted:
                self._queue.popleft()
            self._output.append(_ACK)
            self._last_text = b""
            self._move_to(State.AWAITING_STX, now)

    def _next_step(self, sending: _Sending, now: float, events: list[LinkEvent]) -> None:
        if sending.steps[sending.step] == b"\x03":
            sending.accepted = True
            events.append(SendCompleted(sending.token))
        sending.step, sending.tries = sending.step + 1, 1
        if sending.step == len(sending.steps):
            self._queue.popleft()
            self._move_to(State.NEUTRAL, now)
            self._bid(now)
            return
        self._output += sending.steps[sending.step]
        self._move_to(State.SENDING, now)

    def _refused(self, reason: str, now: float, events: list[LinkEvent]) -> None:
        """The step again; after `attempts` the message is given up. What was accepted up to ETX stays sent."""
        sending = self._queue[0]
        if sending.tries < self.options.attempts and not sending.accepted:
            sending.tries += 1
            self._output += sending.steps[sending.step]
            self._move_to(State.SENDING, now)
            return
        self._queue.popleft()
        if not sending.accepted:
            self._output.append(_EOT)
            events.append(SendFailed(sending.token, reason))
        self._move_to(State.NEUTRAL, now)
        self._bid(now)
