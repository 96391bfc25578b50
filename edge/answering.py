"""What one instrument is owed: acknowledgements and answers to its host queries, in the order of its messages.

A query is answered from the box's own worklist. Only about a tube that is not on it the cloud is asked, for a few
seconds at most (`ask_cloud_s` of the link) and not at all while it is away; the answers of one link keep the order of
its queries, its other messages and the other links do not wait. A tube that gets no order is written down, told to the
cloud as a message of the link, and shown.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from edge.clock import Clock
from edge.config import LinkSection
from edge.counts import Counts
from edge.desk import CloudDesk
from edge.downloading import Downloads, Send
from edge.errors import StoreError
from edge.interpreter import Interpreter, Reading, answers, software_version
from edge.order_plan import Abilities, abilities, numbered
from edge.store import orders as book
from edge.store.ledger import Ledger
from edge.store.reader import Reader
from edge.store.rows import Draft, content_of
from edge.store.store import Store
from protocols.driver import Driver
from protocols.links.contract import SendCompleted, SendFailed
from protocols.model import Decoded, HostQuery, Order, UnansweredQuery
from protocols.uplink.asking import BOX, Finding, NoOrder
from protocols.uplink.envelope import MessageState
from protocols.uplink.items import encode_item

_ASK_CLOUD_S = 3.0
_ASK_CLOUD_TEXT_S = 1.0
"""Families of plain text wait for their answer with the line occupied, and alarm soon."""
_MOST_WAITING = 50
"""Queries of one link that wait for the cloud; more are answered from the box alone."""
_TELL_AGAIN_S = 600.0
"""A tube that is asked about over and over is told to the cloud once in so long."""

log = structlog.get_logger()


def _forget(_tokens: list[int]) -> None:
    """Nobody asks what became of an acknowledgement."""


@dataclass(slots=True)
class _Pending:
    """A query and what was found for it."""

    reading: Reading
    orders: dict[str, list[Order]]
    reasons: dict[str, str] = field(default_factory=dict)
    """Of each tube without an order."""
    from_cloud: set[str] = field(default_factory=set)
    """Tubes whose order the cloud gave, and not the worklist."""
    ready: bool = True


@dataclass(slots=True)
class _Answered:
    """An answer on its way to the instrument."""

    queries: int
    orders: Mapping[str, Sequence[Order]]
    from_cloud: Collection[str]


class Answering:
    """Of one link. `send` writes payloads to the instrument in a turn of the link (`edge.turns`)."""

    def __init__(
        self,
        section: LinkSection,
        interpreter: Interpreter,
        store: Store,
        reader: Reader,
        clock: Clock,
        counts: Counts,
        desk: CloudDesk | None,
        *,
        send: Send,
        quiet: Callable[[], bool],
        wall: Callable[[], datetime],
        announce: Callable[[str], None],
    ) -> None:
        self._link = section.id
        self._store, self._reader, self._clock, self._counts = store, reader, clock, counts
        self._desk, self._send, self._wall, self._announce = desk, send, wall, announce
        self._loop = asyncio.get_running_loop()
        self._can: Abilities = abilities(interpreter.driver, section.orders)
        self._ask_cloud_s = section.ask_cloud_s
        self._waiting: deque[_Pending] = deque()
        self._under_way: dict[int, _Answered] = {}
        self._told: dict[str, tuple[str, float]] = {}
        """Tube without an order: the reason told to the cloud, and when (loop time)."""
        self._downloads: Downloads | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        if interpreter.driver is not None and (self._can.pushes or self._can.by_number):
            self._downloads = Downloads(
                self._link,
                interpreter.driver,
                self._can,
                store,
                reader,
                clock,
                counts,
                quiet=quiet,
                send=send,
                wall=wall,
            )
            if desk is not None:
                self._unsubscribe = desk.subscribe(self._downloads.worklist_moved)

    # ------------------------------------------------------------------ what the session tells

    def opened(self) -> None:
        if self._downloads is not None:
            self._downloads.opened()

    def closed(self) -> None:
        """Nobody waits for these answers any more: the instrument asks again."""
        self._waiting.clear()
        self._under_way.clear()
        if self._downloads is not None:
            self._downloads.closed()

    def end(self) -> None:
        """The link is taken out of service."""
        self.closed()
        self._unsubscribe()

    def sent(self, event: SendCompleted | SendFailed) -> None:
        if self._downloads is not None and self._downloads.sent(event):
            return
        answered = self._under_way.pop(event.token, None)
        if isinstance(event, SendFailed):
            self._counts.failed_answers += 1
            log.warning("answer.failed", link=self._link, reason=event.reason)
        elif answered is not None:
            self._counts.answered_queries += answered.queries
            if self._downloads is not None:
                self._downloads.told(answered.orders, answered.from_cloud)

    def answer(self, reading: Reading) -> None:
        """A message is durable: give what is owed for it, now or when the cloud has answered."""
        queries = reading.queries
        if not queries:
            self._send(answers(reading, {}, self._wall()), _forget)
            if self._downloads is not None and reading.decoded is not None:
                self._downloads.heard(reading.decoded.items)
            return
        self._counts.queries += len(queries)
        pending = self._look_up(reading, queries)
        self._waiting.append(pending)
        unknown = [each for each in pending.reasons if not pending.orders[each]]
        if unknown and self._desk is not None and (wait_s := self._wait_s(reading.driver)):
            pending.ready = False
            self._counts.asked_cloud += len(unknown)
            self._desk.ask(self._link, unknown, wait_s, lambda found: self._found(pending, found))
        self._give_ready()

    # ------------------------------------------------------------------ queries

    def _look_up(self, reading: Reading, queries: Sequence[HostQuery]) -> _Pending:
        """From the box's own worklist: the cloud may be away."""
        at = self._clock.now()
        specimens = [each for query in queries for each in query.specimens]
        found = self._reader.orders(self._link, specimens, at)
        pending = _Pending(reading, found, {each: NoOrder.NOT_ASKED for each, orders in found.items() if not orders})
        if any(query.everything for query in queries):
            found.update(self._reader.every_order(self._link, at))
        return pending

    def _wait_s(self, driver: Driver | None) -> float:
        """0: the cloud is not asked."""
        if driver is None or not driver.answers_host_queries or len(self._waiting) > _MOST_WAITING:
            return 0.0
        if self._ask_cloud_s is not None:
            return self._ask_cloud_s
        return _ASK_CLOUD_TEXT_S if driver.protocol == "text" else _ASK_CLOUD_S

    def _found(self, pending: _Pending, found: Mapping[str, Finding]) -> None:
        at = self._clock.now()
        for specimen, finding in found.items():
            if specimen not in pending.reasons:
                continue
            # Its worklist may have come while we asked, and it says more than an answer on its way.
            known = self._reader.orders(self._link, [specimen], at)[specimen]
            if not known and finding.order is not None and not finding.order.cancelled and finding.order.codes:
                known = [finding.order]
                pending.from_cloud.add(specimen)
                self._counts.orders_from_cloud += 1
            pending.orders[specimen] = known
            pending.reasons[specimen] = finding.reason or NoOrder.UNKNOWN
        pending.ready = True
        self._give_ready()

    def _give_ready(self) -> None:
        """Answers go out in the order of the queries."""
        while self._waiting and self._waiting[0].ready:
            self._give(self._waiting.popleft())

    def _give(self, pending: _Pending) -> None:
        reading, now = pending.reading, self._wall()
        orders: dict[str, list[Order]] = pending.orders
        if self._can.by_number:
            orders = {specimen: [numbered(each, now) for each in known] for specimen, known in orders.items()}
        answered = _Answered(len(reading.queries), orders, pending.from_cloud)

        def note(tokens: list[int]) -> None:
            self._under_way[tokens[-1]] = answered

        self._send(answers(reading, orders, now), note)
        if reading.driver is not None and reading.driver.answers_host_queries:
            self._write_down(pending)

    # ------------------------------------------------------------------ tubes without an order

    def _write_down(self, pending: _Pending) -> None:
        for query in pending.reading.queries:
            for specimen in query.specimens:
                if pending.orders.get(specimen):
                    self._had_its_order(specimen)
                else:
                    self._unanswered(specimen, query, pending.reasons.get(specimen, NoOrder.UNKNOWN))
            if not query.specimens and not query.everything:
                self._unanswered(None, query, NoOrder.NO_BARCODE)

    def _unanswered(self, specimen: str | None, query: HostQuery, reason: str) -> None:
        """Durable here, and in a message of the link for the cloud: once for each reason, and now and then again."""
        self._counts.queries_without_order += 1
        log.warning("query.no_order", link=self._link, specimen=specimen, reason=str(reason))
        at, now = self._clock.now(), self._loop.time()
        what = book.what(specimen, query.rack, query.position)
        told = self._told.get(what)
        tell = told is None or told[0] != reason or now - told[1] > _TELL_AGAIN_S
        item = UnansweredQuery(specimen, str(reason), query.rack, query.position)
        draft = Draft(at, BOX, software_version(), MessageState.DECODED, content_of(Decoded((item,), sender=BOX)))

        def work(ledger: Ledger) -> None:
            book.put_unanswered(ledger.connection, self._link, specimen, query.rack, query.position, str(reason), at)
            if tell:
                ledger.keep(self._link, [encode_item(item)], at, (), draft)

        def done(_value: object, error: StoreError | None) -> None:
            if error is not None:
                log.error("query.not_written_down", link=self._link, specimen=specimen, reason=str(error))
            elif tell:
                if len(self._told) >= book.MOST_UNANSWERED:
                    self._told.clear()
                self._told[what] = (reason, now)
                self._announce(self._link)

        self._store.submit(work, done)

    def _had_its_order(self, specimen: str) -> None:
        self._told.pop(specimen, None)
        if self._reader.ask(book.is_unanswered, self._link, specimen):
            self._store.submit(
                lambda ledger: book.was_answered(ledger.connection, self._link, specimen), lambda *_: None
            )
