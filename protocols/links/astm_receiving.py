"""The receiving half of the ASTM link: bytes to checked frames and messages, noise, and the receiver's timers.

`AstmLink` in `astm.py` completes it with the contract and the sending half. Paragraph numbers are those of LIS01-A2.
"""

from __future__ import annotations

import re
from abc import abstractmethod

from protocols.links.astm_assembly import Assembly, HeldFrame
from protocols.links.astm_frames import ACK, CR, ENQ, EOT, ETB, ETX, LF, NAK, STX, AstmOptions, Checksum
from protocols.links.astm_line import SHOWN, AstmLine, State, Wait
from protocols.links.contract import FrameReceived, FrameRefused, LinkEvent, MessageAbandoned, MessageReceived

_NOT_GARBAGE = re.compile(rb"[\x02\x04\x05\x03\x17]")
_BARE_START = re.compile(rb"(?:\A|[\r\n\x00-\x1f])(?=[Hh][^A-Za-z0-9\r\n])")
_BARE_END = re.compile(
    rb"[\r\n][Ll](?:[^A-Za-z0-9\x03-\x05\r\n\x17][^\x03-\x05\r\n\x17]*)?(?:[\r\n]+|(?=[\x03-\x05\x17]))"
)


def _frame_end(data: bytes | bytearray, start: int) -> int:
    """Where the first ETX or ETB from `start` on stands, or -1."""
    etx = data.find(ETX, start)
    etb = data.find(ETB, start) if etx < 0 else data.find(ETB, start, etx)
    return etx if etb < 0 else etb


