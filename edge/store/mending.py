"""Is the file sound? Asked after an unclean stop, beside the links; and a damaged file read while they go on.

A check of 400 MB takes seconds on a good disk and minutes on a worn one: it is never on the way of a start.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import structlog

from edge.errors import StoreError
from edge.store.aside import Aside, asides, write_aside
from edge.store.ledger import Ledger
from edge.store.salvage import Salvage, Stopped
from edge.store.schema import connect

log = structlog.get_logger()


class Mended(Protocol):
    """The store, as far as it is needed here."""

    path: Path

    @property
    def generation(self) -> int: ...

    def found_damaged(self, generation: int) -> None: ...

    def write(self, work: Callable[[Ledger], Any]) -> Any: ...


class Mending:
    """Two threads at most: one checks, one reads what was set aside. `done` gets the links that may send again."""

    def __init__(self, store: Mended, done: Callable[[list[str]], None]) -> None:
        self._store = store
        self._done = done
        self._stop = threading.Event()
        self._asides = asides(store.path)
        self._reading: threading.Thread | None = None
        self._checking: threading.Thread | None = None
        self._check: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self.checked = "not needed"
        """What the check after an unclean stop said: "not needed", "under way", "sound" or "damaged"."""

    @property
    def under_way(self) -> bool:
        return any(not each.done for each in self._asides)

    def start(self, check_after_s: float | None) -> None:
        """`check_after_s`: None where the file was closed in order."""
        if self.under_way:
            self.begin()
        if check_after_s is not None:
            self.checked = "under way"
            self._checking = threading.Thread(target=self._check_file, args=(check_after_s,), name="store-check")
            self._checking.start()

    def begin(self) -> None:
        """A file was set aside just now (by whoever has the writer's turn), or before the last stop."""
        with self._lock:
            known = {each.file for each in self._asides}
            self._asides = [*self._asides, *(each for each in asides(self._store.path) if each.file not in known)]
            if (self._reading is None or not self._reading.is_alive()) and not self._stop.is_set():
                self._reading = threading.Thread(target=self._read_all, name="store-salvage")
                self._reading.start()

    def stop(self) -> None:
        self._stop.set()
        if self._check is not None:
            with suppress(sqlite3.ProgrammingError):  # its thread has just ended and closed it
                self._check.interrupt()
        for each in (self._checking, self._reading):
            if each is not None:
                each.join()

    def sends_after(self, link: str) -> int | None:
        """The link may send when the cloud has all up to this sequence; None: not while a file is being read."""
        waiting = [each for each in self._asides if not each.done]
        if not all(each.certain for each in waiting):
            return None
        return max((each.boundary.get(link, 0) for each in waiting), default=0)

    def report(self) -> dict[str, Any]:
        return {
            "check": self.checked,
            "reading": self.under_way,
            "files": [{key: value for key, value in asdict(each).items() if key in _SHOWN} for each in self._asides],
        }

    def _check_file(self, after_s: float) -> None:
        if self._stop.wait(after_s):
            return
        generation = self._store.generation
        try:
            with closing(connect(self._store.path, read_only=True)) as self._check:
                found = [str(each) for (each,) in self._check.execute("PRAGMA quick_check(5)")]
        except sqlite3.Error as error:
            found = [str(error)]
        finally:
            self._check = None
        if self._stop.is_set():
            return
        if found != ["ok"]:
            log.error("store.check_failed", findings=found)
            self._store.found_damaged(generation)
        self.checked = "sound" if found == ["ok"] else "damaged"
        log.info("store.checked", result=self.checked)

    def _read_all(self) -> None:
        try:
            while waiting := [each for each in self._asides if not each.done]:
                for each in waiting:
                    self._read(each)
                with self._lock:
                    finished = [each for each in self._asides if each in waiting]
                    if len(finished) == len([each for each in self._asides if not each.done]):
                        self._store.write(_filled)
                        for each in finished:
                            each.done = True
                            write_aside(self._store.path, each)
        except (Stopped, StoreError) as error:
            log.info("salvage.stopped", reason=repr(error))
            return
        except Exception as fault:  # outer loop of the thread: the links go on, the file stays, somebody is told
            log.exception("salvage.failed", fault=repr(fault))
            return
        self._done(sorted({link for each in self._asides for link in each.boundary}))

    def _read(self, aside: Aside) -> None:
        aside.frames = aside.messages = aside.rebuilt = aside.lost = 0
        Salvage(self._store.path, aside, self._store.write, self._stop).run()
        log.warning("salvage.done", **{key: getattr(aside, key) for key in _SHOWN})


_SHOWN = ("file", "done", "pages", "pages_read", "frames", "messages", "rebuilt", "lost")


def _filled(ledger: Ledger) -> None:
    """Everything that could be read is there."""
    ledger.filling = False
    if ledger.connection.execute("DELETE FROM box WHERE key = 'epoch_due'").rowcount:
        ledger.begin_epoch()
