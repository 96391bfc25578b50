"""MLLP link for HL7 v2: ``<VT> message <FS> <CR>``, with the deviations seen in the field.

Bytes before VT are skipped, CR behind FS may be absent, messages may come back to back or in fragments, a VT in the
text is text unless a message begins behind it, and a message whose FS is missing ends where the next one begins. The
answer that promises storage is the application's (MSA), made by the driver: `acknowledge` writes nothing, except where
the instrument speaks MLLP release 2, whose commit acknowledgement is a block of one byte, in both directions.

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

_VT, _FS, _CR = 0x0B, 0x1C, 0x0D
_ACK, _NAK = b"\x06", b"\x15"
_FILLER = re.compile(rb"[\r\n\x00]+")
_START = re.compile(rb"\x0b[\r\n]*(?:MSH|FHS|BHS)")
_BARE_START = re.compile(rb"(?:^|[\r\n])(?=(?:MSH|FHS|BHS)[^A-Za-z0-9\r\n])")
_NEXT_START = re.compile(rb"\x0b[\r\n]*(?:MSH|FHS|BHS)|(?<=[\r\n])MSH[^A-Za-z0-9\r\n]")
"""Where a message ends that began with MSH and without VT: at the next one of its like, too."""
_LONGEST_START = 16
_SHOWN = 512


@dataclass(frozen=True, slots=True)
class MllpOptions:
    """How one instrument keeps to MLLP. Times in seconds, sizes in bytes."""

    vt_optional: bool = False
    """A message may begin with its MSH segment, without VT."""
    fs_optional: bool = False
    """A message whose last segment is closed may end with silence (`end_wait_s`), without FS."""
    commit_acknowledgement: bool = False
    """MLLP release 2: answer with VT ACK FS CR (or NAK) when the message is stored, and wait for that of the other side
    before a message counts as sent."""
    message_limit: int = 16 * 1024 * 1024
    end_timeout_s: float = 30.0
    """Silence inside a message after which it counts as broken off: kept, not applied."""
    longest_s: float = 900.0
    """From VT to FS at most, also where bytes keep dripping in: 800 kB at 9600 baud."""
    end_wait_s: float = 2.0
    commit_timeout_s: float = 30.0


class MllpLink(Link):
    """See the module."""

    def __init__(self, options: MllpOptions | None = None) -> None:
        self.options = options or MllpOptions()
        self._buffer = bytearray()
        self._output = bytearray()
        self._scanned = 0
        self._overflow = False
        self._began_at: float | None = None
        """When the message in the buffer began."""
        self._deadline: float | None = None
        self._next_id = 1
        self._held: deque[int] = deque()
        self._stale_through = 0
        """Frames up to this id were handed out on a connection that is gone."""
        self._next_token = 1
        self._unwritten: list[int] = []
        self._written: list[int] = []
        self._uncommitted: deque[tuple[int, float]] = deque()
        """Release 2: messages written, and until when their commit acknowledgement may come."""

    # ------------------------------------------------------------------ the contract

    def receive(self, data: bytes, now: float) -> list[LinkEvent]:
        events = self.wake(now)
        if not self._buffer and self._receive_block(data, events):
            return events
        self._buffer += data
        self._read(now, events)
        return events

    def acknowledge(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._answer(frame_id, _ACK)

    def refuse(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._answer(frame_id, _NAK)

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
        """At once when messages were written, else when a message is broken off or a commit stays away."""
        if self._written:
            return float("-inf")
        if not self._uncommitted:
            return self._deadline
        return min(self._uncommitted[0][1], float("inf") if self._deadline is None else self._deadline)

    def wake(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = []
        if self._written:
            self._were_written(now, events)
        while self._uncommitted and now >= self._uncommitted[0][1]:
            events.append(SendFailed(self._uncommitted.popleft()[0], "no commit acknowledgement"))
        if self._deadline is not None and now >= self._deadline:
            self._silence(events)
        return events

    def disconnected(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = []
        self._were_written(now, events)
        lost = [*(token for token, _ in self._uncommitted), *self._unwritten]
        events += [SendFailed(token, "the connection closed") for token in lost]
        self._uncommitted.clear()
        self._unwritten.clear()
        if self._buffer:
            self._break_off("the connection closed", events)
        self._output.clear()
        self._stale_through = self._next_id - 1
        self._held.clear()
        return events

    def _were_written(self, now: float, events: list[LinkEvent]) -> None:
        """What the shell took is on its way: sent, or (release 2) waiting for its commit acknowledgement."""
        if self.options.commit_acknowledgement:
            self._uncommitted.extend((token, now + self.options.commit_timeout_s) for token in self._written)
        else:
            events += [SendCompleted(token) for token in self._written]
        self._written.clear()

    # ------------------------------------------------------------------ reading

    def _receive_block(self, data: bytes, events: list[LinkEvent]) -> bool:
        """The usual case, without the buffer: `data` is one whole block. False: it is not."""
        end = len(data) - 2
        if end < 1 or data[0] != _VT or data[end] != _FS or data[end + 1] != _CR:
            return False
        if data.find(_VT, 1) >= 0 or data.find(_FS) != end:
            return False
        self._hand_out(data[:-1], events)
        return True

    def _read(self, now: float, events: list[LinkEvent]) -> None:
        while self._buffer and self._read_one(events):
            pass
        if not self._buffer:
            self._began_at = self._deadline = None
            return
        if self._began_at is None:
            self._began_at = now
        until = min(now + self.options.end_timeout_s, self._began_at + self.options.longest_s)
        self._deadline = min(until, now + self.options.end_wait_s) if self._may_end_here() else until

    def _may_end_here(self) -> bool:
        return self.options.fs_optional and self._buffer[-1] in b"\r\n"

    def _read_one(self, events: list[LinkEvent]) -> bool:
        """One message or one piece of noise; False when more bytes are needed."""
        buffer = self._buffer
        framed = buffer[0] == _VT
        if not framed and not self._at_bare_start():
            return self._skip(events)
        bare = not framed and buffer.startswith(b"MSH")
        start = max(1, self._scanned - _LONGEST_START)
        end = buffer.find(_FS, max(1, self._scanned))
        following = (_NEXT_START if bare else _START).search(buffer, start, end if end >= 0 else len(buffer))
        if following is not None:
            self._end_without_fs(following.start(), events)
            return True
        if end >= 0:
            self._hand_out(self._drop(end + 1), events)
            return True
        self._scanned = len(buffer)
        if len(buffer) > self.options.message_limit:  # its head stays, to be shown, and what may begin the next one
            self._overflow = True
            del buffer[_SHOWN:-_LONGEST_START]
            self._scanned = _SHOWN
        return False

    def _at_bare_start(self) -> bool:
        return self.options.vt_optional and _BARE_START.match(self._buffer) is not None

    def _skip(self, events: list[LinkEvent]) -> bool:
        """Drop what stands before a message. False: nothing is left but the possible head of a bare message."""
        filler = _FILLER.match(self._buffer)
        if filler is not None:
            self._drop(filler.end())
            return True
        places = [self._buffer.find(_VT)]
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
        self._began_at = None
        return dropped

    def _hand_out(self, raw: bytes, events: list[LinkEvent]) -> None:
        payload = raw.strip(b"\x0b\x1c\r\n")
        if self._refused_for_size(raw, events):
            return
        if not payload:
            events.append(FrameRefused("empty message", raw[:_SHOWN]))
        elif payload in (_ACK, _NAK):
            self._committed(payload, events)
        else:
            frame_id = self._hold(raw, events)
            events.append(MessageReceived((frame_id,), payload + b"\r"))

    def _committed(self, verdict: bytes, events: list[LinkEvent]) -> None:
        """The other side's commit acknowledgement of the oldest message that waits for one."""
        if not self._uncommitted:
            return
        token, _ = self._uncommitted.popleft()
        stored = verdict == _ACK
        events.append(SendCompleted(token) if stored else SendFailed(token, "the other side could not store it"))

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
        if raw.endswith((b"\r", b"\n")) or not raw.strip(b"\x0b"):
            self._hand_out(raw, events)
        elif not self._refused_for_size(raw, events):
            self._abandon(raw, "the next message began before this one ended", events)

    def _silence(self, events: list[LinkEvent]) -> None:
        if self._may_end_here():
            self._deadline = None
            self._hand_out(self._drop(len(self._buffer)), events)
        else:
            self._break_off("the end of the message (FS) did not come in time", events)

    def _break_off(self, reason: str, events: list[LinkEvent]) -> None:
        self._deadline = None
        raw = self._drop(len(self._buffer))
        if not self._refused_for_size(raw, events):
            self._abandon(raw, reason, events)

    def _abandon(self, raw: bytes, reason: str, events: list[LinkEvent]) -> None:
        frame_id = self._hold(raw, events)
        events.append(MessageAbandoned((frame_id,), reason))

    def _answer(self, frame_id: int, block: bytes) -> list[LinkEvent]:
        if 0 < frame_id <= self._stale_through:
            return []  # stored when the connection was gone already
        if not self._held or self._held[0] != frame_id:
            raise LocalProtocolError(f"message {frame_id} is not the next that waits for an acknowledgement")
        self._held.popleft()
        if self.options.commit_acknowledgement:
            self._output += b"\x0b%b\x1c\r" % block
        return []
