"""From the outbox to the cloud: one supervised task that connects, sends, and starts over whenever the connection ends.

A message is forgotten only on a receipt that was sent after the cloud's database had committed it. The bench does not
notice whether the cloud is there.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import structlog

from edge.broker import BrokerConnection
from edge.clock import Clock
from edge.config import BoxConfig
from edge.desk import CloudDesk
from edge.downlink import Downlink
from edge.errors import BrokerUnreachable
from edge.flight import Flight, Turn
from edge.packing import Packet, SizeLimit, pack
from edge.ports.contract import Backoff
from edge.reconciliation import Reconciliation
from edge.stating import Stating
from edge.store.store import Store
from protocols.uplink import counts
from protocols.uplink.asking import QUESTION
from protocols.uplink.down import GapRequest, Receipt
from protocols.uplink.envelope import Message, MessageState
from protocols.uplink.states import GatewayState
from protocols.uplink.topics import down_topic, parse_topic, up_topic

_STABLE_AFTER_S = 10.0
"""A connection that lasted so long ends the run of failures; one that breaks at once does not."""
_BATCH_BYTES = 256 * 1024
_GAP_LIMIT = 500
_GAP_BYTES = 4 * 1024 * 1024
_LOOK_EVERY_S = 5.0
_GAP_REQUESTS = 100
_TIME_WAIT_S = 3.0
"""A box without a clock waits so long for the cloud's before it sends times that it does not believe."""

T = TypeVar("T")

log = structlog.get_logger()


