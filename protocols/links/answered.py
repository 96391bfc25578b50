"""A link that waits for the instrument's answer to what we sent: MSA-2 of its message is MSH-10 of ours.

MLLP only says that bytes were written. An order (OML^O33, DSR^Q03 ...) is done when the instrument has answered it:
`SendCompleted` with AA, `SendFailed` with AE or AR or when nothing came in time. One such message is on its way at a
time, the next waits; acknowledgements of ours pass at once, because the instrument may be waiting for them. CA says
that the instrument keeps the message: the time begins again and the application's answer is awaited, unless ours asked
for none (MSH-16 NE).

Source: HL7 v2.5.1 chapter 2, 2.9.2 and 2.9.3 (response by MSA-2), Mindray host manual (each DSR^Q03 draws an ACK^Q03).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from protocols.errors import LocalProtocolError
from protocols.links.contract import Link, LinkEvent, MessageReceived, SendCompleted, SendFailed

_MSA = re.compile(rb"(?:^|[\r\n])MSA([^A-Za-z0-9\r\n])([^\r\n]*)")


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """Which of our messages the instrument answers."""

    awaited: frozenset[str] = frozenset()
    """MSH-9.1 of messages that are done only when they are answered ("OML", "DSR")."""
    timeout_s: float = 30.0


@dataclass(slots=True)
class _Sent:
    token: int
    control_id: bytes
    wants_application: bool
    payload: bytes


class AnsweredLink(Link):
    """See the module. `inner` frames and unframes (an `MllpLink`)."""

    def __init__(self, inner: Link, options: AnswerOptions) -> None:
        self.options = options
        self._inner = inner
        self._tokens: dict[int, int] = {}
        """Token of `inner` → ours, for messages that nobody answers."""
        self._next_token = 1
        self._queue: deque[_Sent] = deque()
        self._awaited: _Sent | None = None
        self._deadline: float | None = None

    # ------------------------------------------------------------------ the contract

    def receive(self, data: bytes, now: float) -> list[LinkEvent]:
        return self._overdue(now) + self._through(self._inner.receive(data, now), now)

    def acknowledge(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._through(self._inner.acknowledge(frame_id, now), now)

    def refuse(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._through(self._inner.refuse(frame_id, now), now)

    def send(self, payload: bytes, now: float) -> int:
        if not payload or b"\x1c" in payload or b"\x0b" in payload:
            raise LocalProtocolError("an HL7 message to send is empty or holds VT or FS")
        token = self._next_token
        self._next_token += 1
        fields = payload.split(b"\r", 1)[0].split(payload[3:4])
        if _field(fields, 9).split(b"^", 1)[0].decode("latin-1") in self.options.awaited:
            wants_application = _field(fields, 16).upper() != b"NE"
            self._queue.append(_Sent(token, _field(fields, 10), wants_application, payload))
            self._write_next(now)
        else:
            self._tokens[self._inner.send(payload, now)] = token
        return token

    def bytes_to_send(self) -> bytes:
        return self._inner.bytes_to_send()

    @property
    def wake_at(self) -> float | None:
        moments = [each for each in (self._inner.wake_at, self._deadline) if each is not None]
        return min(moments, default=None)

    def wake(self, now: float) -> list[LinkEvent]:
        return self._overdue(now) + self._through(self._inner.wake(now), now)

    def disconnected(self, now: float) -> list[LinkEvent]:
        events = self._through(self._inner.disconnected(now), now)
        lost = [self._awaited, *self._queue] if self._awaited is not None else [*self._queue]
        self._queue.clear()
        self._awaited, self._deadline = None, None
        return events + [SendFailed(each.token, "the connection closed before the answer") for each in lost]

    # ------------------------------------------------------------------ matching

    def _through(self, events: list[LinkEvent], now: float) -> list[LinkEvent]:
        """Events of `inner` with our tokens; an answer is followed by what it says of the message it answers."""
        found: list[LinkEvent] = []
        for event in events:
            if isinstance(event, SendCompleted | SendFailed):
                token = self._tokens.pop(event.token, None)
                if token is not None:
                    found.append(_renamed(event, token))
                continue
            found.append(event)
            if isinstance(event, MessageReceived) and self._awaited is not None:
                found += self._matched(event.payload, self._awaited, now)
        return found

    def _matched(self, payload: bytes, awaited: _Sent, now: float) -> list[LinkEvent]:
        for answer in _MSA.finditer(payload):
            fields = answer[2].split(answer[1])
            if len(fields) < 2 or fields[1].strip() != awaited.control_id:
                continue
            code = fields[0].strip().upper()
            if code == b"CA" and awaited.wants_application:
                self._deadline = now + self.options.timeout_s
                return []
            self._awaited, self._deadline = None, None
            self._write_next(now)
            if code in (b"AA", b"CA"):
                return [SendCompleted(awaited.token)]
            return [SendFailed(awaited.token, f"the instrument answered {code.decode('latin-1')[:8]}")]
        return []

    def _overdue(self, now: float) -> list[LinkEvent]:
        if self._awaited is None or self._deadline is None or now < self._deadline:
            return []
        late = SendFailed(self._awaited.token, "the instrument did not answer in time")
        self._awaited, self._deadline = None, None
        self._write_next(now)
        return [late]

    def _write_next(self, now: float) -> None:
        if self._awaited is None and self._queue:
            self._awaited = self._queue.popleft()
            self._inner.send(self._awaited.payload, now)
            self._deadline = now + self.options.timeout_s


def _field(fields: list[bytes], number: int) -> bytes:
    """Field `number` of an MSH whose MSH-1 is not among `fields`."""
    return fields[number - 1].strip() if number <= len(fields) else b""


def _renamed(event: SendCompleted | SendFailed, token: int) -> LinkEvent:
    return SendCompleted(token) if isinstance(event, SendCompleted) else SendFailed(token, event.reason)
