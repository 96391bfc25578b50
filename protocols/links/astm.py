"""ASTM E1381 / CLSI LIS01-A2 link, both directions in one state machine, without I/O.

Receiving: a frame is answered with ACK only after `acknowledge`, because the ACK is the instrument's permission to
forget it. A message ends with its `L` record in an ETX frame (it is handed out together with that frame, before its
acknowledgement) or, where an instrument sends none, with EOT. Sending: `send` queues one message, one session for each.
Paragraph numbers are those of LIS01-A2.

A damaged byte must never draw an ACK: the sender would take it for the ACK of the damaged frame. Hence inside a frame
only ETX and ETB mean anything, and an ENQ or EOT in the middle of a message counts only when silence follows it.
"""

from __future__ import annotations

from protocols.errors import LocalProtocolError
from protocols.links.astm_assembly import HeldFrame
from protocols.links.astm_frames import ACK, ENQ, EOT, NAK, AstmOptions, Checksum
from protocols.links.astm_line import SHOWN, TRANSITIONS, State, Wait
from protocols.links.astm_receiving import AstmReceiving
from protocols.links.astm_sending import Sending, Step, Turn
from protocols.links.contract import FrameRefused, LinkEvent

__all__ = ["TRANSITIONS", "AstmLink", "State"]

_WAITING_LIMIT = 256 * 1024
"""Bytes that may wait behind a frame which is being stored, beyond one frame."""


class AstmLink(AstmReceiving):
    """See the module. `options` hold the instrument's deviations."""

    def __init__(self, options: AstmOptions | None = None) -> None:
        super().__init__(options or AstmOptions())
        self._stale_through = 0
        """Frames up to this id were handed out on a connection that is gone."""
        self._sending = Sending(self.options)

    # ------------------------------------------------------------------ the contract

    @property
    def checked(self) -> bool:
        return self.options.checksum is Checksum.REQUIRED

    def receive(self, data: bytes, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = []
        if self._deadline is not None and now >= self._deadline:
            self._expire(now, events)
        if not self._buffer:
            if len(data) == 1:
                if self._receive_control(data[0], now, events):
                    return events
            elif self._receive_frame(data, now, events):
                if self._held is None:
                    self._read(now, events)
                return events
        if self.state is State.HOLDING_FRAME:
            room = _WAITING_LIMIT + self.options.received_text_limit - len(self._buffer)
            if len(data) > room:
                refused = data[room:][:SHOWN]
                events.append(FrameRefused("more bytes than fit behind a frame that is being stored", refused))
                data = data[:room]
        self._buffer += data
        self._read(now, events)
        return events

    def acknowledge(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._answer(frame_id, ACK, now)

    def refuse(self, frame_id: int, now: float) -> list[LinkEvent]:
        return self._answer(frame_id, NAK, now)

    def send(self, payload: bytes, now: float) -> int:
        token = self._sending.put(payload)
        self._bid(now)
        return token

    def bytes_to_send(self) -> bytes:
        if not self._output:
            return b""
        data = bytes(self._output)
        self._output.clear()
        return data

    @property
    def wake_at(self) -> float | None:
        if self._deadline is None and self.state is State.NEUTRAL and self._sending.queue:
            return self._sending.quiet_until
        return self._deadline

    def wake(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = []
        self._expire(now, events)
        self._bid(now)
        return events

    def disconnected(self, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = []
        held, self._held = self._held, None
        if held is not None:
            if held.ends_message:
                self._assembly.restart()  # the whole message was handed out
            else:
                self._assembly.frame_ids.append(held.frame_id)
        self._stale_through = self._next_id - 1
        self._abandon("the connection closed", events)
        events += self._sending.fail_all("the connection closed")
        self._buffer.clear()
        self._output.clear()
        if self.state is not State.NEUTRAL:
            self._move_to(State.NEUTRAL)
        self._stop_waiting()
        return events

    def _answer(self, frame_id: int, reply: int, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = []
        held = self._release(frame_id)
        if held is None:
            return events
        if held.bare:
            self._move_to(State.NEUTRAL)
            if held.answered:
                self._output.append(reply)
            self._instrument_done(now)
        else:
            if reply == ACK:
                self._assembly.accept(held)
                self._doubt, self._replied_at = False, now
            else:  # an EOT now is the sender giving up, not the message's end: it comes again whole
                self._doubt = True
            self._move_to(State.AWAITING_FRAME)
            if not self._sender_gave_up(held, now):
                self._output.append(reply)
            if not self._buffer:
                self._wait_for(Wait.FRAME, now + self.options.receive_timeout_s)
                return events
        self._read(now, events)
        return events

    def _release(self, frame_id: int) -> HeldFrame | None:
        if 0 < frame_id <= self._stale_through:
            return None  # stored when the connection was gone already
        held = self._held
        if held is None or held.frame_id != frame_id:
            raise LocalProtocolError(f"frame {frame_id} does not wait for an acknowledgement")
        self._held = None
        return held

    def _sender_gave_up(self, held: HeldFrame, now: float) -> bool:
        """We were slow and the sender ended the session: a late ACK would be read as the answer to its next ENQ."""
        if now - held.since < self.options.reply_timeout_s:
            return False
        self._drop_filler()
        return bool(self._buffer) and self._buffer[0] in (ENQ, EOT)

    # ------------------------------------------------------------------ sending

    def _bid(self, now: float) -> None:
        """Ask for the line if a message waits and the line is free."""
        if self._sending.queue and self.state is State.NEUTRAL and not self._buffer and self._sending.may_bid(now):
            self._move_to(State.AWAITING_ENQ_REPLY)
            self._output.append(ENQ)
            self._deadline = now + self.options.reply_timeout_s

    def _read_reply(self, now: float, events: list[LinkEvent]) -> bool:
        if not self._buffer:
            return False
        if self._output and self.state is State.AWAITING_FRAME_REPLY:
            # Our frame is not even written: bytes that came with the reply before it (a doubled ACK, noise) cannot
            # be its answer, and a doubled ACK would pass a frame that the instrument may refuse.
            self._drop(len(self._buffer))
            return False
        reply = self._drop(1)[0]
        on_reply = (
            self._sending.on_enq_reply if self.state is State.AWAITING_ENQ_REPLY else self._sending.on_frame_reply
        )
        self._take_turn(on_reply(reply, now), now, events)
        return True

    def _no_reply(self, now: float, events: list[LinkEvent]) -> None:
        self._take_turn(self._sending.on_silence(self.state is State.AWAITING_ENQ_REPLY, now), now, events)

    def _instrument_done(self, now: float) -> None:
        self._sending.instrument_done(now)

    def _take_turn(self, turn: Turn, now: float, events: list[LinkEvent]) -> None:
        if turn.step is Step.IGNORE:
            return
        self._output += turn.write
        events += turn.events
        if turn.step is Step.RELEASE:
            self._move_to(State.NEUTRAL)
            return
        self._move_to(State.AWAITING_FRAME_REPLY)
        self._deadline = now + self.options.reply_timeout_s
