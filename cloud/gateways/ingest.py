"""The ingest worker: leases partitions, runs a consumer for each, hands them over when its time is up.

Several run side by side on one database. One that dies is missed after `lease_seconds`; the others take its partitions
over and go on behind the last message it committed.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading

import structlog
from sqlalchemy.exc import SQLAlchemyError

from cloud.config import Settings, settings
from cloud.gateways import leases
from cloud.gateways.apply import Ingest
from cloud.gateways.consumer import PartitionConsumer
from cloud.kit.db import begin
from cloud.kit.jobs import Begin
from cloud.lis.results import service as results

log = structlog.get_logger(__name__)


class Worker:
    """The loop of one process. `name` is for people; the lease is held under a name drawn for this process."""

    def __init__(
        self, name: str, lease_seconds: float, *, config: Settings, transaction: Begin = begin, ingest: Ingest
    ) -> None:
        self.me = f"{name}:{os.getpid()}:{secrets.token_hex(4)}"
        self._lease_seconds = lease_seconds
        self._config = config
        self._begin = transaction
        self._ingest = ingest
        self._consumers: dict[int, PartitionConsumer] = {}

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; then everything is given back at once, so that nobody waits for a lease to expire."""
        with self._begin() as session:
            leases.make(session, self._config.partitions)
        try:
            while not stop.is_set():
                self._step()
                stop.wait(self._lease_seconds / 3)
        finally:
            self._end()

    def _step(self) -> None:
        try:
            with self._begin() as session:
                held, share = leases.beat(
                    session, self.me, seconds=self._lease_seconds, partitions=self._config.partitions
                )
        except SQLAlchemyError as error:
            # Consumers stay: they are fenced by their token, and the database may be back before anybody took over.
            log.exception("heartbeat_failed", worker=self.me, error=str(error))
            return
        self._drop_lost(held)
        for lease in held[:share]:
            if lease.partition not in self._consumers:
                self._start(lease)
        for lease in held[share:]:
            self._hand_over(lease)

    def _drop_lost(self, held: list[leases.Lease]) -> None:
        current = {each.partition: each for each in held}
        for partition, consumer in list(self._consumers.items()):
            if consumer.broken.is_set() or current.get(partition) != consumer.lease:
                log.warning("partition_dropped", partition=partition, worker=self.me)
                self._consumers.pop(partition).stop()

    def _start(self, lease: leases.Lease) -> None:
        log.info("partition_taken", partition=lease.partition, token=lease.token, worker=self.me)
        consumer = PartitionConsumer(self._config, self._begin, lease, self._ingest)
        self._consumers[lease.partition] = consumer
        consumer.start()

    def _hand_over(self, lease: leases.Lease) -> None:
        consumer = self._consumers.pop(lease.partition, None)
        if consumer is not None:
            consumer.stop()
        try:
            with self._begin() as session:
                leases.give_back(session, lease)
        except SQLAlchemyError as error:
            # Still ours by the table, and above our share: the next heartbeat hands it over.
            log.warning("partition_kept_for_now", partition=lease.partition, worker=self.me, error=str(error))
            return
        log.info("partition_given_back", partition=lease.partition, worker=self.me)

    def _end(self) -> None:
        for consumer in self._consumers.values():
            self._hand_back(consumer)
        try:
            with self._begin() as session:
                leases.leave(session, self.me)
        except SQLAlchemyError:
            log.warning("left_without_word", worker=self.me)

    def _hand_back(self, consumer: PartitionConsumer) -> None:
        consumer.stop()
        try:
            with self._begin() as session:
                leases.give_back(session, consumer.lease)
        except SQLAlchemyError:
            log.warning("lease_left_to_expire", partition=consumer.lease.partition)


def run(
    worker_id: str,
    lease_seconds: float = 15.0,
    *,
    ingest: Ingest = results.ingest,
    stop: threading.Event | None = None,
) -> None:
    """Work until SIGTERM or SIGINT (or `stop`). A broker that is away is tried again for ever."""
    config = settings()
    ending = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ending.set())
    Worker(worker_id, lease_seconds, config=config, ingest=ingest).run(ending)