class AstmReceiving(AstmLine):
    """See the module."""

    def __init__(self, options: AstmOptions) -> None:
        super().__init__(options)
        self._overflow = False
        self._next_id = 1
        self._held: HeldFrame | None = None
        self._refused = False
        """A frame was refused and no other has begun: what comes without STX belongs to it and gets no answer."""
        self._doubt = False
        """Bytes were refused since the last frame was accepted: the sender may have given up."""
        self._replied_at = 0.0
        self._assembly = Assembly(options)

    @abstractmethod
    def _read_reply(self, now: float, events: list[LinkEvent]) -> bool:
        """Read one byte as the instrument's reply to what we send."""

    @abstractmethod
    def _no_reply(self, now: float, events: list[LinkEvent]) -> None:
        """The instrument's reply did not come in time."""

    @abstractmethod
    def _bid(self, now: float) -> None:
        """Ask for the line if a message waits and the line is free."""

    @abstractmethod
    def _instrument_done(self, now: float) -> None:
        """The instrument ended its session."""

    def _restart(self) -> None:
        self._overflow = self._refused = self._doubt = False
        self._assembly.restart()

    def _abandon(self, reason: str, events: list[LinkEvent]) -> None:
        if self._assembly.frame_ids:
            events.append(MessageAbandoned(tuple(self._assembly.frame_ids), reason))
        self._restart()

    # ------------------------------------------------------------------ reading

    def _read(self, now: float, events: list[LinkEvent]) -> None:
        while self._read_some(now, events):
            pass
        self._bid(now)

    def _read_some(self, now: float, events: list[LinkEvent]) -> bool:
        """One step; False when more bytes (or an acknowledgement) are needed."""
        state = self.state
        if state is State.AWAITING_FRAME:
            return self._read_session(now, events)
        if state is State.HOLDING_FRAME:
            return False
        if state is State.NEUTRAL:
            return self._read_neutral(now, events)
        return self._read_reply(now, events)

    def _read_neutral(self, now: float, events: list[LinkEvent]) -> bool:
        buffer = self._buffer
        while buffer:
            first = buffer[0]
            if first == ENQ:
                self._drop(1)
                self._begin_session()
                return True
            if first == STX and self.options.enq_optional:
                self._restart()
                self._move_to(State.AWAITING_FRAME)
                return True
            if self.options.unframed and _BARE_START.match(buffer):
                return self._read_bare(now, events)
            self._skip_to_session(events)
        self._stop_waiting()
        return False

    def _skip_to_session(self, events: list[LinkEvent]) -> None:
        """Drop what no session holds: line noise, a late ACK, the rest of an abandoned frame."""
        places = [self._buffer.find(ENQ)]
        if self.options.enq_optional:
            places.append(self._buffer.find(STX))
        if self.options.unframed:
            bare = _BARE_START.search(self._buffer)
            places.append(bare.end() if bare is not None else -1)
        dropped = self._drop(min((place for place in places if place >= 0), default=len(self._buffer)))
        if dropped.strip(b"\r\n\x00\x04\x06\x15"):
            events.append(FrameRefused("bytes outside a session", dropped[:SHOWN]))

    def _read_bare(self, now: float, events: list[LinkEvent]) -> bool:
        """A message without frames, in a session or not: from its H record to the end of its L record."""
        end = _BARE_END.search(self._buffer, max(0, self._scanned))
        if end is not None:
            return self._hand_out_bare(end.end(), now, events)
        if len(self._buffer) > self.options.message_limit:
            events.append(FrameRefused("message longer than the limit", self._drop(len(self._buffer))[:SHOWN]))
            return True
        cut = max(self._buffer.rfind(b"\r"), self._buffer.rfind(b"\n"), 0)
        self._wait_for(Wait.BARE_MESSAGE, now + self.options.inside_frame_timeout_s)
        self._scanned = cut
        return False

    def _hand_out_bare(self, length: int, now: float, events: list[LinkEvent]) -> bool:
        raw = self._drop(length)
        answered = self.options.bare_acknowledged or self.state is State.AWAITING_FRAME
        self._hold(HeldFrame(self._next_id, raw, raw, True, now, bare=True, answered=answered), raw, events)
        events.append(MessageReceived((self._next_id - 1,), raw))
        return True

    def _begin_session(self) -> None:
        self._restart()
        self._move_to(State.AWAITING_FRAME)
        self._output.append(ACK)

    def _read_session(self, now: float, events: list[LinkEvent]) -> bool:
        self._drop_filler()
        buffer = self._buffer
        if not buffer:
            if self._wait is not Wait.FRAME:  # 6.5.2.4 counts from our reply: padding does not prolong it
                self._wait_for(Wait.FRAME, now + self.options.receive_timeout_s)
            return False
        first = buffer[0]
        if first == STX:
            return self._read_frame(now, events)
        if first in (ENQ, EOT):
            return self._read_control(first, now, events)
        if self.options.unframed and not self._assembly.frame_ids and _BARE_START.match(buffer):
            return self._read_bare(now, events)
        return self._read_garbage(now, events)

    def _read_control(self, control: int, now: float, events: list[LinkEvent]) -> bool:
        """ENQ or EOT in a session: real, or a damaged byte of a frame or of its CR LF?"""
        settled = control == EOT and not self._assembly.frame_ids
        if not settled and len(self._buffer) == 1:
            return self._wait_for(Wait.SETTLE, now + self.options.settle_s)
        if not settled and (self._buffer[1] >= 0x20 or self._buffer[1] in (STX, LF)):
            events.append(FrameRefused("damaged control byte", self._drop(1)))
            return True
        self._drop(1)
        self._act_on(control, now, events)
        return True

    def _act_on(self, control: int, now: float, events: list[LinkEvent]) -> None:
        if control == ENQ:
            self._abandon("the instrument began again (ENQ) before the message ended", events)
            self._begin_session()
            return
        if self._assembly.frame_ids and self._assembly.whole and not self._gave_up(now):
            events.append(MessageReceived(tuple(self._assembly.frame_ids), b"".join(self._assembly.texts)))
            self._restart()
        self._abandon("EOT before the message ended", events)
        self._move_to(State.NEUTRAL)
        self._instrument_done(now)

    def _gave_up(self, now: float) -> bool:
        """No L record came. Was EOT the end, or did the sender lack an answer to a frame that we never saw whole?"""
        return self._doubt or now - self._replied_at > self.options.gave_up_after_s

    def _read_garbage(self, now: float, events: list[LinkEvent]) -> bool:
        """Text without STX. With a frame's end it was a frame whose STX was damaged: the sender waits for its NAK."""
        self._doubt = True
        found = _NOT_GARBAGE.search(self._buffer, max(1, self._scanned))
        if found is None:
            self._scanned = len(self._buffer)
            if len(self._buffer) > self.options.received_text_limit:
                events.append(FrameRefused("text outside a frame", self._drop(len(self._buffer))[:SHOWN]))
                return True
            return self._wait_for(Wait.GARBAGE, now + self.options.inside_frame_timeout_s)
        if self._buffer[found.start()] in (STX, ENQ, EOT):
            events.append(FrameRefused("text outside a frame", self._drop(found.start())[:SHOWN]))
            return True
        end = found.end() + (0 if self.options.checksum is Checksum.ABSENT else 2)
        if len(self._buffer) < end:
            self._scanned = found.start()
            return self._wait_for(Wait.GARBAGE, now + self.options.inside_frame_timeout_s)
        if self._refused:  # the rest of a frame that has its NAK: a second one would answer the next frame
            events.append(FrameRefused("rest of a refused frame", self._drop(end)[:SHOWN]))
        else:
            self._nak("frame without STX", self._drop(end), events)
        return True

    def _nak(self, reason: str, raw: bytes, events: list[LinkEvent]) -> None:
        self._refused = self._doubt = True
        self._output.append(NAK)
        self._stop_waiting()
        events.append(FrameRefused(reason, raw[:SHOWN]))

    # ------------------------------------------------------------------ one frame

    def _receive_control(self, control: int, now: float, events: list[LinkEvent]) -> bool:
        """The usual ENQ before a session and EOT behind a whole message, alone and without the buffer. False: it is

        another byte, or stands elsewhere.
        """
        if control == ENQ and self.state is State.NEUTRAL:
            self._begin_session()
            self._wait_for(Wait.FRAME, now + self.options.receive_timeout_s)
            return True
        if control == EOT and self.state is State.AWAITING_FRAME and not self._assembly.frame_ids:
            self._act_on(control, now, events)
            self._bid(now)
            return True
        return False

    def _receive_frame(self, data: bytes, now: float, events: list[LinkEvent]) -> bool:
        """The usual case, without the buffer: `data` is one whole frame, alone. False: it is not."""
        end = len(data) - 5
        if (
            end < 2
            or data[0] != STX
            or data[end + 3] != CR
            or data[end + 4] != LF
            or self.state is not State.AWAITING_FRAME
            or self.options.checksum is Checksum.ABSENT
            or _frame_end(data, 1) != end
        ):
            return False
        self._take_frame(data, end, now, events)
        return True

    def _read_frame(self, now: float, events: list[LinkEvent]) -> bool:
        end = _frame_end(self._buffer, max(1, self._scanned))
        if end < 0:
            self._scanned = len(self._buffer)
            self._bound_frame()
            return self._wait_inside(now)
        length = self._frame_length(end + 1)
        if length is None:
            if self._wait is not Wait.FRAME_END or self._deadline is None:
                self._wait_for(Wait.FRAME_END, now + self.options.frame_end_wait_s)
            self._scanned = end
            return False
        if length < 0:
            self._scanned = end
            return self._wait_inside(now)
        self._take_frame(self._drop(length), end, now, events)
        return True

    def _wait_inside(self, now: float) -> bool:
        return self._wait_for(Wait.INSIDE_FRAME, now + self.options.inside_frame_timeout_s)

    def _bound_frame(self) -> None:
        """A frame that never ends: its head stays, to be shown, and the rest goes."""
        if len(self._buffer) > self.options.received_text_limit + 1:
            del self._buffer[SHOWN:]
            self._scanned = len(self._buffer)
            self._overflow = True

    def _frame_length(self, end: int) -> int | None:
        """Bytes of the frame with its CR LF; -1: the checksum is not there yet; None: CR LF may still come."""
        buffer = self._buffer
        length = end + (0 if self.options.checksum is Checksum.ABSENT else 2)
        if len(buffer) < length:
            return -1
        for wanted in (CR, LF):
            if len(buffer) == length:
                return None
            if buffer[length] == wanted:
                length += 1
            elif wanted == LF and buffer[length - 1] == CR and buffer[length] in (ENQ, EOT):
                length += 1  # a damaged LF: nothing else can stand here before our answer
        return length

    def _take_frame(self, raw: bytes, end: int, now: float, events: list[LinkEvent]) -> None:
        body = raw[1 : end + 1]
        self._refused = False
        overflow, self._overflow = self._overflow, False
        reason = "frame longer than the limit" if overflow else self._assembly.fault(body, raw[end + 1 : end + 3])
        if reason is not None:
            self._nak(reason, raw, events)
        elif self._assembly.is_repeated(body):  # it is durable already: once more the ACK, no event
            self._output.append(ACK)
            self._doubt, self._replied_at = False, now
            self._stop_waiting()
        elif not self._assembly.number_fits(body):
            self._assembly.pass_over(body)
            self._nak("frame number out of order", raw, events)
        elif not self._assembly.fits(body):
            self._abandon("message longer than the limit", events)
            self._nak("message longer than the limit", raw, events)
        else:
            self._hand_out(self._assembly.hold(self._next_id, body, now), raw, events)

    def _hand_out(self, held: HeldFrame, raw: bytes, events: list[LinkEvent]) -> None:
        self._hold(held, raw, events)
        if held.ends_message:
            before = self._assembly
            if before.texts:
                ids = (*before.frame_ids, held.frame_id)
                events.append(MessageReceived(ids, b"".join((*before.texts, held.text))))
            else:
                events.append(MessageReceived((held.frame_id,), held.text))

    def _hold(self, held: HeldFrame, raw: bytes, events: list[LinkEvent]) -> None:
        self._next_id += 1
        self._held = held
        self._move_to(State.HOLDING_FRAME)
        events.append(FrameReceived(held.frame_id, raw))

    # ------------------------------------------------------------------ timers

    def _expire(self, now: float, events: list[LinkEvent]) -> None:
        """A timer that ran out before `now`, if any."""
        if self._deadline is None or now < self._deadline:
            return
        if self.state in (State.AWAITING_ENQ_REPLY, State.AWAITING_FRAME_REPLY):
            self._no_reply(now, events)
            return
        wait = self._wait
        self._stop_waiting()
        if wait is Wait.FRAME:
            self._abandon("nothing came for the receive time-out", events)
            self._move_to(State.NEUTRAL)
        elif wait is Wait.FRAME_END:
            end = _frame_end(self._buffer, 1)
            if end > 0:
                self._take_frame(self._drop(len(self._buffer)), end, now, events)
        elif wait is Wait.SETTLE:
            self._act_on(self._drop(1)[0], now, events)
        elif wait in (Wait.INSIDE_FRAME, Wait.GARBAGE):
            self._broken_off(wait, now, events)
        elif wait is Wait.BARE_MESSAGE:
            self._bare_silence(now, events)
        self._read(now, events)

    def _broken_off(self, wait: Wait, now: float, events: list[LinkEvent]) -> None:
        """Silence inside a frame. A last byte ENQ or EOT then is the sender's own: it began again or gave up."""
        raw = self._drop(len(self._buffer))
        self._overflow = False
        self._doubt = True
        if raw[-1] in (ENQ, EOT):
            events.append(FrameRefused("frame broken off", raw[:SHOWN]))
            self._act_on(raw[-1], now, events)
        elif wait is Wait.INSIDE_FRAME and raw[1:2].isdigit():
            self._nak("frame broken off", raw, events)
        else:
            events.append(FrameRefused("text outside a frame", raw[:SHOWN]))

    def _bare_silence(self, now: float, events: list[LinkEvent]) -> None:
        """A bare message whose L record has no line end is whole all the same; any other is broken off."""
        if _BARE_END.search(self._buffer + b"\r") is not None:
            self._hand_out_bare(len(self._buffer), now, events)
        else:
            events.append(FrameRefused("message broken off", self._drop(len(self._buffer))[:SHOWN]))
