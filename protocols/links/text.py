"""The link of proprietary texts: STX to ETX with or without a check, lines, forms, printouts that silence ends.

What is written when a text is durable, how it is refused, whether ENQ is answered: all of it is data (`TextOptions`).
One text at a time: while one waits for its commit, what came behind it is not looked at. An instrument that cannot
repeat (it knows no refusal) is not asked to: a text that the box could not keep is offered again after a while.

A message may be several texts (blocks that end with ETB, or as `continues` says); their bodies come joined by LF.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from protocols.errors import LocalProtocolError
from protocols.links.contract import (
    FrameReceived,
    FrameRefused,
    Link,
    LinkEvent,
    MessageAbandoned,
    MessageReceived,
)
from protocols.links.text_framing import ACK, ENQ, EOT, FILLER, NAK, Framing, Noise, Text, next_text
from protocols.links.text_parts import Part, Parts, unnumbered
from protocols.links.text_sending import Sender

_SHOWN = 512
EMPTY = "nothing between the codes that begin and end a text"
_CONTROLS = ENQ + EOT + ACK + NAK


def never(_body: bytes) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class TextOptions:
    """How one instrument sends its texts. Times in seconds, sizes in bytes."""

    framing: Framing
    accept: bytes = ACK
    """Written when a text is durable; nothing: the instrument expects no answer."""
    refuse: bytes = NAK
    """Written for a text that is not whole or could not be kept; nothing: the instrument cannot repeat."""
    handshake: bool = False
    """ENQ before a transmission is answered with ACK; EOT ends it."""
    continues: Callable[[bytes], bool] = never
    """Does another text of the same message follow this one?"""
    part: Callable[[bytes], Part | None] = unnumbered
    """Which sample and block a text of several is, where it says so."""
    repeats: Callable[[bytes], bool] = never
    """Is this text, when it comes again at once, the same one (its answer was lost)? Never for a question."""
    repeat_window_s: float = 30.0
    idle_end_s: float | None = None
    """Silence that ends a text, where its framing has no end code or the instrument may leave it out."""
    end_timeout_s: float = 15.0
    """Silence inside a text or between the texts of a message after which it counts as broken off."""
    offer_again_s: float = 5.0
    reply_timeout_s: float = 10.0
    tries: int = 3
    message_limit: int = 1024 * 1024


@dataclass(slots=True)
class _Held:
    """A text that was handed out and is not durable yet."""

    frame_id: int
    raw: bytes
    body: bytes
    ends_message: bool


class TextLink(Link):
    """See the module."""

    def __init__(self, options: TextOptions) -> None:
        self.options = options
        self._buffer = bytearray()
        self._output = bytearray()
        self._held: _Held | None = None
        self._parts = Parts(options.part, len(options.framing.start), options.repeat_window_s)
        self._silent: dict[int, _Held | None] = {}
        self._next_id = 1
        self._deadline: float | None = None
        self._offer_at: float | None = None
        self._offers: deque[_Held] = deque()
        self._last: tuple[bytes, float] | None = None
        self._sender = Sender(options.framing, options.reply_timeout_s, options.tries, waits=bool(options.accept))

    # ------------------------------------------------------------------ the contract

    @property
    def checked(self) -> bool:
        """Where the framing has a check and silence ends no text."""
        return self.options.framing.check is not None and self.options.idle_end_s is None

    def receive(self, data: bytes, now: float) -> list[LinkEvent]:
        events = self.wake(now)
        self._buffer += data
        self._read(now, events)
        return events

    def acknowledge(self, frame_id: int, now: float) -> list[LinkEvent]:
        if frame_id in self._silent:
            del self._silent[frame_id]
            return []
        held = self._take_held(frame_id)
        self._output += self._answer_to(held.body)
        self._last = (held.raw, now)
        if held.ends_message:
            self._parts.clear()
        events: list[LinkEvent] = []
        self._read(now, events)
        return events

    def refuse(self, frame_id: int, now: float) -> list[LinkEvent]:
        if frame_id in self._silent:
            self._offer(self._silent.pop(frame_id), now)
            return []
        held = self._take_held(frame_id)
        self._parts.take_back(held.frame_id)
        events: list[LinkEvent] = []
        if self.options.refuse:
            self._output += self._busy()
            self._read(now, events)
        else:
            self._offer(held, now)
        return events

    def send(self, payload: bytes, now: float) -> int:
        return self._sender.queue(payload)

    def bytes_to_send(self) -> bytes:
        data = bytes(self._output)
        self._output.clear()
        return data + self._sender.bytes_to_send()

    @property
    def wake_at(self) -> float | None:
        times = [each for each in (self._deadline, self._offer_at, self._sender.wake_at) if each is not None]
        return min(times, default=None)

    def wake(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = list(self._sender.wake(now))
        if self._offer_at is not None and now >= self._offer_at and self._held is None:
            again = self._offers.popleft()
            self._offer_at = now if self._offers else None
            self._hand_out(again.raw, again.body, not again.ends_message, events)
        if self._deadline is not None and now >= self._deadline and not self._waiting:
            self._deadline = None
            self._silence(now, events)
            self._read(now, events)
        return events

    def disconnected(self, now: float) -> list[LinkEvent]:
        """What is whole is handed out, also behind a text that waits: nobody is left who hears an answer to it."""
        events: list[LinkEvent] = list(self._sender.disconnected())
        self._fall_silent()
        while self._buffer and self._read_one(now, events):
            self._fall_silent()
        if self._buffer:
            self._silence(now, events)
            self._fall_silent()
        self._abandon_parts("the connection closed", events)
        self._buffer.clear()
        self._output.clear()
        self._deadline = None
        self._last = None
        self._parts.forget()
        return events

    # ------------------------------------------------------------------ what a vendor does otherwise

    def _answer_to(self, _body: bytes) -> bytes:
        """What tells the instrument that this text is durable."""
        return self.options.accept

    def _busy(self) -> bytes:
        """What tells it that a whole text could not be kept now."""
        return self.options.refuse

    def _control(self, body: bytes, now: float, events: list[LinkEvent]) -> bool:
        """Was this text a control of the line, answered here and carrying nothing? An acknowledgement may be a text."""
        if body == ACK and self.options.accept == self.options.framing.wrap(ACK):
            events += self._sender.accepted(now)
            return True
        return False

    # ------------------------------------------------------------------ reading

    @property
    def _waiting(self) -> bool:
        return self._held is not None or bool(self._offers)

    def _fall_silent(self) -> None:
        """The text that waits for its commit is answered by nothing when that has come."""
        if self._held is not None:
            self._silent[self._held.frame_id] = None if self.options.refuse else self._held
            if self._held.ends_message:
                self._parts.clear()
            self._held = None

    def _offer(self, held: _Held | None, now: float) -> None:
        """The box could not keep it and nobody will send it again: hand it out once more after a while."""
        if held is not None:
            self._offers.append(held)
            self._offer_at = now + self.options.offer_again_s

    def _read(self, now: float, events: list[LinkEvent]) -> None:
        while self._buffer and not self._waiting and self._read_one(now, events):
            pass
        if len(self._buffer) > self.options.message_limit:
            self._refused("text longer than the limit", self._drop(len(self._buffer)), now, events)
            self._output += self.options.refuse
        self._deadline = None
        if self._buffer and not self._waiting:
            idle = self.options.idle_end_s
            self._deadline = now + (self.options.end_timeout_s if idle is None else idle)
        elif self._parts and not self._waiting:
            self._deadline = now + self.options.end_timeout_s

    def _read_one(self, now: float, events: list[LinkEvent]) -> bool:
        if self._buffer[0] in _CONTROLS and (self.options.framing.start or self.options.handshake):
            self._heard_control(self._drop(1), now, events)
            return True
        found = next_text(self._buffer, self.options.framing)
        if found is None:
            return False
        if isinstance(found, Noise):
            self._noise(found, now, events)
            return True
        raw = self._drop(found.length)
        fault = found.fault or (EMPTY if self.checked and not found.body else "")
        if fault:
            self._refused(fault, raw, now, events)
            self._output += self.options.refuse
        elif not self._control(found.body, now, events):
            self._heard_text(raw, found, now, events)
        return True

    def _heard_control(self, byte: bytes, now: float, events: list[LinkEvent]) -> None:
        if byte == ENQ and self.options.handshake:
            self._output += ACK
        elif byte == ACK:
            events += self._sender.accepted(now)
        elif byte == NAK:
            events += self._sender.refused(now)

    def _noise(self, noise: Noise, now: float, events: list[LinkEvent]) -> None:
        length = noise.length
        if noise.reason and self.options.framing.start:  # a control byte among noise is still heard
            head = bytes(self._buffer[1:length])
            places = [place for control in _CONTROLS if (place := head.find(control)) >= 0]
            length = min(places, default=length - 1) + 1
        dropped = self._drop(length)
        if noise.reason and dropped.strip(FILLER + b" "):
            self._refused(noise.reason, dropped, now, events)

    def _refused(self, reason: str, raw: bytes, now: float, events: list[LinkEvent]) -> None:
        """Its repetition is expected; what comes instead is not joined with the texts before it."""
        events.append(FrameRefused(reason, raw[:_SHOWN]))
        self._parts.refused(raw, now)

    def _heard_text(self, raw: bytes, text: Text, now: float, events: list[LinkEvent]) -> None:
        raw_before, before = self._last or (b"", 0.0)
        is_recent = now - before <= self.options.repeat_window_s
        if raw == raw_before and is_recent and self.options.repeats(text.body):
            events.append(FrameRefused("a repeated text: it is stored", raw[:_SHOWN]))
            self._output += self._answer_to(text.body)
            return
        reason, is_rest = self._parts.judge(raw, text.body, now)
        if reason:
            self._abandon_parts(reason, events)
        self._parts.broken = is_rest
        self._hand_out(raw, text.body, text.goes_on or self.options.continues(text.body), events)

    def _hand_out(self, raw: bytes, body: bytes, goes_on: bool, events: list[LinkEvent]) -> None:
        if self._parts.size + len(body) > self.options.message_limit:
            self._abandon_parts("message longer than the limit", events)
        frame_id = self._new_frame(raw, events)
        self._parts.add(frame_id, body)
        self._held = _Held(frame_id, raw, body, not goes_on)
        if goes_on:
            return
        if self._parts.broken:
            events.append(MessageAbandoned(self._parts.frame_ids, "texts of this message are missing"))
        else:
            events.append(MessageReceived(self._parts.frame_ids, self._parts.payload))

    def _new_frame(self, raw: bytes, events: list[LinkEvent]) -> int:
        frame_id = self._next_id
        self._next_id += 1
        events.append(FrameReceived(frame_id, raw))
        return frame_id

    def _take_held(self, frame_id: int) -> _Held:
        held = self._held
        if held is None or held.frame_id != frame_id:
            raise LocalProtocolError(f"text {frame_id} is not the one that waits for its commit")
        self._held = None
        return held

    def _drop(self, count: int) -> bytes:
        dropped = bytes(self._buffer[:count])
        del self._buffer[:count]
        return dropped

    # ------------------------------------------------------------------ silence and breaking off

    def _silence(self, now: float, events: list[LinkEvent]) -> None:
        """Nothing more comes: a text that silence ends is whole, another is broken off."""
        raw = self._drop(len(self._buffer))
        start = self.options.framing.start
        body = raw.strip(FILLER)
        if body and self.options.idle_end_s is not None and body.startswith(start):
            self._hand_out(raw, body.removeprefix(start), False, events)
        elif body and self.options.refuse:  # the instrument heard no ACK: it sends all of it again
            self._refused("a text without its end", raw, now, events)
        elif body:
            frame_id = self._new_frame(raw, events)
            self._silent[frame_id] = None
            events.append(MessageAbandoned((frame_id,), "a text without its end"))
        elif self._parts:
            self._abandon_parts("the rest of the message did not come", events)

    def _abandon_parts(self, reason: str, events: list[LinkEvent]) -> None:
        if self._parts:
            events.append(MessageAbandoned(self._parts.frame_ids, reason))
            self._parts.clear()
