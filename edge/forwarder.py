"""From the outbox to the cloud: one supervised task that connects, sends, and starts over whenever the connection ends.

A message is forgotten only on a receipt that was sent after the cloud's database had committed it. The bench does not
notice whether the cloud is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from edge.broker import BrokerConnection
from edge.config import BoxConfig
from edge.downlink import Downlink
from edge.errors import BrokerUnreachable
from edge.flight import Flight
from edge.ports.contract import Backoff
from edge.store.store import Store
from protocols.uplink.envelope import (
    Envelope,
    GapRequest,
    GatewayState,
    Message,
    MessageState,
    Receipt,
    down_topic,
    state_topic,
    up_topic,
)

_STATE_EVERY_S = 30.0
_STATE_AT_MOST_EVERY_S = 0.5
_STABLE_AFTER_S = 10.0
"""A connection that lasted so long ends the run of failures; one that breaks at once does not."""
_BATCH_BYTES = 256 * 1024
_GAP_LIMIT = 500
_LOOK_EVERY_S = 5.0
_GAP_REQUESTS = 100

T = TypeVar("T")

log = structlog.get_logger()


class Forwarder:
    """`state` makes what the box says of itself; `announce` is to be told of every durable message."""

    def __init__(self, config: BoxConfig, store: Store, state: Callable[[], GatewayState]) -> None:
        self._gateway = config.gateway
        self._settings = config.cloud
        self._links = [each.id for each in config.links]
        self._store = store
        self._state = state
        self._flight = Flight(config.cloud.window, config.cloud.receipt_timeout_s)
        self._downlink = Downlink(
            store, config.gateway.id, on_receipt=self._receipt, on_worklist=self._worklist_moved, on_gap=self._gap
        )
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._gaps: list[GapRequest] = []
        self._state_due = self._state_at = 0.0
        self.connected = False
        self.reason = "not yet tried"
        self.published = 0
        self.undecoded = 0
        self._seen_through: dict[str, int] = {}
        self.connections = 0

    @property
    def counts(self) -> dict[str, int]:
        downlink = self._downlink.counts
        return {
            "published_messages": self.published,
            "undecoded_messages": self.undecoded,
            "connections": self.connections,
            "under_way": self._flight.under_way,
            "receipts": downlink.receipts,
            "worklists": downlink.worklists,
            "worklist_gaps": downlink.worklist_gaps,
            "gap_requests": downlink.gap_requests,
            "unreadable": downlink.unreadable,
        }

    def announce(self, link: str) -> None:
        self._flight.announce(link)
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. Between connections a wait with full jitter: after a power cut all boxes dial at once."""
        self._reader = self._store.reader()
        self._reading = ThreadPoolExecutor(1, "forwarder-reader")  # one thread: the reader has one user at a time
        backoff = Backoff(1.0, self._settings.reconnect_longest_s)
        try:
            await self._find_links()
            while True:
                began = self._loop.time()
                self.reason = await self._one_connection()
                if self._loop.time() - began > _STABLE_AFTER_S:
                    backoff.succeeded()
                delay_s = backoff.next_s()
                log.warning("cloud.unreachable", reason=self.reason, retry_in_s=round(delay_s, 1))
                await asyncio.sleep(delay_s)
        finally:
            self._reading.shutdown(wait=True, cancel_futures=True)
            self._reader.close()

    async def _find_links(self) -> None:
        """Also the links that were configured once and still have something to send."""
        known = await self._read(self._reader.positions)
        for link in {*self._links, *(each.link for each in known if each.waiting)}:
            self._flight.announce(link)

    async def _one_connection(self) -> str:
        """Connect and forward until the connection ends; why it did."""
        connection = BrokerConnection(self._settings, self._gateway.id, self._downlink.on_message)
        try:
            await connection.connect(down_topic(self._gateway.partition, self._gateway.id, "#"))
            self.connected, self.reason = True, ""
            self.connections += 1
            log.info("cloud.connected", host=self._settings.host, port=self._settings.port)
            self._flight.start_over()
            self._state_due = 0.0
            while not connection.ended.done():
                await self._forward(connection)
                await self._pause(connection)
            return connection.ended.result()
        except BrokerUnreachable as error:
            return str(error)
        finally:
            self.connected = False
            connection.close()

    async def _pause(self, connection: BrokerConnection) -> None:
        """Until there is something to do: a new message, a receipt, the next state, an overdue receipt."""
        waiting: asyncio.Future[Any] = self._loop.create_task(self._wake.wait())
        until_state = max(0.0, self._state_due - self._loop.time())
        try:
            await asyncio.wait(
                [waiting, connection.ended],
                timeout=min(_LOOK_EVERY_S, until_state, self._settings.receipt_timeout_s),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            waiting.cancel()

    async def _forward(self, connection: BrokerConnection) -> None:
        """Everything that may be sent now."""
        self._wake.clear()
        now = self._loop.time()
        if now >= self._state_due:
            self._state_due, self._state_at = now + _STATE_EVERY_S, now
            topic = state_topic(self._gateway.partition, self._gateway.id)
            connection.publish(topic, self._state().to_bytes())
        while self._gaps and not connection.ended.done():
            await self._answer_gap(connection, self._gaps.pop(0))
        for link in self._flight.overdue(now):
            log.warning("receipt.overdue", link=link)
        while not connection.ended.done() and (turn := self._flight.next_link()) is not None:
            await self._send_next(connection, *turn)

    async def _send_next(self, connection: BrokerConnection, link: str, after: int, room: int) -> None:
        """One envelope of one link."""
        self._flight.exhausted(link)  # an `announce` while we read says otherwise again
        limit = min(room, self._settings.batch)
        messages = await self._read(self._reader.undelivered, link, after, limit, _BATCH_BYTES)
        if not messages:
            return
        for each in messages:
            if each.state is MessageState.UNDECODED and each.sequence > self._seen_through.get(link, 0):
                self.undecoded += 1
                facts = {"sequence": each.sequence, "driver": each.driver, "reason": each.reason}
                log.warning("message.undecoded", link=link, **facts)
        self._seen_through[link] = max(self._seen_through.get(link, 0), messages[-1].sequence)
        await self._publish(connection, link, messages)
        self._flight.sent(link, [each.sequence for each in messages], self._loop.time())
        self._flight.announce(link)

    async def _publish(self, connection: BrokerConnection, link: str, messages: Sequence[Message]) -> None:
        envelope = Envelope(self._gateway.id, self._store.epoch, link, tuple(messages))
        payload = await self._read(envelope.to_bytes)
        connection.publish(up_topic(self._gateway.partition, self._gateway.id, link), payload)
        self.published += len(messages)

    async def _answer_gap(self, connection: BrokerConnection, request: GapRequest) -> None:
        """Send what the cloud misses, even what we hold for delivered. It asks again for what is still missing."""
        first = request.first
        sent = 0
        while first <= request.last and sent < _GAP_LIMIT and not connection.ended.done():
            limit = min(self._settings.batch, _GAP_LIMIT - sent)
            messages = await self._read(self._reader.between, request.link, first, request.last, limit, _BATCH_BYTES)
            if not messages:
                break
            await self._publish(connection, request.link, messages)
            sent += len(messages)
            first = messages[-1].sequence + 1
        log.info("gap.answered", link=request.link, first=request.first, last=request.last, sent=sent)

    async def _read(self, work: Callable[..., T], *arguments: object) -> T:
        """Reading and packing run beside the loop that serves the bench."""
        return await self._loop.run_in_executor(self._reading, work, *arguments)

    def _receipt(self, receipt: Receipt) -> None:
        self._flight.received(receipt.link, receipt.through, receipt.also)
        self._wake.set()

    def _worklist_moved(self) -> None:
        """Soon, but not with every publish of a long worklist."""
        self._state_due = min(self._state_due, self._state_at + _STATE_AT_MOST_EVERY_S)
        self._wake.set()

    def _gap(self, request: GapRequest) -> None:
        if len(self._gaps) < _GAP_REQUESTS:  # the cloud asks again
            self._gaps.append(request)
            self._wake.set()
