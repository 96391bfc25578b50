"""The sending side of an ASTM link: the queue, the frames of the message under way, refusals and waits.

Says what to write and what became of the message; the state belongs to `AstmLink`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from protocols.errors import LocalProtocolError
from protocols.links.astm_frames import ACK, CR, ENQ, EOT, LF, NAK, AstmOptions, cut_message
from protocols.links.contract import LinkEvent, SendCompleted, SendFailed

_QUEUE_LIMIT = 10_000


class Step(StrEnum):
    """What follows for the link."""

    GO_ON = "wait for the next reply"
    RELEASE = "the line is neutral"
    IGNORE = "no reply at all"


@dataclass(slots=True)
class Outgoing:
    token: int
    frames: list[bytes]
    position: int = 0
    refusals: int = 0
    attempts: int = 0


@dataclass(slots=True)
class Turn:
    """The answer to one reply of the instrument."""

    step: Step
    write: bytes = b""
    events: list[LinkEvent] = field(default_factory=list)


class Sending:
    def __init__(self, options: AstmOptions) -> None:
        self.options = options
        self.queue: deque[Outgoing] = deque()
        self.quiet_until = float("-inf")
        """No ENQ before this time."""
        self.yielded = False
        """We made way on contention: the wait ends when the instrument has had its session."""
        self._next_token = 1

    def put(self, payload: bytes) -> int:
        if len(self.queue) >= _QUEUE_LIMIT:
            raise LocalProtocolError("too many messages wait for the instrument")
        outgoing = Outgoing(self._next_token, cut_message(payload, self.options))
        self._next_token += 1
        self.queue.append(outgoing)
        return outgoing.token

    def may_bid(self, now: float) -> bool:
        return bool(self.queue) and now >= self.quiet_until

    def instrument_done(self, now: float) -> None:
        """The instrument ended its session."""
        if self.yielded:
            self.yielded, self.quiet_until = False, now

    def fail_all(self, reason: str) -> list[LinkEvent]:
        events: list[LinkEvent] = [SendFailed(each.token, reason) for each in self.queue]
        self.queue.clear()
        self.quiet_until, self.yielded = float("-inf"), False
        return events

    def on_enq_reply(self, reply: int, now: float) -> Turn:
        if reply == ACK:
            self.queue[0].position = 0
            return self._next_frame()
        if reply == NAK:  # 6.2.6
            return self._bid_later("the instrument is busy (NAK to ENQ)", self.options.busy_wait_s, now)
        if reply != ENQ:
            return Turn(Step.IGNORE)
        # 6.5.2.2: the instrument goes first; the host waits for its ENQ, the instrument sends it again after 1 s.
        own = self.options.right_of_way
        self.yielded = not own
        wait = self.options.right_of_way_wait_s if own else self.options.contention_wait_s
        return self._bid_later("the instrument bids for the line at the same time", wait, now)

    def on_frame_reply(self, reply: int, now: float) -> Turn:
        """ACK, EOT (accepted, please stop); any other byte counts as NAK (6.5.1.2) but CR LF behind a reply."""
        if reply in (CR, LF, 0):
            return Turn(Step.IGNORE)
        outgoing = self.queue[0]
        if reply not in (ACK, EOT):
            return self._refused(outgoing)
        outgoing.position += 1
        if outgoing.position == len(outgoing.frames):
            self.quiet_until = now + (self.options.interrupt_wait_s if reply == EOT else 0.0)
            return self._give_back(SendCompleted(outgoing.token))
        if reply == ACK:
            return self._next_frame()
        # 6.3.5 receiver interrupt: the frame was taken; end the session and be quiet for 15 s
        turn = self._bid_later("the instrument interrupts each time", self.options.interrupt_wait_s, now)
        turn.write = bytes([EOT])
        return turn

    def on_silence(self, waits_for_enq_reply: bool, now: float) -> Turn:
        """6.5.2.1 and 6.5.2.3: 15 s without a reply; end the session."""
        if waits_for_enq_reply:
            turn = self._bid_later("no answer to ENQ", self.options.busy_wait_s, now)
            turn.write = bytes([EOT])
            return turn
        self.quiet_until = now + self.options.busy_wait_s
        return self._give_back(SendFailed(self.queue[0].token, "no answer to a frame"))

    def _next_frame(self) -> Turn:
        outgoing = self.queue[0]
        outgoing.refusals = 0
        return Turn(Step.GO_ON, outgoing.frames[outgoing.position])

    def _refused(self, outgoing: Outgoing) -> Turn:
        outgoing.refusals += 1
        if outgoing.refusals >= self.options.attempts:
            return self._give_back(SendFailed(outgoing.token, "a frame was refused six times"))
        return Turn(Step.GO_ON, outgoing.frames[outgoing.position])

    def _give_back(self, event: SendCompleted | SendFailed) -> Turn:
        self.queue.popleft()
        return Turn(Step.RELEASE, bytes([EOT]), [event])

    def _bid_later(self, reason: str, wait_s: float, now: float) -> Turn:
        outgoing = self.queue[0]
        outgoing.attempts += 1
        self.quiet_until = now + wait_s
        if outgoing.attempts < self.options.attempts:
            return Turn(Step.RELEASE)
        self.queue.popleft()
        return Turn(Step.RELEASE, b"", [SendFailed(outgoing.token, reason)])
