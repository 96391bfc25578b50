"""MLLP link for HL7 v2: ``<VT> message <FS> <CR>``, with the deviations seen in the field.

Bytes before VT are skipped, CR behind FS may be absent, messages may come back to back or in fragments, a VT in the
text is text unless a message begins behind it, and a message whose FS is missing ends where the next one begins. The
answer that promises storage is the application's (MSA), made by the driver: `acknowledge` writes nothing, except where
the instrument speaks MLLP release 2, whose commit acknowledgement is a block of one byte.

Unlike ASTM, one `receive` may hand out several frames: HL7 peers may send without waiting. Acknowledge them in order.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from protocols.errors import LocalProtocolError
from protocols.links.contract import (
    FrameReceived,
    FrameRefused,
    Link,
    LinkEvent,
    MessageAbandoned,
    MessageReceived,
    SendCompleted,
    SendFailed,
)

_FS = b"\x1c"
_FILLER = re.compile(rb"[\r\n\x00]+")
_START = re.compile(rb"\x0b[\r\n]*(?:MSH|FHS|BHS)")
_BARE_START = re.compile(rb"(?:^|[\r\n])(?=(?:MSH|FHS|BHS)[^A-Za-z0-9\r\n])")
_LONGEST_START = 16
_SHOWN = 512


@dataclass(frozen=True, slots=True)
class MllpOptions:
    """How one instrument keeps to MLLP. Times in seconds, sizes in bytes."""

    vt_optional: bool = False
    """A message may begin with its MSH segment, without VT."""
    commit_acknowledgement: bool = False
    """MLLP release 2: answer with VT ACK FS CR (or NAK) when the message is stored."""
    message_limit: int = 16 * 1024 * 1024
    end_timeout_s: float = 30.0
    """Silence inside a message after which it counts as broken off: kept, not applied."""


class MllpLink(Link):
    """See the module."""

    def __init__(self, options: MllpOptions | None = None) -> None:
        self.options = options or MllpOptions()
        self._buffer = bytearray()
        self._output = bytearray()
        self._scanned = 0
        self._overflow = False
        self._deadline: float | None = None
        self._next_id = 1
        self._held: deque[int] = deque()
        self._stale: set[int] = set()
        self._next_token = 1
        self._unwritten: list[int] = []
        self._written: list[int] = []

    # ------------------------------------------------------------------ the contract

    def receive(self, data: bytes, now: float) -> list[LinkEvent]:
        events = self.wake(now)
        self._buffer += data
        self._read(now, events)
        return events

    def acknowledge(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._answer(frame_id, b"\x06")

    def refuse(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._answer(frame_id, b"\x15")

    def send(self, payload: bytes, now: float) -> int:
        if not payload or b"\x1c" in payload or b"\x0b" in payload:
            raise LocalProtocolError("an HL7 message to send is empty or holds VT or FS")
        token = self._next_token
        self._next_token += 1
        self._output += b"\x0b%b\x1c\r" % payload
        self._unwritten.append(token)
        return token

    def bytes_to_send(self) -> bytes:
        data = bytes(self._output)
        self._output.clear()
        self._written += self._unwritten
        self._unwritten.clear()
        return data

    @property
    def wake_at(self) -> float | None:
        """At once when messages were written (their `SendCompleted` waits), else when a message is broken off."""
        return float("-inf") if self._written else self._deadline

    def wake(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = [SendCompleted(token) for token in self._written]
        self._written.clear()
        if self._deadline is not None and now >= self._deadline:
            self._break_off("the end of the message (FS) did not come in time", events)
        return events

    def disconnected(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = [SendCompleted(token) for token in self._written]
        events += [SendFailed(token, "the connection closed") for token in self._unwritten]
        self._written.clear()
        self._unwritten.clear()
        if self._buffer:
            self._break_off("the connection closed", events)
        self._output.clear()
        self._stale = set(self._held)
        self._held.clear()
        return events

    # ------------------------------------------------------------------ reading

    def _read(self, now: float, events: list[LinkEvent]) -> None:
        self._deadline = None
        while self._buffer and self._read_one(events):
            pass
        if self._buffer:
            self._deadline = now + self.options.end_timeout_s

    def _read_one(self, events: list[LinkEvent]) -> bool:
        """One message or one piece of noise; False when more bytes are needed."""
        buffer = self._buffer
        if buffer[0] != 0x0B and not self._at_bare_start():
            return self._skip(events)
        start = max(1, self._scanned - _LONGEST_START)
        end = buffer.find(_FS, max(1, self._scanned))
        following = _START.search(buffer, start, end if end >= 0 else len(buffer))
        if following is not None:
            self._end_without_fs(following.start(), events)
            return True
        if end >= 0:
            self._hand_out(self._drop(end + 1), events)
            return True
        self._scanned = len(buffer)
        if len(buffer) > self.options.message_limit:
            self._overflow = True
            del buffer[1:-_LONGEST_START]
            self._scanned = 1
        return False

    def _at_bare_start(self) -> bool:
        return self.options.vt_optional and _BARE_START.match(self._buffer) is not None

    def _skip(self, events: list[LinkEvent]) -> bool:
        """Drop what stands before a message. False: nothing is left but the possible head of a bare message."""
        filler = _FILLER.match(self._buffer)
        if filler is not None:
            self._drop(filler.end())
            return True
        places = [self._buffer.find(b"\x0b")]
        if self.options.vt_optional:
            bare = _BARE_START.search(self._buffer)
            places.append(bare.end() if bare is not None else -1)
            if b"MSH|"[: len(self._buffer)] == self._buffer[:4]:
                return False
        dropped = self._drop(min((place for place in places if place >= 0), default=len(self._buffer)))
        if dropped.strip(b"\r\n\x00\x1c\x04\x05\x06\x15"):
            events.append(FrameRefused("bytes outside a message", dropped[:_SHOWN]))
        return True

    def _drop(self, count: int) -> bytes:
        dropped = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._scanned = 0
        return dropped

    def _hand_out(self, raw: bytes, events: list[LinkEvent]) -> None:
        payload = raw.strip(b"\x0b\x1c\r\n")
        if self._refused_for_size(raw, events):
            return
        if not payload:
            events.append(FrameRefused("empty message", raw[:_SHOWN]))
        elif self.options.commit_acknowledgement and payload in (b"\x06", b"\x15"):
            return  # the other side's commit acknowledgement of what we sent
        else:
            frame_id = self._hold(raw, events)
            events.append(MessageReceived((frame_id,), payload + b"\r"))

    def _hold(self, raw: bytes, events: list[LinkEvent]) -> int:
        frame_id = self._next_id
        self._next_id += 1
        self._held.append(frame_id)
        events.append(FrameReceived(frame_id, raw))
        return frame_id

    def _refused_for_size(self, raw: bytes, events: list[LinkEvent]) -> bool:
        too_long = self._overflow or len(raw) > self.options.message_limit
        self._overflow = False
        if too_long:
            events.append(FrameRefused("message longer than the limit", raw[:_SHOWN]))
        return too_long

    def _end_without_fs(self, length: int, events: list[LinkEvent]) -> None:
        """The next message begins and no FS came: whole if its last segment is closed, else kept as broken off."""
        raw = self._drop(length)
        if raw.rstrip(b"\n").endswith(b"\r") or raw.endswith(b"\n"):
            self._hand_out(raw, events)
        elif not self._refused_for_size(raw, events):
            self._abandon(raw, "the next message began before this one ended", events)

    def _break_off(self, reason: str, events: list[LinkEvent]) -> None:
        self._deadline = None
        raw = self._drop(len(self._buffer))
        if not self._refused_for_size(raw, events):
            self._abandon(raw, reason, events)

    def _abandon(self, raw: bytes, reason: str, events: list[LinkEvent]) -> None:
        frame_id = self._hold(raw, events)
        events.append(MessageAbandoned((frame_id,), reason))

    def _answer(self, frame_id: int, block: bytes) -> list[LinkEvent]:
        if frame_id in self._stale:
            self._stale.discard(frame_id)
            return []
        if not self._held or self._held[0] != frame_id:
            raise LocalProtocolError(f"message {frame_id} is not the next that waits for an acknowledgement")
        self._held.popleft()
        if self.options.commit_acknowledgement:
            self._output += b"\x0b%b\x1c\r" % block
        return []
