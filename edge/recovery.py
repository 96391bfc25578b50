"""What the box had acknowledged when it was stopped in the middle of a message.

The frames are read again through a fresh link. A message that had come to its terminator is a message; what had not is
kept as incomplete: the instrument sends it again from the beginning, and what it heard an ACK for is not thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.clock import Moment
from edge.interpreter import Interpreter, Reading
from edge.store.ledger import Ledger
from edge.store.rows import NO_CONTENT, Draft, OpenFrame, content_of, unread
from edge.store.store import Store
from protocols.links.contract import FrameReceived, Link, LinkEvent, MessageReceived
from protocols.uplink.envelope import MessageState

_ENQ = b"\x05"
REASON = "the box stopped before the message ended"


@dataclass(frozen=True, slots=True)
class Recovered:
    """One message made of frames that were open, by position in their list; no reading: it never ended."""

    positions: tuple[int, ...]
    reading: Reading | None


def recover(link_id: str, interpreter: Interpreter, frames: Sequence[OpenFrame], store: Store) -> list[int]:
    """Make messages of a link's open frames, before its port is opened. Gives their sequences."""
    drafts = []
    for found in reread(interpreter, [each.raw for each in frames]):
        last = frames[found.positions[-1]]
        at = Moment(last.received_at, last.clock_sure)
        drafts.append(([frames[each].id for each in found.positions], at, _draft(interpreter, found.reading, at)))

    def work(ledger: Ledger) -> list[int]:
        kept = [ledger.keep(link_id, (), at, ids, draft) for ids, at, draft in drafts]
        return [each.sequence for each in kept if each.sequence is not None]

    sequences: list[int] = store.write(work)
    return sequences


def reread(interpreter: Interpreter, raws: Sequence[bytes]) -> list[Recovered]:
    """Which frames make which message; together they cover every frame."""
    whole = _replay(interpreter.new_link(), raws)
    found = [Recovered(positions, interpreter.hear(payload)) for positions, payload in whole]
    used = {position for positions, _ in whole for position in positions}
    rest = tuple(each for each in range(len(raws)) if each not in used)
    return ([Recovered(rest, None)] if rest else []) + found


def _replay(link: Link, raws: Sequence[bytes]) -> list[tuple[tuple[int, ...], bytes]]:
    """(positions, payload) of the messages that a fresh link finds in the frames without being told that they ended."""
    position_of: dict[int, int] = {}
    messages: list[tuple[tuple[int, ...], bytes]] = []
    if raws and raws[0][:1] == b"\x02":
        link.receive(_ENQ, 0.0)
    for position, raw in enumerate(raws):
        events: list[LinkEvent] = link.receive(raw, 0.0)
        for event in events:
            if isinstance(event, FrameReceived):
                position_of[event.frame_id] = position
            elif isinstance(event, MessageReceived):
                messages.append((tuple(position_of[each] for each in event.frame_ids), event.payload))
        for event in events:
            if isinstance(event, FrameReceived):
                link.acknowledge(event.frame_id, 0.0)
    return messages


def _draft(interpreter: Interpreter, reading: Reading | None, at: Moment) -> Draft:
    if reading is None:
        return Draft(at, interpreter.driver_id, "", MessageState.INCOMPLETE, NO_CONTENT, REASON)
    if reading.decoded is None:
        return unread(at, reading.driver_id, reading.payload)
    return Draft(
        at, reading.driver_id, reading.driver_version, reading.state, content_of(reading.decoded), reading.reason
    )
