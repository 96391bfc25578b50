"""The one place that writes, with group commit: what was asked for while the disk was busy shares its next sync.

A piece of work runs inside the transaction and its answer is given only after COMMIT returned with synchronous=FULL. If
the group fails, each piece is tried alone, so that one cannot fail its neighbours.

Who commits: a thread of its own, or, where a sync of this disk takes less than a few milliseconds, the event loop
itself, once per turn for all links that spoke in it. Measured on two cores: beside a writing thread every system call
of the loop gives the interpreter away and waits for it again, which costs far more than the sync (`./xinglin bench
edge`). A slow disk (a worn SD card), or a file that somebody else has locked, is left to the thread, and the loop goes
on. Whoever commits holds `_turn`; there is one queue and one order.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from edge.errors import StoreBusy, StoreError, StoreFull
from edge.store.ledger import Ledger
from edge.store.room import Room
from edge.store.rows import Positions
from edge.store.schema import BUSY_TIMEOUT_MS, is_damage

Work = Callable[[Ledger], Any]
Done = Callable[[Any, StoreError | None], None]
"""Called with the work's value, or with None and the reason why nothing of it was kept."""
Answers = list[tuple[Done, Any, StoreError | None]]

_GROUP_LIMIT = 512
_LOOP_GROUP_LIMIT = 128
_REFUSE_REST_AFTER = 3
"""When so many pieces in a row fail alone (disk full), the rest of the group fails with them."""
_SLOW_ABOVE_S = 0.004
_QUICK_BELOW_S = 0.002
_SMOOTHING = 0.2
_LOCKED_S = 1.0
"""What a commit that found the file locked counts for: the thread does the next few dozen."""

log = structlog.get_logger()


