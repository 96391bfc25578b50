"""The one thread that writes, with group commit: what was asked for while the disk was busy shares its next sync.

A piece of work runs inside the transaction and its answer is given only after COMMIT returned with synchronous=FULL. If
the group fails, each piece is tried alone, so that one cannot fail its neighbours.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from edge.errors import StoreBusy, StoreError
from edge.store.ledger import Ledger
from edge.store.schema import as_store_error

Work = Callable[[Ledger], Any]
Done = Callable[[Any, StoreError | None], None]
"""Called with the work's value, or with None and the reason why nothing of it was kept."""
Answers = list[tuple[Done, Any, StoreError | None]]
Deliver = Callable[[Answers], None]

_GROUP_LIMIT = 512
_REFUSE_REST_AFTER = 3
"""When so many pieces in a row fail alone (disk full), the rest of the group fails with them."""

log = structlog.get_logger()


class Writer:
    """`deliver` gets the answers of one group in the writer's thread; it hands them to whoever waits."""

    def __init__(
        self, open_connection: Callable[[], sqlite3.Connection], deliver: Deliver, group_wait_s: float
    ) -> None:
        self._open_connection = open_connection
        self._connection = open_connection()
        self._ledger = Ledger(self._connection)
        self._deliver = deliver
        self._group_wait_s = group_wait_s
        self._queue: queue.SimpleQueue[tuple[Work, Done] | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self.groups = 0
        self.pieces = 0
        self.failures = 0
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work, done: Done) -> None:
        """Ask for `work`; `done` follows, in the order of asking."""
        if self._stopped.is_set():
            self._deliver([(done, None, StoreBusy("the store is closed"))])
            return
        self._queue.put((work, done))

    def close(self) -> None:
        """Finish what was asked for, then let go of the file."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        going_on = True
        crowded = False
        while going_on:
            group, going_on = self._take_group(crowded)
            crowded = len(group) > 1
            if group:
                answers = self._commit(group)
                self.groups += 1
                self.pieces += len(group)
                self._deliver(answers)
        self._connection.close()

    def _take_group(self, crowded: bool) -> tuple[list[tuple[Work, Done]], bool]:
        """What waits now; False beside it when the store is being closed.

        Where several links are talking (`crowded`), a short wait lets more of them share the sync; it is bounded, and a
        lone link never waits.
        """
        group: list[tuple[Work, Done]] = []
        first = self._queue.get()
        if first is None:
            return group, False
        group.append(first)
        if crowded and self._group_wait_s > 0:
            time.sleep(self._group_wait_s)
        while len(group) < _GROUP_LIMIT:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return group, False
            group.append(following)
        return group, True

    def _commit(self, group: Sequence[tuple[Work, Done]]) -> Answers:
        try:
            values = self._transaction([work for work, _ in group])
        except Exception as error:  # outer loop: whatever the work did, its neighbours and the thread go on
            return self._one_by_one(group, error)
        return [(done, value, None) for (_, done), value in zip(group, values, strict=True)]

    def _transaction(self, works: Sequence[Work]) -> list[Any]:
        self._connection.execute("BEGIN IMMEDIATE")
        values = [work(self._ledger) for work in works]
        self._ledger.flush()
        self._connection.execute("COMMIT")
        return values

    def _one_by_one(self, group: Sequence[tuple[Work, Done]], error: Exception) -> Answers:
        answers: Answers = []
        reason = self._roll_back(error)
        if len(group) == 1:
            return [(group[0][1], None, reason)]
        failed = 0
        for work, done in group:
            if failed >= _REFUSE_REST_AFTER:
                answers.append((done, None, reason))
                continue
            try:
                answers.append((done, self._transaction([work])[0], None))
                failed = 0
            except Exception as again:  # outer loop, as above
                reason = self._roll_back(again)
                answers.append((done, None, reason))
                failed += 1
        return answers

    def _roll_back(self, error: Exception) -> StoreError:
        """Back to the last commit; on a connection that is beyond that, a new one."""
        self.failures += 1
        reason = as_store_error(error) if isinstance(error, sqlite3.Error) else StoreBusy(repr(error))
        log.error("store.refused", reason=str(reason))
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._ledger.reload()
        except sqlite3.Error:
            self._reopen()
        return reason

    def _reopen(self) -> None:
        try:
            self._connection.close()
            self._connection = self._open_connection()
            self._ledger = Ledger(self._connection)
        except (sqlite3.Error, StoreError) as error:
            log.error("store.cannot_reopen", reason=str(error))
