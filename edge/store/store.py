"""The box's store: what is answered as kept survives a kill and a power cut.

One file in WAL mode with synchronous=FULL, one writer with group commit, readers beside it, and a lock so that two
daemons cannot share a file. `submit` never blocks; answers come in the order of asking, on the event loop that was
given, or in the writer's thread where none was.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from edge.clock import Moment
from edge.errors import StoreBusy, StoreError
from edge.store import schema
from edge.store.ledger import Ledger
from edge.store.reader import Reader
from edge.store.rows import Draft
from edge.store.writer import Answers, Done, Work, Writer

_MEGABYTE = 1024 * 1024
_FULL_AT = 0.9
"""From this share of its bound on, the store drops delivered messages without regard to their age."""
_DAY = 86_400_000_000
"""In microseconds."""
_ANY_AGE = 2**62
_LOCK_RETRY_S = 0.05


class Store:
    """Open it once per process; `close` finishes what was asked for."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 4096 * _MEGABYTE,
        loop: asyncio.AbstractEventLoop | None = None,
        group_wait_s: float = 0.0,
    ) -> None:
        """Raises `StoreBusy` when another process has the file or it cannot be written, `StoreFull` without room."""
        self.path = path
        self._max_bytes = max_bytes
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._answers: deque[tuple[Done, Any, StoreError | None]] = deque()
        self._lock = _lock(path)
        try:
            self._writer = Writer(
                lambda: schema.open_for_writing(path, max_bytes),
                self._collect,
                self._hand_out,
                loop=loop,
                group_wait_s=group_wait_s,
            )
            with closing(self.reader()) as reader:
                self.epoch = reader.value("epoch")
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        self._writer.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reader(self) -> Reader:
        """A connection of its own for whoever reads; close it."""
        return Reader(self.path)

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
        disk = os.statvfs(self.path.parent)
        return max(0, min(disk.f_bavail * disk.f_frsize, self._max_bytes - self.path.stat().st_size))

    def prune(self, now: Moment, keep_delivered_days: int, done: Done, limit: int = 200) -> None:
        """Drop a few delivered messages that are old, or any delivered ones when the store is nearly full."""
        received_before = now.microseconds - keep_delivered_days * _DAY
        expired_before = now.microseconds - _DAY if now.sure else 0

        def work(ledger: Ledger) -> int:
            ledger.prune_worklist(expired_before)
            nearly_full = ledger.used_bytes() > _FULL_AT * self._max_bytes
            return ledger.prune_delivered(_ANY_AGE if nearly_full else received_before, limit)

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