class Writer:
    """`collect` gets the answers of a group while it is our turn, `hand_out` follows, in the thread or the loop."""

    def __init__(
        self,
        open_connection: Callable[[], sqlite3.Connection],
        collect: Callable[[Answers], None],
        hand_out: Callable[[], None],
        *,
        room: Room,
        set_aside: Callable[[Positions], None],
        on_full: Callable[[], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """`loop`, if given, is the running one of the calling thread, and may commit by itself.

        `set_aside` puts a new file in the place of a damaged one, nobody writing meanwhile; `on_full` is told when
        something was refused for want of room.
        """
        self._room = room
        self._set_aside = set_aside
        self._on_full = on_full
        self.generation = 0
        """Rises when a new file stands in the place of a damaged one."""
        self._open_connection = open_connection
        self._connection = open_connection()
        try:
            self._ledger = Ledger(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self._collect = collect
        self._hand_out = hand_out
        self._loop = loop
        self._loop_thread = threading.get_ident() if loop is not None else None
        self._loop_asked = False
        self._patience_ms = BUSY_TIMEOUT_MS
        self._queue: deque[tuple[Work, Done]] = deque()
        self._turn = threading.Lock()
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self.sync_s = 0.0
        """Smoothed time of a commit, seconds."""
        self.in_loop = loop is not None
        self.groups = 0
        self.pieces = 0
        self.failures = 0
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work, done: Done, *, waited_for: bool = False) -> None:
        """Ask for `work`; `done` follows, in the order of asking. `waited_for`: the caller blocks until then."""
        if self._stopped.is_set():
            self._collect([(done, None, StoreBusy("the store is closed"))])
            self._hand_out()
            return
        self._queue.append((work, done))
        if self.in_loop and not waited_for and self._loop is not None and threading.get_ident() == self._loop_thread:
            if not self._loop_asked:
                self._loop_asked = True
                self._loop.call_soon(self._on_loop)
        else:
            self._wanted.set()

    def close(self) -> None:
        """Finish what was asked for, then let go of the file."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._wanted.set()
            self._thread.join()
            self._connection.close()

    def _on_loop(self) -> None:
        """What all links asked for in this turn of the loop: one commit."""
        self._loop_asked = False
        if not self._turn.acquire(blocking=False):
            self._wanted.set()  # the thread is at it and takes this too
            return
        try:
            if self._queue and self._begin_at_once():
                self._one_group(_LOOP_GROUP_LIMIT)
        finally:
            self._turn.release()
        self._hand_out()
        if self._queue and not self._loop_asked and self._loop is not None and not self._stopped.is_set():
            self._loop_asked = True
            self._loop.call_soon(self._on_loop)

    def _begin_at_once(self) -> bool:
        """Is the file ours without waiting? Who waits for somebody else's lock is the thread, never the loop."""
        self._be_patient(0)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            self.in_loop, self.sync_s = False, _LOCKED_S
            self._wanted.set()
            return False
        return True

    def _be_patient(self, milliseconds: int) -> None:
        if milliseconds != self._patience_ms:
            self._connection.execute(f"PRAGMA busy_timeout={milliseconds}")
            self._patience_ms = milliseconds

    def _run(self) -> None:
        while not (self._stopped.is_set() and not self._queue):
            self._wanted.wait()
            self._wanted.clear()
            while self._queue:
                with self._turn:
                    self._be_patient(BUSY_TIMEOUT_MS)
                    self._one_group(_GROUP_LIMIT)
                self._hand_out()

    def _one_group(self, limit: int) -> None:
        group = [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
        if not group:
            return
        began = time.perf_counter()
        answers = self._commit(group)
        self.sync_s += _SMOOTHING * (time.perf_counter() - began - self.sync_s)
        if self._loop is not None:
            self.in_loop = self.sync_s < (_SLOW_ABOVE_S if self.in_loop else _QUICK_BELOW_S)
        self.groups += 1
        self.pieces += len(group)
        self._collect(answers)
        if self._room.tight:
            self._room.tidy(self._ledger)
            self._patience_ms = 0
        if any(isinstance(error, StoreFull) for _, _, error in answers):
            self._on_full()

    def renew_file(self, generation: int) -> None:
        """Somebody found the file of this generation damaged. Returns when a sound one stands in its place."""
        with self._turn:
            if generation == self.generation and not self._stopped.is_set():
                self._renew()

    @property
    def ledger(self) -> Ledger:
        return self._ledger

    @property
    def epoch(self) -> str:
        return self._ledger.committed_epoch

    @property
    def closed(self) -> bool:
        return self._stopped.is_set()

    def _commit(self, group: Sequence[tuple[Work, Done]]) -> Answers:
        try:
            values = self._transaction([work for work, _ in group])
        except Exception as error:  # outer loop: whatever the work did, its neighbours and the thread go on
            if not is_damage(error) or not self._renew():
                return self._one_by_one(group, error)
            try:
                values = self._transaction([work for work, _ in group])
            except Exception as again:  # outer loop, as above
                return self._one_by_one(group, again)
        return [(done, value, None) for (_, done), value in zip(group, values, strict=True)]

    def _transaction(self, works: Sequence[Work]) -> list[Any]:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        values = [work(self._ledger) for work in works]
        self._ledger.flush()
        self._connection.execute("COMMIT")
        self._ledger.committed()
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
        if isinstance(error, sqlite3.Error):
            reason = self._room.judge(error)
        else:
            reason = error if isinstance(error, StoreError) else StoreBusy(repr(error))
        if not (isinstance(error, StoreFull) and self._room.tight):  # said once, when the disk became full
            log.error("store.refused", reason=str(reason))
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._ledger.undo()
        except sqlite3.Error:
            self._reopen()
        return reason

    def _reopen(self) -> bool:
        try:
            self._connection.close()
            self._connection = self._open_connection()
            self._patience_ms = BUSY_TIMEOUT_MS
            filling, self._ledger = self._ledger.filling, Ledger(self._connection, self._ledger.positions().next_id)
            self._ledger.filling = filling
        except (sqlite3.Error, StoreError) as error:
            log.error("store.cannot_reopen", reason=str(error))
            return False
        return True

    def _renew(self) -> bool:
        """A new file in the place of the damaged one; what was asked for goes there. False: it could not be made."""
        self._ledger.undo()
        positions = self._ledger.positions()
        try:
            self._connection.close()
            self._set_aside(positions)
        except (OSError, sqlite3.Error) as error:
            log.error("store.cannot_set_aside", reason=str(error))
            self._reopen()
            return False
        if not self._reopen():
            return False
        self._ledger.filling = True
        self.generation += 1
        return True
