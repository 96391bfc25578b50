"""What the box had acknowledged when it was stopped in the middle of a message.

The frames are read again through a fresh link. A message that had come to its terminator is a message; what had not is
kept as incomplete: the instrument sends it again from the beginning, and what it heard an ACK for is not thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.clock import Moment
from edge.interpreter import Interpreter
from edge.rereading import draft_of, reread
from edge.store.ledger import Ledger
from edge.store.rows import OpenFrame
from edge.store.store import Store

REASON = "the box stopped before the message ended"


def recover(link_id: str, interpreter: Interpreter, frames: Sequence[OpenFrame], store: Store) -> list[int]:
    """Make messages of a link's open frames, before its port is opened. Gives their sequences."""
    drafts = []
    for found in reread(interpreter, [each.raw for each in frames]):
        last = frames[found.positions[-1]]
        at = Moment(last.received_at, last.clock_sure)
        drafts.append(
            ([frames[each].id for each in found.positions], at, draft_of(interpreter, found.reading, at, REASON))
        )

    def work(ledger: Ledger) -> list[int]:
        kept = [ledger.keep(link_id, (), at, ids, draft) for ids, at, draft in drafts]
        return [each.sequence for each in kept if each.sequence is not None]

    sequences: list[int] = store.write(work)
    return sequences
