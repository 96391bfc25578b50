"""One instrument: port x link x driver x store.

The walk of a frame: `received` → link → `Store.keep` → (commit) → `_durable` → link.acknowledge → bytes to the port. A
message goes the same way together with the frames that ended it, and is answered (HL7 acknowledgement, host query from
the box's own worklist) after the commit. What the store refuses is refused on the line: the instrument keeps it.

Everything runs on the event loop and in the order the instrument sent it; the store answers in the order it was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import structlog

from edge.clock import Clock
from edge.config import LinkSection
from edge.errors import StoreError
from edge.faults import where
from edge.intake import Intake
from edge.interpreter import Interpreter, Reading, answers, refusals
from edge.ports.contract import Connection
from edge.store.reader import Reader
from edge.store.rows import Kept
from edge.store.store import Store
from protocols.links.contract import (
    FrameReceived,
    FrameRefused,
    LinkEvent,
    MessageAbandoned,
    MessageReceived,
    SendCompleted,
    SendFailed,
)
from protocols.model import Order
from protocols.uplink.envelope import MessageState

_PAUSE_ABOVE_BYTES = 64 * 1024
"""Bytes taken from the port since the store last answered; above, the port is not read."""

log = structlog.get_logger()


@dataclass(slots=True)
class Counts:
    """Since the daemon started."""

    messages: int = 0
    undecoded: int = 0
    refused_frames: int = 0
    """Bytes that failed their check, and frames the store could not keep."""
    queries: int = 0
    answered_queries: int = 0
    queries_without_order: int = 0
    failed_answers: int = 0
    faults: int = 0


class Session:
    """The line of one instrument (an `edge.ports.contract.Line`)."""

    def __init__(
        self, section: LinkSection, store: Store, reader: Reader, clock: Clock, announce: Callable[[str], None]
    ) -> None:
        """`announce` is told the link's id whenever a message of it became durable."""
        self.link_id = section.id
        self.interpreter = Interpreter(section.driver, section.options)
        self.counts = Counts()
        self._zone = ZoneInfo(section.timezone)
        self._link = self.interpreter.new_link()
        self._intake = Intake(section.id, section.driver, store, clock, self._set_aside)
        self._reader = reader
        self._clock = clock
        self._announce = announce
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._generation = 0
        self._unanswered_bytes = 0
        self._paused = False
        self._query_answers: dict[int, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._refusing = False
        if self._link.wake_at is not None:  # it speaks first: a device that is polled, whether its line is open or not
            self._loop.call_soon(self._woken)

    # ------------------------------------------------------------------ what the port tells

    def opened(self, connection: Connection, peer: str) -> None:
        self._connection = connection
        self._generation += 1
        self._unanswered_bytes, self._paused = 0, False
        log.info("link.opened", link=self.link_id, peer=peer)

    def received(self, data: bytes) -> None:
        self._unanswered_bytes += len(data)
        self._step(self._link.receive, data)
        if self._unanswered_bytes > _PAUSE_ABOVE_BYTES and self._intake.busy and not self._paused and self._connection:
            self._paused = True
            self._connection.pause()

    def closed(self, reason: str) -> None:
        self._generation += 1
        self._step(self._link.disconnected)
        self._connection = None
        self._query_answers.clear()
        log.info("link.closed", link=self.link_id, reason=reason)

    # ------------------------------------------------------------------ the loop

    def _step(self, act: Callable[..., list[LinkEvent]], *arguments: object) -> None:
        """One act on the link (its time comes last), what follows from it, and its bytes to the port."""
        now = self._loop.time()
        try:
            events = act(*arguments, now)
            if events:
                self._take(events)
            self._flush(now)
        except Exception as fault:  # outer loop of the session: one bad link never harms another
            self.counts.faults += 1
            log.error("session.fault", link=self.link_id, fault=where(fault))
            self._start_again()

    def _flush(self, now: float) -> None:
        while True:
            data = self._link.bytes_to_send()
            if data and self._connection is not None:
                self._connection.write(data)
            wake_at = self._link.wake_at
            if wake_at is None:
                return
            if wake_at > now:
                self._wake_at(wake_at)
                return
            before = self._link.wake_at
            self._take(self._link.wake(now))
            if self._link.wake_at == before:  # it has nothing to do yet
                self._wake_at(now + 0.05)
                return

    def _set_aside(self, sequence: int, reason: str) -> None:
        log.warning("message.incomplete", link=self.link_id, sequence=sequence, reason=reason)
        self._announce(self.link_id)

    def _wake_at(self, moment: float) -> None:
        """Waking early is harmless, so that a timer that is due earlier stays: most frames move only the deadline."""
        if self._timer is not None:
            if self._timer.when() <= moment:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self._step(self._link.wake)

    def _start_again(self) -> None:
        """After a fault of ours: a fresh link; what was durable becomes an incomplete message, nothing is forgotten."""
        self._generation += 1
        self._link = self.interpreter.new_link()
        self._intake.set_aside_all("the box began this line again")
        if self._connection is not None:
            self._connection.close("the box begins this line again")

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
                self.counts.refused_frames += 1
                log.info("frame.refused", link=self.link_id, reason=event.reason, size=len(event.raw))
            else:
                self._sent(event)
        self._keep_others(fresh, ())

    def _keep_others(self, fresh: list[FrameReceived], own_ids: tuple[int, ...]) -> list[FrameReceived]:
        """The fresh frames of another message than the one that ends now are kept first; gives back its own."""
        for each in fresh:
            if each.frame_id not in own_ids:
                self._keep([each])
        return [each for each in fresh if each.frame_id in own_ids]

    def _sent(self, event: SendCompleted | SendFailed) -> None:
        queries = self._query_answers.pop(event.token, 0)
        if isinstance(event, SendCompleted):
            self.counts.answered_queries += queries
        else:
            self.counts.failed_answers += 1
            log.warning("answer.failed", link=self.link_id, reason=event.reason)

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
        if reading is not None and reading.decoded is not None:
            self._step(self._answer, reading)

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

    def _answer(self, reading: Reading, now: float) -> list[LinkEvent]:
        queries = reading.queries
        orders = self._orders(reading) if queries else {}
        tokens = [self._link.send(each, now) for each in answers(reading, orders, self._wall_clock())]
        self.counts.queries += len(queries)
        if tokens and queries:
            self._query_answers[tokens[-1]] = len(queries)
        return []

    def _orders(self, reading: Reading) -> dict[str, list[Order]]:
        """From the box's own worklist: the cloud may be away."""
        at = self._clock.now()
        specimens = [each for query in reading.queries for each in query.specimens]
        found = self._reader.orders(self.link_id, specimens, at)
        for specimen, orders in found.items():
            if not orders:
                self.counts.queries_without_order += 1
                log.warning("query.no_order", link=self.link_id, specimen=specimen)
        if any(query.everything for query in reading.queries):
            found.update(self._reader.every_order(self.link_id, at))
        return found

    def _wall_clock(self) -> datetime:
        """What the instrument's own clock would show."""
        return self._clock.now().at.astimezone(self._zone)
