"""What a link's stored messages would have become under other settings. Reads only, in any thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.config import LinkSection
from edge.interpreter import Interpreter, Reading
from edge.store.reader import Reader
from protocols.links.contract import FrameReceived, Link, LinkEvent, MessageReceived
from protocols.uplink.asking import BOX
from protocols.uplink.envelope import MessageState

_ENQ = b"\x05"
_MOST_BYTES = 4 * 1024 * 1024
_LATER_S = 3600.0
"""Silence ends a message on lines that have no other end."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Of `messages` stored transmissions so many gave whole messages that were decoded, with so many items."""

    messages: int
    decoded: int
    items: int
    reason: str = ""
    """Why the first one failed that did."""


def newest_raws(reader: Reader, link: str, count: int, after: int = 0) -> list[bytes]:
    """The newest transmissions of a link behind sequence `after`, the oldest first; bounded in bytes."""
    last = next((each.last_sequence for each in reader.positions() if each.link == link), 0)
    first = max(after + 1, last - count + 1)
    found = reader.between(link, first, last, count, _MOST_BYTES) if last >= first and count else []
    return [each.raw for each in found if each.raw and each.driver != BOX and each.state != MessageState.INCOMPLETE]


def try_out(section: LinkSection, raws: Sequence[bytes]) -> Tried:
    """Each transmission through a fresh link and the driver, as the section sets them."""
    interpreter = Interpreter(section.driver, section.options)
    decoded = items = 0
    first_failure = ""
    for raw in raws:
        readings = [interpreter.read(each) for each in _payloads(interpreter, raw)]
        failed = [each for each in readings if each.state is not MessageState.DECODED]
        if readings and not failed:
            decoded += 1
            items += sum(len(each.decoded.items) for each in readings if each.decoded is not None)
        elif not first_failure:
            first_failure = _why(failed)
    return Tried(len(raws), decoded, items, first_failure)


@dataclass(frozen=True, slots=True)
class Comparison:
    before: Tried
    after: Tried

    @property
    def found(self) -> str:
        if not self.after.messages:
            return "no stored message to try it with"
        now = f"{self.after.decoded} of the last {self.after.messages} messages decode ({self.after.items} items)"
        return f"{now}, before {self.before.decoded} ({self.before.items} items)"

    @property
    def refusal(self) -> str:
        """Why these settings are worse; "" when they are not."""
        if self.after.decoded >= self.before.decoded:
            return ""
        few = f"{self.after.decoded} of the last {self.after.messages} messages decode, before {self.before.decoded}"
        return f"{few}: {self.after.reason}"


def compare(before: LinkSection, after: LinkSection, raws: Sequence[bytes]) -> Comparison:
    return Comparison(try_out(before, raws), try_out(after, raws))


def _why(failed: Sequence[Reading]) -> str:
    return (failed[0].reason or "not decoded") if failed else "its frames make no message on such a line"


def _payloads(interpreter: Interpreter, raw: bytes) -> list[bytes]:
    """The messages in one transmission; where an ENQ came before its frames, it is not among what is stored."""
    if raw[:1] == b"\x02" and (found := _replay(interpreter.new_link(), _ENQ, raw)):
        return found
    return _replay(interpreter.new_link(), raw)


def _replay(link: Link, *pieces: bytes) -> list[bytes]:
    payloads: list[bytes] = []

    def take(events: Sequence[LinkEvent], now: float) -> None:
        pending = list(events)
        while pending:
            event = pending.pop(0)
            if isinstance(event, FrameReceived):
                pending += link.acknowledge(event.frame_id, now)
            elif isinstance(event, MessageReceived):
                payloads.append(event.payload)
            link.bytes_to_send()

    for piece in pieces:
        take(link.receive(piece, 0.0), 0.0)
    if not payloads and link.wake_at is not None:
        take(link.wake(_LATER_S), _LATER_S)
    return payloads