class Forwarder:
    """`state` makes what the box says of itself; `announce` is to be told of every durable message."""

    def __init__(
        self, config: BoxConfig, store: Store, state: Callable[[], GatewayState], clock: Clock | None = None
    ) -> None:
        self.desk = CloudDesk(config.gateway.id)
        self._gateway = config.gateway
        self._settings = config.cloud
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._links = [each.id for each in config.links]
        self._store = store
        self._clock = clock or Clock()
        self._flight = Flight(config.cloud.window, config.cloud.receipt_timeout_s, config.cloud.batch)
        self._limit = SizeLimit()
        self._stating = Stating(self._gateway, state, self._clock, store, self._limit, self._wake.set)
        self._reconciliation = Reconciliation(config.gateway.id, store.path, self._clock)
        self._downlink = Downlink(
            store,
            config.gateway.id,
            on_receipt=self._receipt,
            on_new_epoch=self._start_over,
            on_worklist=self._worklist_moved,
            on_gap=self._gap,
            on_count=self._reconciliation.asked,
            on_time=self._stating.told_the_time,
            on_answer=self.desk.answered,
        )
        self._gaps: list[GapRequest] = []
        self._time_until = 0.0
        self._epoch = ""
        self._refused = (0, "")
        self.connected = False
        self.reason = "not yet tried"
        self.published = 0
        self.undecoded = 0
        self._seen_through: dict[str, int] = {}
        self.connections = 0

    @property
    def counts(self) -> dict[str, Any]:
        downlink = self._downlink.counts
        return {
            "published_messages": self.published,
            "undecoded_messages": self.undecoded,
            "connections": self.connections,
            "under_way": self._flight.under_way,
            "in_backlog": self._flight.backlog,
            "receipts": downlink.receipts,
            "worklists": downlink.worklists,
            "worklist_gaps": downlink.worklist_gaps,
            "gap_requests": downlink.gap_requests,
            "unreadable": downlink.unreadable,
            "refused_publishes": self._refused[0],
            "refusal": self._refused[1],
            "payload_limit": self._limit.payload_bytes,
            "counts_said": self._reconciliation.said,
            "certificate_days": self._stating.certificate_days(),
        }

    def announce(self, link: str) -> None:
        self._flight.announce(link)
        self._wake.set()

    def use(self, config: BoxConfig) -> bool:
        """Another configuration, taken from now on. True: `run` must be begun anew, for it goes to another broker."""
        self._links = [each.id for each in config.links]
        other_cloud = config.cloud != self._settings
        if other_cloud:
            self._settings = config.cloud
            self._flight = Flight(config.cloud.window, config.cloud.receipt_timeout_s, config.cloud.batch)
        for link in self._links:
            self._flight.announce(link)
        self.say_state()
        return other_cloud

    def say_state(self) -> None:
        """The cloud should hear at once how we are."""
        self._stating.at_once()

    def reconcile(self) -> None:
        """Say at once what is held of every link, instead of at the next full hour."""
        self._reconciliation.now_all()
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
        connection = BrokerConnection(self._settings, self._gateway.id, self._downlink.on_message, self._too_large)
        await self._read(self._stating.read_certificate, self._settings)
        try:
            sure = self._clock.now().sure
            topics = down_topic(self._gateway.partition, self._gateway.id, "#")
            await connection.connect(topics, None if sure else self._clock.floor)
            self.connected, self.reason = True, ""
            self.connections += 1
            self._limit.told(connection.max_packet_bytes)
            log.info("cloud.connected", host=self._settings.host, port=self._settings.port)
            self.desk.connected(partial(self._publish_question, connection))
            self._flight.start_over()
            self._stating.due = 0.0
            self._time_until = self._loop.time() + _TIME_WAIT_S
            while not connection.ended.done():
                busy = await self._forward(connection)
                self._refused = connection.refused_publishes, connection.refusal
                if not busy:
                    await self._pause(connection)
            self._limit.broke(connection.largest_unanswered, connection.largest_answered)
            return connection.ended.result()
        except BrokerUnreachable as error:
            return self._stating.with_certificate(str(error))
        finally:
            self.connected = False
            self.desk.disconnected()
            connection.close()

    async def _pause(self, connection: BrokerConnection) -> None:
        """Until there is something to do: a new message, a receipt, the next state, an overdue receipt."""
        waiting: asyncio.Future[Any] = self._loop.create_task(self._wake.wait())
        until_state = max(0.0, self._stating.due - self._loop.time())
        try:
            await asyncio.wait(
                [waiting, connection.ended],
                timeout=min(_LOOK_EVERY_S, until_state, self._flight.look_again_s),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            waiting.cancel()

    async def _forward(self, connection: BrokerConnection) -> bool:
        """Everything that may be sent now; True when there is more to do without waiting for anybody."""
        self._wake.clear()
        now = self._loop.time()
        if now >= self._stating.due:
            self._stating.say(connection, now)
        if now < self._time_until and not self._clock.now().sure:
            self._loop.call_at(self._time_until, self._wake.set)
            return False
        while self._gaps and not connection.ended.done():
            await self._answer_gap(connection, self._gaps.pop(0))
        for link in self._flight.overdue(now):
            log.warning("receipt.overdue", link=link)
        while not connection.ended.done() and (turn := self._flight.next_turn()) is not None:
            await self._send_next(connection, turn)
        return not connection.ended.done() and await self._count(connection)

    async def _send_next(self, connection: BrokerConnection, turn: Turn) -> None:
        """One turn of one link."""
        self._flight.reading(turn.link)  # an `announce` while we read says otherwise again
        epoch, messages, packets = await self._read(self._take, turn)
        if epoch != self._epoch:  # new numbers for everything
            self._epoch = epoch
            self._flight.start_over()
            self._seen_through.clear()
            if turn.after:
                return
        if not messages:
            self._flight.dry(turn.link)
            return
        for each in messages:
            if each.state is MessageState.UNDECODED and each.sequence > self._seen_through.get(turn.link, 0):
                self.undecoded += 1
                facts = {"sequence": each.sequence, "driver": each.driver, "reason": each.reason}
                log.warning("message.undecoded", link=turn.link, **facts)
        self._seen_through[turn.link] = max(self._seen_through.get(turn.link, 0), messages[-1].sequence)
        sizes = self._publish(connection, turn.link, packets)
        more = len(messages) == turn.room or sum(sizes.values()) > _BATCH_BYTES // 4
        self._flight.sent(turn.link, sizes, self._loop.time(), more=more)

    def _take(self, turn: Turn) -> tuple[str, list[Message], list[Packet]]:
        found = self._reader.batch(turn.link, turn.after, turn.room, _BATCH_BYTES)
        return found.epoch, found.messages, self._pack(found.epoch, turn.link, found.messages)

    def _pack(self, epoch: str, link: str, messages: list[Message]) -> list[Packet]:
        right = [self._stating.eras.corrected(epoch, link, each) for each in messages]
        return pack(self._gateway.id, epoch, link, right, self._limit.payload_bytes)

    def _publish(self, connection: BrokerConnection, link: str, packets: list[Packet]) -> dict[int, int]:
        """Bytes of each sequence."""
        sizes: dict[int, int] = {}
        for packet in packets:
            topic = up_topic(self._gateway.partition, self._gateway.id, link, packet.kind)
            for payload in packet.payloads:
                connection.publish(topic, payload)
            sizes |= dict.fromkeys(packet.sequences, packet.size // len(packet.sequences))
        self.published += len(sizes)
        return sizes

    async def _answer_gap(self, connection: BrokerConnection, request: GapRequest) -> None:
        """Send what the cloud misses, even what we hold for delivered. It asks again for what is still missing."""
        first = request.first
        sent = size = 0
        while first <= request.last and sent < _GAP_LIMIT and size < _GAP_BYTES and not connection.ended.done():
            limit = min(self._settings.batch, _GAP_LIMIT - sent)
            found = await self._read(self._reader.batch_between, request.link, first, request.last, limit, _BATCH_BYTES)
            messages = found.messages
            if not messages or found.epoch != request.epoch:
                break
            packets = await self._read(self._pack, found.epoch, request.link, messages)
            sizes = self._publish(connection, request.link, packets)
            sent += len(sizes)
            size += sum(sizes.values())
            first = messages[-1].sequence + 1
        log.info("gap.answered", link=request.link, first=request.first, last=request.last, sent=sent)

    async def _count(self, connection: BrokerConnection) -> bool:
        """A step of comparing what is held with the cloud; True when another one waits."""
        if not self._reconciliation.due(self._loop.time(), self._links):
            return False
        said = await self._read(self._reconciliation.step)
        if said is not None:
            topic = up_topic(self._gateway.partition, self._gateway.id, said.link, counts.KIND)
            connection.publish(topic, said.to_bytes())
        return True

    async def _read(self, work: Callable[..., T], *arguments: object) -> T:
        """Reading and packing run beside the loop that serves the bench."""
        return await self._loop.run_in_executor(self._reading, work, *arguments)

    def _receipt(self, receipt: Receipt) -> None:
        if receipt.at is not None:
            self._stating.told_the_time(receipt.at)
        self._flight.received(receipt.link, receipt.through, receipt.also, self._loop.time())
        self._wake.set()

    def _start_over(self) -> None:
        """The box's file is an old copy: it has numbered anew what waits."""
        self._flight.start_over()
        self._wake.set()

    def _worklist_moved(self) -> None:
        self._stating.soon()
        self.desk.worklist_moved()

    def _publish_question(self, connection: BrokerConnection, link: str, payload: bytes, wait_s: float) -> None:
        """QoS 0: it stands behind no backlog, and repeated later it would ask about nothing any more."""
        topic = up_topic(self._gateway.partition, self._gateway.id, link, QUESTION)
        connection.publish(topic, payload, expires_s=math.ceil(wait_s), qos=0)

    def _gap(self, request: GapRequest) -> None:
        if len(self._gaps) < _GAP_REQUESTS and request not in self._gaps:  # the cloud asks again
            self._gaps.append(request)
            self._wake.set()

    def _too_large(self, topic: str, size: int) -> None:
        if size < self._limit.payload_bytes or size == 0:
            return  # of a publish that was under way when the limit was learned
        before = self._limit.payload_bytes
        self._limit.refused(size)
        found = parse_topic(topic)
        if found.direction == "up" and self._limit.payload_bytes < before:
            self._flight.again(found.name)
            self._wake.set()
