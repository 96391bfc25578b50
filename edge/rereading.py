"""Frames that were kept, read again through a fresh link: which of them make which message.

For a start in the middle of a message (`edge.recovery`), and for a stored message whose other copy is damaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.clock import Moment
from edge.interpreter import Interpreter, Reading, interpreter_of
from edge.store.rows import NO_CONTENT, Draft, content_of, unread
from protocols.links.contract import FrameReceived, Link, LinkEvent, MessageReceived
from protocols.uplink.envelope import MessageState

_ENQ, _EOT = b"\x05", b"\x04"
_HEADER = b"\x021H"
"""A first frame: each message of most analyzers is a session of its own, whose ENQ and EOT are not kept."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """One message made of frames, by position in their list; no reading: it never ended."""

    positions: tuple[int, ...]
    reading: Reading | None


def reread(interpreter: Interpreter, raws: Sequence[bytes]) -> list[Recovered]:
    """Which frames make which message; together they cover every frame."""
    whole = _replay(interpreter.new_link(), raws)
    found = [Recovered(positions, interpreter.hear(payload)) for positions, payload in whole]
    used = {position for positions, _ in whole for position in positions}
    rest = tuple(each for each in range(len(raws)) if each not in used)
    return ([Recovered(rest, None)] if rest else []) + found


def only_message(driver_id: str, raws: Sequence[bytes]) -> bytes | None:
    """The text of the one message that these frames are, all of them; None where they are anything else."""
    if not raws:
        return None
    whole = _replay(interpreter_of(driver_id).new_link(), raws)
    return whole[0][1] if len(whole) == 1 and len(whole[0][0]) == len(raws) else None


def draft_of(interpreter: Interpreter, reading: Reading | None, at: Moment, reason: str) -> Draft:
    """The message as the store keeps it; `reason`: why it did not end, where it did not."""
    if reading is None:
        return Draft(at, interpreter.driver_id, "", MessageState.INCOMPLETE, NO_CONTENT, reason)
    if reading.decoded is None:
        return unread(at, reading.driver_id, reading.payload)
    return Draft(
        at, reading.driver_id, reading.driver_version, reading.state, content_of(reading.decoded), reading.reason
    )


def _replay(link: Link, raws: Sequence[bytes]) -> list[tuple[tuple[int, ...], bytes]]:
    """(positions, payload) of the messages that a fresh link finds in the frames without being told that they ended."""
    position_of: dict[int, int] = {}
    messages: list[tuple[tuple[int, ...], bytes]] = []
    if raws and raws[0][:1] == b"\x02":
        link.receive(_ENQ, 0.0)
    for position, raw in enumerate(raws):
        events: list[LinkEvent] = []
        if position and raw.startswith(_HEADER):
            events += link.receive(_EOT + _ENQ, 0.0)
        events += link.receive(raw, 0.0)
        for event in events:
            if isinstance(event, FrameReceived):
                position_of[event.frame_id] = position
            elif isinstance(event, MessageReceived):
                messages.append((tuple(position_of[each] for each in event.frame_ids), event.payload))
        for event in events:
            if isinstance(event, FrameReceived):
                link.acknowledge(event.frame_id, 0.0)
    return messages
