"""One instrument: port x link x driver x store.

The walk of a frame: `received` → link → `Store.keep` → (commit) → `_durable` → link.acknowledge → bytes to the port. A
message goes the same way together with the frames that ended it, and is answered (`answering`) after the commit. What
the store refuses is refused on the line: the instrument keeps it.

Everything runs on the event loop and in the order the instrument sent it; the store answers in the order it was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import structlog

from edge.answering import Answering
from edge.clock import Clock
from edge.config import LinkSection
from edge.counts import Counts
from edge.desk import CloudDesk
from edge.errors import StoreError
from edge.intake import Intake
from edge.interpreter import Interpreter, Reading, refusals
from edge.ports.contract import Connection
from edge.store.reader import Reader
from edge.store.rows import Kept
from edge.store.store import Store
from edge.turns import Turns
from protocols.links.contract import (
    FrameReceived,
    FrameRefused,
    LinkEvent,
    MessageAbandoned,
    MessageReceived,
)
from protocols.uplink.envelope import MessageState

_PAUSE_ABOVE_BYTES = 64 * 1024
"""Bytes taken from the port since the store last answered; above, the port is not read."""
_LOG_REFUSED_EVERY_S = 10.0

log = structlog.get_logger()


class Session(Turns):
    """The line of one instrument (an `edge.ports.contract.Line`)."""

    def __init__(
        self,
        section: LinkSection,
        store: Store,
        reader: Reader,
        clock: Clock,
        announce: Callable[[str], None],
        desk: CloudDesk | None = None,
    ) -> None:
        """`announce` is told the link's id whenever a message of it became durable; `desk` asks the cloud."""
        self.interpreter = Interpreter(section.driver, section.options)
        super().__init__(section.id, self.interpreter.new_link)
        self.counts = Counts()
        self._zone = ZoneInfo(section.timezone)
        self._intake = Intake(section.id, section.driver, store, clock, self._set_aside)
        self._clock = clock
        self._announce = announce
        self._generation = 0
        self._unanswered_bytes = 0
        self._paused = False
        self._refusing = False
        self._not_logged = 0
        self._log_next_at = 0.0
        self._talked = False
        self._answering = Answering(
            section,
            self.interpreter,
            store,
            reader,
            clock,
            self.counts,
            desk,
            send=self._say,
            quiet=self._quiet,
            wall=self._wall_clock,
            announce=announce,
        )

    # ------------------------------------------------------------------ what the port tells

    def opened(self, connection: Connection, peer: str) -> None:
        self._connection = connection
        self._generation += 1
        self._unanswered_bytes, self._paused = 0, False
        self._talked = True
        self._answering.opened()
        log.info("link.opened", link=self.link_id, peer=peer)

    def received(self, data: bytes) -> None:
        self._unanswered_bytes += len(data)
        self._talked = True
        if self.tap is not None:
            self.tap(True, data)
        self._step(self._link.receive, data)
        if self._unanswered_bytes > _PAUSE_ABOVE_BYTES and self._intake.busy and not self._paused and self._connection:
            self._paused = True
            self._connection.pause()

    def closed(self, reason: str) -> None:
        self._generation += 1
        self._step(self._link.disconnected)
        self._connection = None
        self._answering.closed()
        log.info("link.closed", link=self.link_id, reason=reason)

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    @property
    def in_message(self) -> bool:
        """Would the instrument have to say something again if the line closed now?"""
        return self.is_connected and (self._intake.busy or self._intake.has_open_frames)

    def end(self) -> None:
        """The link is taken out of service: it sends nothing any more."""
        self._answering.end()
        if self._timer is not None:
            self._timer.cancel()

    def _set_aside(self, sequence: int, reason: str) -> None:
        log.warning("message.incomplete", link=self.link_id, sequence=sequence, reason=reason)
        self._announce(self.link_id)

    def _begins_again(self) -> None:
        """What was durable becomes an incomplete message, nothing is forgotten."""
        self.counts.faults += 1
        self._generation += 1
        self._answering.closed()
        self._intake.set_aside_all("the box began this line again")

    # ------------------------------------------------------------------ what the link found

    def _take(self, events: Sequence[LinkEvent]) -> None:
        """Frames alone go into the store alone; the frames that end a message go in with it, in one transaction."""
        if len(events) == 1 and isinstance(events[0], FrameReceived):  # nearly always
            self._keep([events[0]])
            return
        fresh: list[FrameReceived] = []
        for event in events:
            if isinstance(event, FrameReceived):
                fresh.append(event)
            elif isinstance(event, MessageReceived):
                own = self._keep_others(fresh, event.frame_ids)
                self._keep(own, self.interpreter.hear(event.payload), event.frame_ids)
                fresh = []
            elif isinstance(event, MessageAbandoned):
                for each in self._keep_others(fresh, event.frame_ids):
                    self._keep([each])
                self._intake.set_aside(event.frame_ids, event.reason)
                fresh = []
            elif isinstance(event, FrameRefused):
                self._heard_wrong(event)
            else:
                self._answering.sent(event)
        self._keep_others(fresh, ())

    def _heard_wrong(self, refused: FrameRefused) -> None:
        """A noisy line has thousands a second: the log hears of the first and then now and then how many they were."""
        self.counts.refused_frames += 1
        self._not_logged += 1
        if (now := self._loop.time()) >= self._log_next_at:
            facts = {"reason": refused.reason, "size": len(refused.raw), "frames": self._not_logged}
            log.info("frame.refused", link=self.link_id, **facts)
            self._not_logged, self._log_next_at = 0, now + _LOG_REFUSED_EVERY_S

    def _keep_others(self, fresh: list[FrameReceived], own_ids: tuple[int, ...]) -> list[FrameReceived]:
        """The fresh frames of another message than the one that ends now are kept first; gives back its own."""
        for each in fresh:
            if each.frame_id not in own_ids:
                self._keep([each])
        return [each for each in fresh if each.frame_id in own_ids]

    # ------------------------------------------------------------------ into the store and back

    def _keep(
        self, fresh: list[FrameReceived], reading: Reading | None = None, message_ids: tuple[int, ...] = ()
    ) -> None:
        generation = self._generation
        ids = [each.frame_id for each in fresh]

        def done(kept: Kept | None, error: StoreError | None) -> None:
            self._unanswered_bytes = 0
            if kept is not None:
                self._durable(generation, ids, reading, kept)
            else:
                self._refused(generation, ids, reading, str(error))
                if generation != self._generation:  # nobody repeats the frame that ended the message
                    self._intake.set_aside(message_ids, "the box could not keep its end")
            self._resume()

        self._intake.keep(fresh, reading, message_ids, done)

    def _durable(self, generation: int, frame_ids: list[int], reading: Reading | None, kept: Kept) -> None:
        """The commit has returned: now, and not before, the instrument may hear so."""
        self._refusing = False
        if reading is not None:
            self._message_is_durable(reading, kept)
        if generation != self._generation:
            return  # another connection by now: the instrument sends again what it heard nothing about
        if len(frame_ids) == 1:
            self._step(self._link.acknowledge, frame_ids[0])
        else:
            self._step(self._acknowledge, frame_ids)
        if reading is not None and reading.is_owed:
            self._answer(reading)

    def _message_is_durable(self, reading: Reading, kept: Kept) -> None:
        self.counts.messages += 1
        if reading.state is MessageState.UNDECODED and reading.decoded is not None:
            self.counts.undecoded += 1
            facts = {"sequence": kept.sequence, "driver": reading.driver_id, "reason": reading.reason}
            log.warning("message.undecoded", link=self.link_id, **facts)
        self._announce(self.link_id)

    def _acknowledge(self, frame_ids: list[int], now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = []
        for each in frame_ids:
            events += self._link.acknowledge(each, now)
        return events

    def _refused(self, generation: int, frame_ids: list[int], reading: Reading | None, reason: str) -> None:
        """Nothing of it was kept: the instrument hears no and keeps it."""
        self.counts.refused_frames += len(frame_ids)
        if not self._refusing:
            self._refusing = True
            log.error("link.refusing", link=self.link_id, reason=reason)
        if generation == self._generation:
            self._step(self._refuse, frame_ids, reading, reason)

    def _refuse(self, frame_ids: list[int], reading: Reading | None, reason: str, now: float) -> list[LinkEvent]:
        events: list[LinkEvent] = []
        for each in frame_ids:
            events += self._link.refuse(each, now)
        for refusal in refusals(reading, reason, self._wall_clock()) if reading else ():
            self._link.send(refusal, now)
        return events

    def _resume(self) -> None:
        if self._paused and self._connection is not None:
            self._paused = False
            self._connection.resume()

    # ------------------------------------------------------------------ answers

    def _answer(self, reading: Reading) -> None:
        try:
            self._answering.answer(reading)
        except Exception as fault:  # outer loop of the session, around what a driver says
            self._failed(fault)

    def _quiet(self) -> bool:
        """Is the line open, and did the instrument say nothing since this was asked last?"""
        talked, self._talked = self._talked, False
        return self._connection is not None and not talked and not self._intake.busy

    def _wall_clock(self) -> datetime:
        """What the instrument's own clock would show."""
        return self._clock.now().at.astimezone(self._zone)
