"""POCT1-A over TCP: XML documents back to back, and the host's side of the conversation.

Each document is a frame and a message. Who says what to the device:

* ACK.R01 (and other answers) is an application message: the driver makes it in `respond`, after the document is
  durable, as it does for HL7. The link counts our control ids and puts one into every document that it writes.
* What the host says of its own accord (REQ, DTV, END) is said by the link, since it depends on the conversation:
  after `acknowledge`, behind the ACK. Its times go on from the clock that the driver's last answer showed.
* KPA.R01 carries nothing: it is acknowledged here and never stored.

A document of the caller's that asks for an answer (OPL, PTL, DTV) waits for its turn; `SendCompleted` follows the
device's ACK, `SendFailed` its refusal, its silence or the end of the connection. `SendFailed` with a token that `send`
never gave tells of a request of the link's own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

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
from protocols.links.poct1a_dialogue import LEADING, HostDialogue, Stage
from protocols.links.xml_stream import FILLER, Ending, Piece, XmlStream
from protocols.messages.poct1a import (
    ROOT_NAME,
    NotReadable,
    build,
    control_id_of,
    created,
    kind_of,
    leaf,
    numbered,
    read,
    timestamp,
)

UNACKNOWLEDGED = ("ACK.R01", "ESC.R01", "KPA.R01", "REQ.R01")
"""Documents of the device that an ACK.R01 never answers (a REQ is answered by what it asks for)."""
_REPLIES = ("ACK.R01", "ESC.R01", "EOT.R01")
_ACK_PATIENCE_S = 5.0
_SHOWN = 512


@dataclass(frozen=True, slots=True)
class Poct1aOptions:
    """How one device keeps to POCT1-A. Times in seconds, sizes in bytes."""

    message_limit: int = 1024 * 1024
    end_timeout_s: float = 30.0
    """Silence inside a document after which it counts as broken off: kept, not applied."""
    continuous: bool = True
    """Ask for continuous mode where the device offers it."""
    acknowledge_end_of_topic: bool = False
    """The device waits for an ACK of its EOT.R01 (a captured DCA Vantage does not)."""
    keep_alive_s: float | None = None
    """Send KPA.R01 after this long without a word of ours in continuous mode; None: the device does."""
    acknowledged_id: str = "ACK.ack_control_id"
    """The field of ACK.R01 that names the document acknowledged."""

    def owes_acknowledgement(self, kind: str) -> bool:
        return kind not in UNACKNOWLEDGED and (kind != "EOT.R01" or self.acknowledge_end_of_topic)


@dataclass(slots=True)
class _Outgoing:
    token: int
    document: bytes
    own: bool = False


class Poct1aLink(Link):
    """See the module."""

    def __init__(self, options: Poct1aOptions | None = None) -> None:
        self.options = options or Poct1aOptions()
        self.dialogue = HostDialogue(continuous=self.options.continuous)
        self._stream = XmlStream(ROOT_NAME, self.options.message_limit)
        self._output = bytearray()
        self._held: deque[tuple[int, bytes | None]] = deque()
        self._stale: set[int] = set()
        self._next_id = 1
        self._next_token = 1
        self._next_control_id = 1
        self._queue: deque[_Outgoing] = deque()
        self._written: list[int] = []
        self._clock: tuple[datetime, float] | None = None
        self._begin()

    def _begin(self) -> None:
        """Nothing is known of this connection yet."""
        self._framed = False
        self._document_deadline: float | None = None
        self._answer_deadline: float | None = None
        self._owed_until: float | None = None
        self._said_at: float | None = None
        self._asked = False
        self._awaited: tuple[_Outgoing, str] | None = None

    # ------------------------------------------------------------------ the contract

    def receive(self, data: bytes, now: float) -> list[LinkEvent]:
        events = self.wake(now)
        if data:
            for piece in self._stream.feed(data):
                self._take(piece, now, events)
            self._document_deadline = now + self.options.end_timeout_s if self._stream.waiting else None
            if self._answer_deadline is not None:
                self._answer_deadline = now + self.dialogue.timeout_s
        return events

    def acknowledge(self, frame_id: int, now: float) -> list[LinkEvent]:
        document = self._release(frame_id)
        events: list[LinkEvent] = []
        if document is not None:
            self._heard(document, now, events)
            self._speak(now)
        return events

    def refuse(self, frame_id: int, now: float) -> list[LinkEvent]:
        self._release(frame_id)
        return []

    def send(self, payload: bytes, now: float) -> int:
        if not payload.startswith(b"<?xml") or not payload.endswith(b">"):
            raise LocalProtocolError("a POCT1-A document to send is not one that was built here")
        outgoing = _Outgoing(self._token(), payload)
        at = created(payload)
        self._clock = (at, now) if at is not None else self._clock
        if kind_of(payload) in _REPLIES or self._asked:
            self._asked = False
            self._owed_until = None
            self._write(outgoing, now)
            self._written.append(outgoing.token)
        else:
            self._queue.append(outgoing)
        self._speak(now)
        return outgoing.token

    def bytes_to_send(self) -> bytes:
        data = bytes(self._output)
        self._output.clear()
        return data

    @property
    def wake_at(self) -> float | None:
        """At once when answers were written (their `SendCompleted` waits), else when the next time runs out."""
        if self._written:
            return float("-inf")
        times = (self._document_deadline, self._answer_deadline, self._owed_until, self._keep_alive_at())
        return min((each for each in times if each is not None), default=None)

    def wake(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = [SendCompleted(token) for token in self._written]
        self._written.clear()
        if self._document_deadline is not None and now >= self._document_deadline:
            self._break_off("the end of the document did not come in time", now, events)
        if self._answer_deadline is not None and now >= self._answer_deadline:
            self._settle(False, "no answer within the device's application timeout", now, events)
            self._speak(now)
        if self._owed_until is not None and now >= self._owed_until:
            self._owed_until = None
            self._speak(now)
        keep_alive_at = self._keep_alive_at()
        if keep_alive_at is not None and now >= keep_alive_at:
            self._write(_Outgoing(0, build("KPA.R01", self._time(now))), now)
        return events

    def disconnected(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = [SendCompleted(token) for token in self._written]
        self._written.clear()
        self._break_off("the connection closed", now, events)
        open_sends = ([self._awaited[0]] if self._awaited else []) + list(self._queue)
        events += [SendFailed(each.token, "the connection closed") for each in open_sends if not each.own]
        self._queue.clear()
        self._output.clear()
        self._stale = {frame_id for frame_id, _ in self._held}
        self._held.clear()
        self.dialogue.begin_again()
        self._begin()
        return events

    # ------------------------------------------------------------------ reading

    def _take(self, piece: Piece, now: float, events: list[LinkEvent]) -> None:
        self._framed = self._framed or piece.framed
        if piece.ending is Ending.WHOLE:
            self._document(piece.raw, now, events)
        elif piece.ending is Ending.BROKEN_OFF:
            self._abandon(piece.raw, piece.ending.value, events)
        else:
            events.append(FrameRefused(piece.ending.value, piece.raw[:_SHOWN]))
            if piece.ending is Ending.TOO_LONG:
                self._answer(control_id_of(piece.raw), "AE", now)

    def _document(self, raw: bytes, now: float, events: list[LinkEvent]) -> None:
        if kind_of(raw) == "KPA.R01":
            self._answer(control_id_of(raw), "AA", now, created(raw))
            return
        frame_id = self._hold(raw, raw, events)
        events.append(MessageReceived((frame_id,), raw))

    def _hold(self, raw: bytes, document: bytes | None, events: list[LinkEvent]) -> int:
        frame_id = self._next_id
        self._next_id += 1
        self._held.append((frame_id, document))
        events.append(FrameReceived(frame_id, raw))
        return frame_id

    def _abandon(self, raw: bytes, reason: str, events: list[LinkEvent]) -> None:
        frame_id = self._hold(raw, None, events)
        events.append(MessageAbandoned((frame_id,), reason))

    def _break_off(self, reason: str, now: float, events: list[LinkEvent]) -> None:
        self._document_deadline = None
        noise, document = self._stream.clear()
        if noise is not None:
            events.append(FrameRefused(noise.ending.value, noise.raw[:_SHOWN]))
        if document is not None and document.ending is Ending.TOO_LONG:
            events.append(FrameRefused(document.ending.value, document.raw[:_SHOWN]))
        elif document is not None and document.raw.strip(FILLER):
            self._abandon(document.raw, reason, events)

    def _release(self, frame_id: int) -> bytes | None:
        if frame_id in self._stale:
            self._stale.discard(frame_id)
            return None
        if not self._held or self._held[0][0] != frame_id:
            raise LocalProtocolError(f"document {frame_id} is not the next that waits for an acknowledgement")
        return self._held.popleft()[1]

    # ------------------------------------------------------------------ the conversation

    def _heard(self, document: bytes, now: float, events: list[LinkEvent]) -> None:
        """A durable document: the conversation goes on, and the driver owes its ACK."""
        kind = kind_of(document)
        if self.options.owes_acknowledgement(kind) and control_id_of(document):
            self._owed_until = now + _ACK_PATIENCE_S
        if kind not in LEADING:
            return  # a result or an event: what it says is the driver's
        try:
            message = read(document)
        except NotReadable:
            return
        if kind == "REQ.R01":
            self._asked = True
        if self._clock is None:
            at = created(document)
            self._clock = (at, now) if at is not None else None
        before = self.dialogue.stage
        outcome = self.dialogue.heard(message)
        if outcome is not None:
            awaited = self._awaited
            if awaited is not None and outcome.control_id in (awaited[1], ""):
                self._settle(outcome.accepted, outcome.detail, now, events)
        elif self.dialogue.stage is not before:
            self._drop_awaited("the conversation went on without an answer", events)

    def _settle(self, accepted: bool, detail: str, now: float, events: list[LinkEvent]) -> None:
        """The device accepted, refused or forgot the document that we wait for."""
        stage = self.dialogue.stage
        awaited = self._awaited
        self.dialogue.settle(accepted)
        if self.dialogue.stage is stage and accepted:
            return  # a request was acknowledged: what it asks for is still to come
        self._awaited = None
        self._answer_deadline = None
        if awaited is None:
            return
        if accepted and not awaited[0].own:
            events.append(SendCompleted(awaited[0].token))
        elif not accepted:
            events.append(SendFailed(awaited[0].token, detail))

    def _drop_awaited(self, reason: str, events: list[LinkEvent]) -> None:
        awaited, self._awaited, self._answer_deadline = self._awaited, None, None
        if awaited is not None and not awaited[0].own:
            events.append(SendFailed(awaited[0].token, reason))

    def _speak(self, now: float) -> None:
        """Say what is ours to say, unless the device still waits for an ACK of the driver's or owes us an answer."""
        if self._owed_until is not None or self.dialogue.is_waiting or self._clock is None:
            return
        if self._queue and self.dialogue.may_direct:
            self.dialogue.direct()
            self._await(self._queue.popleft(), now)
            return
        request = self.dialogue.next()
        if request is not None:
            document = build(request.kind, self._time(now), request.body)
            self._await(_Outgoing(self._token(), document, own=True), now)

    def _await(self, outgoing: _Outgoing, now: float) -> None:
        self._awaited = (outgoing, str(self._write(outgoing, now)))
        self._answer_deadline = now + self.dialogue.timeout_s

    def _answer(self, control_id: str, verdict: str, now: float, device_time: datetime | None = None) -> None:
        """The link's own ACK, of what is not a message."""
        if not control_id:
            return
        at = self._time(now) if self._clock else timestamp(device_time) if device_time else ""
        body = ("ACK", None, (leaf("ACK.type_cd", verdict), leaf(self.options.acknowledged_id, control_id)))
        self._write(_Outgoing(0, build("ACK.R01", at, body)), now)

    # ------------------------------------------------------------------ writing

    def _write(self, outgoing: _Outgoing, now: float) -> int:
        control_id = self._next_control_id
        self._next_control_id = control_id % 99_999 + 1
        document = numbered(outgoing.document, control_id)
        self._output += b"\x0b%b\x1c\r" % document if self._framed else document
        self._said_at = now
        return control_id

    def _token(self) -> int:
        token = self._next_token
        self._next_token += 1
        return token

    def _time(self, now: float) -> str:
        if self._clock is None:  # pragma: no cover - nothing is said before a clock is known
            return ""
        at, then = self._clock
        return timestamp(at + timedelta(seconds=now - then))

    def _keep_alive_at(self) -> float | None:
        patience = self.options.keep_alive_s
        if patience is None or self.dialogue.stage is not Stage.CONTINUOUS or self._said_at is None:
            return None
        return self._said_at + patience
