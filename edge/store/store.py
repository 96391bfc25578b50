"""The box's store: what is answered as kept survives a kill and a power cut.

One file in WAL mode with synchronous=FULL, one writer with group commit, readers beside it, and a lock so that two
daemons cannot share a file. `submit` never blocks; answers come in the order of asking, on the event loop that was
given, or in the writer's thread where none was.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import structlog

from edge.clock import Moment
from edge.errors import StoreBusy, StoreError, StoreFull
from edge.store import aside, orders, schema, wal
from edge.store.ledger import Ledger
from edge.store.mending import Mending
from edge.store.reader import Reader
from edge.store.room import Room
from edge.store.rows import Draft, Positions
from edge.store.writer import Answers, Done, Work, Writer

_MEGABYTE = 1024 * 1024
_DAY = 86_400_000_000
"""In microseconds."""
_ANY_AGE = 2**62
_PIECE = 200
_PRESS_AGAIN_S = 1.0
_LOCK_RETRY_S = 0.05

log = structlog.get_logger()


class Store:
    """Open it once per process; `close` finishes what was asked for."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 4096 * _MEGABYTE,
        ballast_bytes: int = 0,
        loop: asyncio.AbstractEventLoop | None = None,
        check_after_s: float = 3.0,
    ) -> None:
        """Raises `StoreBusy` when another process has the file or it cannot be written, `StoreFull` without room.

        `max_bytes`: the file and the ballast (`ballast_bytes`) together. A file that nobody closed is checked some
        seconds after the start; a damaged one is replaced, here or later.
        """
        self.path = path
        self.on_mended: Callable[[str], None] = lambda link: None
        """Told on the loop of each link that may send again what was in a damaged file."""
        self.room = Room(path, max_bytes, ballast_bytes)
        self._max_bytes = max_bytes
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._answers: deque[tuple[Done, Any, StoreError | None]] = deque()
        self._pruning, self._not_before = False, 0.0
        self._spare: Positions | None = None
        self._spare_thread: threading.Thread | None = None
        self._lock = _lock(path)
        try:
            unclean = path.with_name(path.name + "-wal").exists()
            if aside.interrupted(path) is not None:
                aside.set_aside(path, None, max_bytes)
            elif unclean and wal.drops_commits(path):
                log.error("store.log_damaged", log=path.name + "-wal")
                aside.set_aside(path, None, max_bytes)
            self._writer = self._opened(loop)
            self.mending = Mending(self, self._mended)
            self._writer.ledger.filling = self.mending.under_way
            self.mending.start(check_after_s if unclean else None)
        except BaseException:
            os.close(self._lock)
            raise

    def _opened(self, loop: asyncio.AbstractEventLoop | None) -> Writer:
        """Also where the file is damaged, and where the disk is so full that only the ballast can help."""
        tries = 3
        while True:
            tries -= 1
            try:
                return Writer(
                    self._connect,
                    self._collect,
                    self._hand_out,
                    room=self.room,
                    set_aside=self._set_aside,
                    on_full=self._make_room,
                    loop=loop,
                )
            except sqlite3.Error as error:
                if not tries:
                    raise self.room.judge(error) from error
                if schema.is_damage(error):
                    aside.set_aside(self.path, None, self.room.bound_bytes)
                elif not isinstance(self.room.judge(error), StoreFull):
                    raise self.room.judge(error) from error

    def _connect(self) -> sqlite3.Connection:
        connection = schema.open_for_writing(self.path, self.room.bound_bytes)
        connection.execute(f"PRAGMA wal_autocheckpoint={self.room.log_pages}")
        return connection

    def close(self) -> None:
        self.mending.stop()
        self._write_spare(at_once=True)
        self._writer.close()
        os.close(self._lock)

    @property
    def epoch(self) -> str:
        """As the last commit left it."""
        return self._writer.epoch

    @property
    def generation(self) -> int:
        return self._writer.generation

    def found_damaged(self, generation: int) -> None:
        """Somebody could not read the file; a sound one stands in its place when this returns."""
        self._writer.renew_file(generation)

    def sends_after(self, link: str) -> int | None:
        """See `edge.store.reader.Files`."""
        return self.mending.sends_after(link)

    @property
    def filling(self) -> bool:
        return self.mending.under_way

    def _set_aside(self, positions: Positions) -> None:
        aside.set_aside(self.path, positions, self.room.bound_bytes)
        self.mending.begin()

    def _mended(self, links: list[str]) -> None:
        for link in links:
            if self._loop is None:
                self.on_mended(link)
            elif not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self.on_mended, link)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reader(self) -> Reader:
        """A connection of its own for whoever reads; close it."""
        return Reader(self.path, self)

    @property
    def writer(self) -> Writer:
        """Its counters: `groups`, `pieces`, `failures`."""
        return self._writer

    def submit(self, work: Work, done: Done) -> None:
        """Ask for `work` in the next group; `done(value, None)` follows the commit, `done(None, error)` the refusal."""
        self._writer.submit(work, done)

    def keep(
        self,
        link: str,
        raws: Sequence[bytes],
        at: Moment,
        done: Done,
        *,
        earlier: Sequence[int] = (),
        draft: Draft | None = None,
    ) -> None:
        """Frames, and with `draft` their message, in one transaction; `done` gets `Kept`. See `Ledger.keep`."""
        self._writer.submit(lambda ledger: ledger.keep(link, raws, at, earlier, draft), done)

    def write(self, work: Work) -> Any:
        """`work`, waited for: at the start and in tests, never on the event loop. Raises `StoreError`."""
        waiter = _Waiter()
        self._writer.submit(work, waiter, waited_for=True)
        return waiter.value()

    def bytes_free(self) -> int:
        """Room on the disk or under the store's bound, whichever is less."""
        return self.room.free_bytes()

    def condition(self) -> dict[str, Any]:
        """What a person should know of the store, for the state file and the console."""
        room = self.room
        return {
            "bound_bytes": room.bound_bytes,
            "used_bytes": room.used_bytes,
            "waiting_bytes": room.waiting_bytes,
            "ballast_bytes": room.ballast_bytes,
            "warning_percent": room.warning,
            "refusing": room.tight,
            "full_times": room.full_times,
            "damage": self.mending.report(),
        }

    def prune(self, now: Moment, keep_delivered_days: int, done: Done, limit: int = 200) -> None:
        """Drop what is old, or any delivered messages when there is little room; `done` follows the first piece.

        In pieces of about `limit` messages, so that the bench never waits for long. A clock that is not trusted makes
        nothing old.
        """
        before, after = (now.microseconds - keep_delivered_days * _DAY, now.microseconds + _DAY)
        expired_before = now.microseconds - _DAY if now.sure else 0

        def work(ledger: Ledger) -> int:
            ledger.prune_worklist(expired_before)
            orders.prune(ledger.connection, now)
            self.room.note(ledger)
            if self.room.pressed(ledger):
                return ledger.prune_delivered(_ANY_AGE, limit)
            return ledger.prune_delivered(before, limit, after) if now.sure else 0

        def first(dropped: int | None, error: StoreError | None) -> None:
            done(dropped, error)
            if error is None and dropped and dropped >= limit // 2:
                self._writer.submit(work, more)

        def more(dropped: int | None, error: StoreError | None) -> None:
            if error is None and dropped and dropped >= limit // 2 and not self._writer.closed:
                self._writer.submit(work, more)

        self._writer.submit(work, first)
        self._write_spare()

    def _write_spare(self, *, at_once: bool = False) -> None:
        """The side file, where something moved since the last time; its syncs are not the loop's affair."""
        try:
            positions = replace(self._writer.ledger.positions(), open_frames=[])
        except RuntimeError:  # the writer's thread is at it: the next time
            return
        if positions == self._spare:
            return
        if self._spare_thread is not None:
            if self._spare_thread.is_alive() and not at_once:
                return
            self._spare_thread.join()
        self._spare = positions
        self._spare_thread = threading.Thread(target=self._write_spare_file, args=(positions,), name="store-spare")
        self._spare_thread.start()
        if at_once:
            self._spare_thread.join()

    def _write_spare_file(self, positions: Positions) -> None:
        try:
            aside.write_spare(self.path, positions)
        except OSError as error:
            log.info("store.spare_not_written", reason=str(error))

    def _make_room(self) -> None:
        """Something was refused for want of room: delivered messages go now, one piece after the other."""
        if self._pruning or self._writer.closed or time.monotonic() < self._not_before:
            return
        self._pruning = True

        def work(ledger: Ledger) -> int:
            return ledger.prune_delivered(_ANY_AGE, _PIECE) if self.room.pressed(ledger, already=True) else 0

        def done(dropped: int | None, error: StoreError | None) -> None:
            self._pruning = False
            if error is not None:  # not even that
                self._not_before = time.monotonic() + _PRESS_AGAIN_S
                log.warning("store.cannot_prune", reason=str(error))
            elif dropped:
                self._make_room()

        self._writer.submit(work, done)

    def _collect(self, answers: Answers) -> None:
        """One group's answers behind those of the groups before, for the loop; who waits gets his at once."""
        for answer in answers:
            if self._loop is None or isinstance(answer[0], _Waiter):
                answer[0](answer[1], answer[2])
            else:
                self._answers.append(answer)

    def _hand_out(self) -> None:
        if not self._answers or self._loop is None or self._loop.is_closed():
            return
        if threading.get_ident() == self._loop_thread:
            self._answer_all()
        else:
            self._loop.call_soon_threadsafe(self._answer_all)

    def _answer_all(self) -> None:
        while self._answers:
            done, value, error = self._answers.popleft()
            done(value, error)


class _Waiter:
    """Somebody outside the event loop who waits for an answer."""

    def __init__(self) -> None:
        self._answered = threading.Event()
        self._value: Any = None
        self._error: StoreError | None = None

    def __call__(self, value: Any, error: StoreError | None) -> None:
        self._value, self._error = value, error
        self._answered.set()

    def value(self) -> Any:
        self._answered.wait()
        if self._error is not None:
            raise self._error
        return self._value


def is_open(path: Path) -> bool:
    """Does a running process hold this store?"""
    try:
        os.close(_lock(path, tries=1))
    except StoreBusy:
        return True
    return False


def _lock(path: Path, tries: int = 10) -> int:
    """Held as long as the process lives, also when it is killed: no stale lock can be left behind.

    A few tries: `edge status` holds it for the blink of an eye.
    """
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreBusy(f"the store's folder cannot be written: {error.strerror}") from error
    for left in range(tries, 0, -1):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError:
            if left > 1:
                time.sleep(_LOCK_RETRY_S)
    os.close(lock)
    raise StoreBusy(f"another process has {path} open")
