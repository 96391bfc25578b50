"""How much room there is: the configured bound, the disk, and a ballast beside the store that is given up at the end.

On a full disk SQLite refuses even the DELETE that would make room (its log has to grow first). So a file of some
megabytes stands beside the store; when the disk is full it is removed, what the cloud has confirmed is pruned in its
place, and it is made again when there is room. Meanwhile the bench is refused: the room is for receipts and pruning.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from edge.errors import StoreError, StoreFull
from edge.store.ledger import Ledger
from edge.store.schema import PAGE_BYTES, as_store_error

_KILOBYTE, _MEGABYTE = 1024, 1024 * 1024
_MOST_BALLAST = 4
"""At most this part of the bound."""
_WARN_AT = (0.9, 0.8)
_PRESSED_AT, _RELIEVED_AT = 0.9, 0.85
_LOOK_EVERY_S = 0.5
FULL = "the disk is full"

log = structlog.get_logger()


def disk_free(path: Path) -> int:
    """Bytes that we may still write beside this file."""
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize


class Room:
    """Used by whoever has the writer's turn; the figures may be read by anybody."""

    def __init__(
        self, path: Path, max_bytes: int, ballast_bytes: int = 0, free: Callable[[Path], int] = disk_free
    ) -> None:
        """`max_bytes`: the store's file and the ballast together."""
        self._path = path
        self._ballast = path.with_name(path.name + ".ballast")
        self._wanted = min(ballast_bytes, max_bytes // _MOST_BALLAST)
        self._free = free
        self.bound_bytes = max_bytes - self._wanted
        self._spare = max(256 * _KILOBYTE, min(self._wanted // 2, 8 * _MEGABYTE))
        """What the log needs of the disk to go on."""
        self.tight = False
        """The disk was full: nothing new is taken in until there is room again."""
        self.used_bytes = 0
        self.waiting_bytes = 0
        """About what the messages without a receipt take."""
        self.warning = 0
        """0, 80 or 90: percent of the room that is taken by messages without a receipt."""
        self.full_times = 0
        self._looked_at = 0.0

    @property
    def ballast_bytes(self) -> int:
        try:
            return self._ballast.stat().st_size
        except OSError:
            return 0

    def free_bytes(self) -> int:
        """Room on the disk or under the bound, whichever is less."""
        try:
            return max(0, min(self._free(self._path), self.bound_bytes - self._path.stat().st_size))
        except OSError:
            return 0

    def judge(self, error: sqlite3.Error) -> StoreError:
        """What a refusal of SQLite means; a full disk costs the ballast."""
        disk_is_full = self._free(self._path) < self._spare
        reason = as_store_error(error, disk_is_full=disk_is_full)
        if isinstance(reason, StoreFull) and disk_is_full and not self.tight:
            self.give_up_ballast()
        return reason

    def give_up_ballast(self) -> None:
        self.tight = True
        self.full_times += 1
        given, free = self.ballast_bytes, self._free(self._path)
        self._ballast.unlink(missing_ok=True)
        log.error("disk.full", free_bytes=free, ballast_released=given)

    def pressed(self, ledger: Ledger, *, already: bool = False) -> bool:
        """Must delivered messages go, whatever their age? Once begun, a little more goes than what asked for it."""
        self.used_bytes = ledger.used_bytes()
        return self.tight or self.used_bytes > (_RELIEVED_AT if already else _PRESSED_AT) * self.bound_bytes

    def note(self, ledger: Ledger) -> None:
        """Measure, warn once at each step, and make the ballast again where there is room for it."""
        self.used_bytes = ledger.used_bytes()
        self.waiting_bytes = int(self.used_bytes * ledger.waiting_share())
        free = self._free(self._path)
        whole = min(self.bound_bytes, self.used_bytes + ledger.free_bytes() + max(0, free - self._spare))
        share = self.waiting_bytes / max(whole, 1)
        warning = next((round(each * 100) for each in _WARN_AT if share >= each), 0)
        if warning > self.warning:
            log.warning("store.filling", percent=warning, waiting_bytes=self.waiting_bytes, room_bytes=whole)
        self.warning = warning
        if not self.tight:
            self._make_ballast(free)

    def tidy(self, ledger: Ledger) -> None:
        """Between two transactions on a tight disk: give the log's pages back and see whether there is room again."""
        ledger.refusing = FULL if self.tight else None
        if not self.tight or time.monotonic() - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        try:
            ledger.connection.execute("PRAGMA busy_timeout=0")
            ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            pages = int(ledger.connection.execute("PRAGMA page_count").fetchone()[0])
            inside = ledger.free_bytes()
        except sqlite3.Error as error:
            log.warning("disk.still_full", reason=str(error))
            return
        free = self._free(self._path)
        growth = min(self.bound_bytes - pages * PAGE_BYTES, free - self._spare)
        enough = min(_MEGABYTE, self.bound_bytes // 64)
        if free >= self._spare and inside + max(0, growth) >= enough:
            self.tight, ledger.refusing = False, None
            self._make_ballast(free)
            log.warning("disk.has_room", free_bytes=free, inside_bytes=inside, ballast_bytes=self.ballast_bytes)

    @property
    def log_pages(self) -> int:
        """After how many pages the log is copied back: on a full disk the file grows by them out of the ballast."""
        return max(16, min(1000, self._spare // 2 // PAGE_BYTES))

    def _make_ballast(self, free: int) -> None:
        """As large as wanted, or as there is room for when it is at least a quarter; without holes."""
        has = self.ballast_bytes
        size = min(self._wanted, has + free - self._spare)
        if size <= has or size < self._wanted // 4:
            return
        try:
            file = os.open(self._ballast, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(file, 0, size)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            self._ballast.unlink(missing_ok=True)
            log.warning("ballast.not_made", reason=str(error), size_bytes=size)
