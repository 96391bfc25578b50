"""The frames of one link on their way into the store, and the messages they end.

The store executes in the order it was asked, so a message may name frames whose own commit is still under way: their
journal ids are filled in by then, in the writer's thread, and the ledger leaves out what was refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edge.clock import Clock, Moment
from edge.errors import StoreError
from edge.interpreter import Reading
from edge.store.ledger import Ledger
from edge.store.rows import NO_CONTENT, Draft, Kept, content_of, unread
from edge.store.store import Store
from protocols.links.contract import FrameReceived
from protocols.uplink.envelope import MessageState

_RETRY_S = 5.0

Answer = Callable[[Kept | None, StoreError | None], None]


@dataclass(slots=True)
class _Frame:
    raw: bytes
    journal_id: int | None = None


class Intake:
    """`set_aside` is called with the sequence and the reason when an incomplete message has become durable."""

    def __init__(
        self, link_id: str, driver_id: str, store: Store, clock: Clock, set_aside: Callable[[int, str], None]
    ) -> None:
        self._link_id = link_id
        self._driver_id = driver_id
        self._store = store
        self._clock = clock
        self._was_set_aside = set_aside
        self._loop = asyncio.get_running_loop()
        self._frames: dict[int, _Frame] = {}
        self._asked = 0

    @property
    def busy(self) -> bool:
        """Is an answer of the store still to come?"""
        return self._asked > 0

    @property
    def has_open_frames(self) -> bool:
        """Did frames come whose message has not ended?"""
        return bool(self._frames)

    def keep(
        self, fresh: Sequence[FrameReceived], reading: Reading | None, message_ids: Sequence[int], answer: Answer
    ) -> None:
        """Ask the store for these frames and, with `reading`, for the message of `message_ids` that they end."""
        frames = [_Frame(each.raw) for each in fresh]
        earlier = [self._frames[each] for each in message_ids if each in self._frames]
        ids = [each.frame_id for each in fresh]
        for frame_id, frame in zip(ids, frames, strict=True):
            self._frames[frame_id] = frame
        at = self._clock.now()
        draft = None if reading is None else _draft(reading, at)
        self._asked += 1

        def work(ledger: Ledger) -> Kept:
            kept = ledger.keep(self._link_id, [each.raw for each in frames], at, _still_open(ledger, earlier), draft)
            for frame, journal_id in zip(frames, kept.frames, strict=True):
                frame.journal_id = journal_id
            return kept

        def done(kept: Kept | None, error: StoreError | None) -> None:
            self._asked -= 1
            # After a refusal only the frames are gone; the earlier ones wait for the instrument to repeat the last.
            for each in ids if error is not None else [*message_ids, *ids] if reading is not None else ():
                self._frames.pop(each, None)
            answer(kept, error)

        self._store.submit(work, done)

    def set_aside(self, frame_ids: Iterable[int], reason: str) -> None:
        """Frames whose message never ended: an incomplete message, kept and shown, never applied."""
        frames = [self._frames.pop(each) for each in frame_ids if each in self._frames]
        if not frames:
            return
        at = self._clock.now()
        draft = Draft(at, self._driver_id, "", MessageState.INCOMPLETE, NO_CONTENT, reason)

        def work(ledger: Ledger) -> Kept:
            earlier = _still_open(ledger, frames)
            return ledger.keep(self._link_id, (), at, earlier, draft) if earlier else Kept((), None)

        def done(kept: Kept | None, error: StoreError | None) -> None:
            if error is not None:  # the frames are durable: only their closing waits for room
                self._loop.call_later(_RETRY_S, self._store.submit, work, done)
            elif kept is not None and kept.sequence is not None:
                self._was_set_aside(kept.sequence, reason)

        self._store.submit(work, done)

    def set_aside_all(self, reason: str) -> None:
        self.set_aside(list(self._frames), reason)


def _still_open(ledger: Ledger, frames: Iterable[_Frame]) -> list[int]:
    return [each.journal_id for each in frames if each.journal_id is not None and ledger.is_open(each.journal_id)]


def _draft(reading: Reading, at: Moment) -> Draft:
    if reading.decoded is None:
        return unread(at, reading.driver_id, reading.payload)
    return Draft(
        received_at=at,
        driver=reading.driver_id,
        driver_version=reading.driver_version,
        state=reading.state,
        content=content_of(reading.decoded),
        reason=reading.reason,
    )
