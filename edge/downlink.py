"""What the cloud sends down: receipts, worklists, requests for what it misses. Each is made durable before it counts.

A payload that is not of the contract is logged and counted, and nothing else happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from edge.errors import StoreError
from edge.store.ledger import Ledger
from edge.store.store import Store
from protocols.uplink.asking import ANSWER, Answer
from protocols.uplink.counts import CountRequest
from protocols.uplink.down import GapRequest, Receipt, TimeNotice, Worklist
from protocols.uplink.topics import UplinkError, parse_topic

log = structlog.get_logger()


@dataclass(slots=True)
class DownlinkCounts:
    """Since the daemon started."""

    receipts: int = 0
    worklists: int = 0
    gap_requests: int = 0
    count_requests: int = 0
    unreadable: int = 0
    worklist_gaps: int = 0


class Downlink:
    """Calls back on the event loop, after the commit."""

    def __init__(
        self,
        store: Store,
        gateway: str,
        *,
        on_receipt: Callable[[Receipt], None],
        on_new_epoch: Callable[[], None],
        on_worklist: Callable[[], None],
        on_gap: Callable[[GapRequest], None],
        on_count: Callable[[CountRequest], None],
        on_time: Callable[[datetime], None],
        on_answer: Callable[[Answer], None] = lambda _answer: None,
    ) -> None:
        """`on_worklist`: the revision moved, or a publish is missing; either way the cloud must hear where we stand."""
        self._store = store
        self._gateway = gateway
        self._on_receipt = on_receipt
        self._on_new_epoch = on_new_epoch
        self._on_worklist = on_worklist
        self._on_gap = on_gap
        self._on_count = on_count
        self._on_time = on_time
        self._on_answer = on_answer
        self._missed_before: int | None = None
        self.counts = DownlinkCounts()

    def on_message(self, topic: str, payload: bytes) -> None:
        try:
            kind = parse_topic(topic).name
            if kind == "receipt":
                self._receipt(Receipt.from_bytes(payload))
            elif kind == "worklist":
                self._worklist(Worklist.from_bytes(payload))
            elif kind == "gap":
                self._gap(GapRequest.from_bytes(payload))
            elif kind == "count":
                self._count(CountRequest.from_bytes(payload))
            elif kind == "time":
                self._on_time(TimeNotice.from_bytes(payload).at)
            elif kind == ANSWER:
                self._on_answer(Answer.from_bytes(payload))
            else:
                raise UplinkError(f"nothing is known of down/{kind}")
        except UplinkError as error:
            self.counts.unreadable += 1
            log.warning("downlink.unreadable", topic=topic, reason=str(error)[:200])

    def _receipt(self, receipt: Receipt) -> None:
        if receipt.epoch != self._store.epoch:
            log.info("receipt.of_another_epoch", link=receipt.link, epoch=receipt.epoch)
            return
        self.counts.receipts += 1

        def done(believed: bool | None, error: StoreError | None) -> None:
            if error is None:
                self._on_receipt(receipt) if believed else self._on_new_epoch()
            else:  # the message stays undelivered, is sent again after its timeout and confirmed again
                log.warning("receipt.not_stored", link=receipt.link, reason=str(error))

        self._store.submit(lambda ledger: ledger.deliver(receipt.link, receipt.through, receipt.also), done)

    def _worklist(self, worklist: Worklist) -> None:
        if worklist.gateway != self._gateway or not worklist.entries:
            return
        self.counts.worklists += 1
        first = min(each.revision for each in worklist.entries)
        last = max(each.revision for each in worklist.entries)

        def work(ledger: Ledger) -> tuple[int, int]:
            before = ledger.worklist_revision
            return before, ledger.put_worklist(worklist.entries, self._after(worklist, first, before))

        def done(revisions: tuple[int, int] | None, error: StoreError | None) -> None:
            if revisions is None:
                log.warning("worklist.not_stored", reason=str(error))
                return
            before, after = revisions
            missing = after < last
            self._missed_before = first if missing else None
            if missing:
                self.counts.worklist_gaps += 1
                log.warning("worklist.gap", revision=after, first=first, last=last)
            if missing or after != before:
                self._on_worklist()

        self._store.submit(work, done)

    def _after(self, worklist: Worklist, first: int, revision: int) -> int | None:
        """The revision from which these entries are complete.

        A cloud that does not say it keeps only the newest change of each specimen, perhaps: its revisions then have
        holes that no publish will fill. When, after we said where we stand, the answer starts at the same place again,
        there is nothing in between.
        """
        if worklist.after is not None or first <= revision + 1:
            return worklist.after
        return revision if first == self._missed_before else None

    def _gap(self, request: GapRequest) -> None:
        if request.epoch != self._store.epoch:
            log.info("gap.of_another_epoch", link=request.link, epoch=request.epoch)
            return
        self.counts.gap_requests += 1
        self._on_gap(request)

    def _count(self, request: CountRequest) -> None:
        if request.epoch != self._store.epoch:
            log.info("count.of_another_epoch", link=request.link, epoch=request.epoch)
            return
        self.counts.count_requests += 1
        self._on_count(request)
