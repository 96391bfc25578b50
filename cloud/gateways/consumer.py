"""One leased partition at work: a durable MQTT 5 subscriber, a thread that stores, one that applies, one that answers.

Stored, committed, receipt, acknowledgement, in this order: a worker that dies in between gets the publish again and
gives the same receipt again. Nothing here decides anything; `inbox`, `apply` and `rules` do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TypeVar

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from cloud.config import Settings
from cloud.gateways import metrics, questions
from cloud.gateways.apply import Ingest, apply_link, unapplied_links
from cloud.gateways.arrivals import Arrival, LinkKey
from cloud.gateways.broker import KEEP_ALIVE_S, RECEIVE_MAXIMUM, durable_session, make_client
from cloud.gateways.inbox import Inbox, Stored
from cloud.gateways.leases import Lease, LeaseLost
from cloud.gateways.reconciliation import Asked, compare
from cloud.gateways.turns import LONG_RUN, Turns
from cloud.kit import clock
from cloud.kit.jobs import Begin
from protocols.uplink.counts import Counts
from protocols.uplink.down import GapRequest, TimeNotice
from protocols.uplink.topics import down_topic, partition_filters

log = structlog.get_logger(__name__)

IDLE_S = 1.0
"""How often a link that stands at a gap is looked at again."""
RESCAN_S = 10.0
"""How often the database is asked for waiting messages that nobody announced here (one put back by a person)."""
RETRY_S = 1.0
SESSION_TAKEN_OVER = 142
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Received:
    mid: int
    qos: int
    connection: int
    arrival: Arrival


class PartitionConsumer:
    """Start it with a lease; stop it when the lease is lost or given back. Not reused."""

    def __init__(self, settings: Settings, begin: Begin, lease: Lease, ingest: Ingest) -> None:
        self.lease = lease
        self.broken = threading.Event()
        """Set when this consumer cannot go on: the lease is lost, or another client took over its session."""
        self._settings = settings
        self._begin = begin
        self._ingest = ingest
        self._inbox = Inbox(begin, lease.partition)
        self._queue: SimpleQueue[_Received] = SimpleQueue()
        self._touched: SimpleQueue[tuple[LinkKey, int]] = SimpleQueue()
        self._questions: SimpleQueue[tuple[float, Arrival]] = SimpleQueue()
        self._said: SimpleQueue[Counts] = SimpleQueue()
        self._stop = threading.Event()
        self._work = threading.Event()
        self._connection = 0
        self._client = make_client(settings, f"xinglin-ingest-{lease.partition}", manual_ack=True)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect
        self._threads = [
            threading.Thread(target=target, name=f"{name}-{lease.partition}", daemon=True)
            for name, target in (
                ("store", self._store_loop),
                ("apply", self._apply_loop),
                ("answer", self._answer_loop),
                ("compare", self._compare_loop),
            )
        ]

    def start(self) -> None:
        """Returns at once; the broker may be away, it is tried again for ever."""
        self._client.connect_async(
            self._settings.mqtt_host,
            self._settings.mqtt_port,
            KEEP_ALIVE_S,
            clean_start=False,
            properties=durable_session(),
        )
        self._client.loop_start()
        for each in self._threads:
            each.start()

    def stop(self, *, within_s: float = 10.0) -> None:
        """End after the transactions under way; what is not acknowledged waits at the broker."""
        self._stop.set()
        self._work.set()
        for each in self._threads:
            each.join(within_s)
        self._client.disconnect()
        self._client.loop_stop()

    # ------------------------------------------------------------------ the broker's side

    def _on_connect(
        self, client: Client, userdata: object, flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            log.error("broker_refused", partition=self.lease.partition, reason=str(code))
            return
        self._connection += 1
        client.subscribe([(each, 1) for each in partition_filters(self.lease.partition)])
        log.info("partition_connected", partition=self.lease.partition, session=flags.session_present)

    def _on_message(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        arrival = Arrival(message.topic, bytes(message.payload))
        if questions.is_question(message.topic):
            client.ack(message.mid, message.qos)
            self._questions.put((monotonic(), arrival))
            return
        self._queue.put(_Received(message.mid, message.qos, self._connection, arrival))

    def _on_disconnect(
        self, client: Client, userdata: object, flags: DisconnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.value == SESSION_TAKEN_OVER:
            # Another worker connected under this partition's name. Coming back would throw it out in turn, for ever:
            # the lease in the database decides who it is.
            log.warning("session_taken_over", partition=self.lease.partition)
            client.disconnect()
            self.broken.set()
        elif not self._stop.is_set():
            log.warning("broker_connection_lost", partition=self.lease.partition, reason=str(code))

    # ------------------------------------------------------------------ storing

    def _store_loop(self) -> None:
        while not self._stop.is_set():
            batch = self._next_batch()
            if not batch:
                continue
            arrivals = [each.arrival for each in batch]
            stored = self._until_done("inbox", partial(self._inbox.store, arrivals))
            if stored is None:
                return
            self._tell(stored)
            for each in batch:
                if each.connection == self._connection:
                    self._client.ack(each.mid, each.qos)

    def _next_batch(self) -> list[_Received]:
        batch: list[_Received] = []
        try:
            batch.append(self._queue.get(timeout=0.2))
            while len(batch) < RECEIVE_MAXIMUM:
                batch.append(self._queue.get_nowait())
        except Empty:
            pass
        return batch

    def _tell(self, stored: Stored) -> None:
        now = clock.now()
        for gateway, receipt in stored.receipts:
            self._publish(gateway, "receipt", replace(receipt, at=now).to_bytes())
        for state in stored.states:
            if not state.clock_sure:  # it waits for this before it sends times that it does not believe
                self._publish(state.gateway, "time", TimeNotice(now).to_bytes())
        for gateway, request in stored.gaps:
            self._ask(gateway, request)
        for touched in stored.links.items():
            self._touched.put(touched)
        for said in stored.counts:
            self._said.put(said)
        self._work.set()
        metrics.STORED.inc(stored.stored)
        metrics.REPEATED.inc(stored.repeated)
        if stored.quarantined:
            metrics.QUARANTINED.labels("payload").inc(stored.quarantined)
            log.warning("payloads_quarantined", partition=self.lease.partition, count=stored.quarantined)

    def _publish(self, gateway: str, kind: str, payload: bytes) -> None:
        self._client.publish(down_topic(self.lease.partition, gateway, kind), payload, qos=1)

    def _ask(self, gateway: str, request: GapRequest) -> None:
        metrics.GAPS_ASKED.inc()
        log.warning("gap_asked_for", gateway=gateway, link=request.link, first=request.first, last=request.last)
        self._publish(gateway, "gap", request.to_bytes())

    # ------------------------------------------------------------------ answering

    def _answer_loop(self) -> None:
        """Beside the inbox, so that no backlog stands before an instrument that waits."""
        while not self._stop.is_set():
            try:
                asked_at, arrival = self._questions.get(timeout=0.2)
            except Empty:
                continue
            if monotonic() - asked_at > questions.TOO_LATE_S:
                continue
            try:
                reply = questions.answer(self._begin, arrival)
            except Exception:  # outer loop: one question we fail on must not end the answering
                log.exception("question_failed", topic=arrival.topic)
                continue
            if reply is not None:
                self._client.publish(*reply, qos=0)

    # ------------------------------------------------------------------ applying

    def _apply_loop(self) -> None:
        """A link that has just got something goes before those that are far behind, and these take turns."""
        turns = Turns()
        rescan_at = look_at = monotonic()
        while not self._stop.is_set():
            if monotonic() >= rescan_at:
                for key in sorted(self._until_done("apply", self._unapplied) or ()):
                    turns.touch(key, LONG_RUN)
                rescan_at = monotonic() + RESCAN_S
            while not self._touched.empty():
                turns.touch(*self._touched.get())
            if monotonic() >= look_at:
                turns.look_again()
                look_at = monotonic() + IDLE_S
            found = turns.next()
            if found is None:
                self._work.wait(IDLE_S)
                self._work.clear()
                continue
            became = self._until_done("apply", partial(self._apply, *found))
            if became is None:
                return
            turns.became(found[0], became)

    def _unapplied(self) -> set[LinkKey]:
        with self._begin() as session:
            return unapplied_links(session, self.lease.partition)

    def _apply(self, key: LinkKey, run: int) -> str:
        """ "more" can be applied now, it "waits" at a gap, or it is "done"."""
        result = apply_link(self._begin, self.lease, key, self._ingest, run=run)
        metrics.APPLIED.inc(result.applied)
        metrics.QUARANTINED.labels("message").inc(result.quarantined)
        if result.gap is not None:
            self._ask(key[0], result.gap)
        if result.waits:
            return "waits"
        return "more" if result.more else "done"

    # ------------------------------------------------------------------ comparing

    def _compare_loop(self) -> None:
        """Beside storing: hashing what is stored takes a moment, and no receipt waits for it."""
        while not self._stop.is_set():
            try:
                said = self._said.get(timeout=0.2)
            except Empty:
                continue
            asked = self._until_done("compare", partial(self._compare, said))
            if asked is None:
                return
            if asked.became is not None:
                metrics.COMPARED.labels(str(asked.became)).inc()
            for gap in asked.gaps:
                self._ask(said.gateway, gap)
            if asked.counts is not None:
                self._publish(said.gateway, "count", asked.counts.to_bytes())

    def _compare(self, said: Counts) -> Asked:
        with self._begin() as session:
            return compare(session, said)

    def _until_done(self, what: str, step: Callable[[], T]) -> T | None:
        """The step's value; tried again while the database is away. None: this consumer ends."""
        failures, since = 0, monotonic()
        while not self._stop.is_set():
            try:
                return step()
            except LeaseLost as error:
                log.warning("lease_lost", partition=self.lease.partition, reason=str(error))
                self.broken.set()
                return None
            except Exception as error:
                failures += 1
                log.exception(
                    "step_failed", step=what, failures=failures, for_s=round(monotonic() - since), error=str(error)
                )
                self._stop.wait(RETRY_S)
        return None
