"""A disk that loses power: every write and sync of SQLite is recorded, and any moment can be cut.

The store's own code runs on it unchanged. Only the database library under it is exchanged: apsw, which is SQLite too,
and lets the calls to the operating system be recorded (a VFS). A small stand-in gives apsw the face of `sqlite3`.

What a cut leaves (per file): everything before the file's last sync, and of each 512-byte sector written since then any
version: the old one, the newest, one in between, or a torn mixture. A created or deleted name is durable with the next
sync of any file (as on a journalling file system) and before that in doubt.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512
VFS_NAME = "xinglin-recorder"
_DROP, _TEAR = 0.4, 0.1
_CHECKPOINT_PAGES = 40
"""Instead of 1,000, so that a short life holds many checkpoints."""


@dataclass(frozen=True, slots=True)
class Write:
    file: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    file: str


@dataclass(frozen=True, slots=True)
class Delete:
    file: str


@dataclass(frozen=True, slots=True)
class Said:
    """The store told somebody something (or was asked for something): order against the disk is what counts."""

    what: Any


Step = Write | Truncate | Sync | Delete | Said


class Recorder(apsw.VFS):  # type: ignore[misc]
    """The machine's own disk, with every change of a file noted in `steps`."""

    def __init__(self) -> None:
        super().__init__(VFS_NAME, "")
        self.steps: list[Step] = []

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:
        self.steps.append(Delete(self.named(name)))
        super().xDelete(name, syncdir)

    def named(self, name: str) -> str:
        return Path(name).name


class _File(apsw.VFSFile):  # type: ignore[misc]
    def __init__(self, recorder: Recorder, name: Any, flags: list[int]) -> None:
        self._steps = recorder.steps
        self._name = recorder.named(name.filename() if isinstance(name, apsw.URIFilename) else str(name))
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._steps.append(Write(self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._steps.append(Truncate(self._name, size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._steps.append(Sync(self._name))


# ---------------------------------------------------------------------- the cut


@dataclass(slots=True)
class _Disk:
    durable: dict[str, bytearray] = field(default_factory=dict)
    pending: dict[str, list[Write | Truncate]] = field(default_factory=dict)
    doubtful: dict[str, tuple[bytearray, list[Write | Truncate]]] = field(default_factory=dict)
    """Deleted since the last sync of anything: may be there again."""
    created: set[str] = field(default_factory=set)


class Cutter:
    """Walks through the steps; `image` is what would be on the disk if the power failed here."""

    def __init__(self, before: dict[str, bytes]) -> None:
        self._disk = _Disk(durable={name: bytearray(data) for name, data in before.items()})

    def take(self, step: Step) -> None:
        disk = self._disk
        if isinstance(step, Write | Truncate):
            if step.file not in disk.durable:
                disk.durable[step.file] = bytearray()
                disk.created.add(step.file)
            disk.pending.setdefault(step.file, []).append(step)
        elif isinstance(step, Sync):
            for each in disk.pending.pop(step.file, []):
                _apply(disk.durable[step.file], each)
            disk.doubtful.clear()
            disk.created.clear()
        elif isinstance(step, Delete) and step.file in disk.durable:
            disk.doubtful[step.file] = (disk.durable.pop(step.file), disk.pending.pop(step.file, []))
            disk.created.discard(step.file)

    def image(self, pick: random.Random) -> dict[str, bytes]:
        disk = self._disk
        files = {}
        for name, data in disk.durable.items():
            if name not in disk.created or pick.random() < 0.5:
                files[name] = _survives(data, disk.pending.get(name, []), pick)
        for name, (data, pending) in disk.doubtful.items():
            if name not in files and pick.random() < 0.5:
                files[name] = _survives(data, pending, pick)
        return files


def _apply(data: bytearray, change: Write | Truncate) -> None:
    if isinstance(change, Truncate):
        del data[change.size :]
        return
    end = change.offset + len(change.data)
    if len(data) < end:
        data.extend(bytes(end - len(data)))
    data[change.offset : end] = change.data


def _survives(durable: bytearray, pending: Sequence[Write | Truncate], pick: random.Random) -> bytes:
    """The file with each unsynced sector kept, dropped, torn or at a version in between."""
    if not pending:
        return bytes(durable)
    versions: dict[int, list[bytes]] = {}
    latest = bytearray(durable)
    for change in pending:
        _apply(latest, change)
        if isinstance(change, Truncate):
            if pick.random() < 0.5:  # it happened: what was beyond is gone
                versions = {number: kept for number, kept in versions.items() if number * SECTOR < change.size}
                durable = durable[: change.size]
            continue
        first, last = change.offset // SECTOR, (change.offset + len(change.data) - 1) // SECTOR
        for number in range(first, last + 1):
            versions.setdefault(number, []).append(bytes(latest[number * SECTOR : (number + 1) * SECTOR]))
    found = bytearray(durable)
    for number in sorted(versions):
        start = number * SECTOR
        sector = _one_of(bytes(found[start : start + SECTOR]), versions[number], pick)
        if sector is not None:
            if len(found) < start:
                found.extend(bytes(start - len(found)))
            found[start : start + len(sector)] = sector
    return bytes(found)


def _one_of(old: bytes, versions: list[bytes], pick: random.Random) -> bytes | None:
    """None: the sector was dropped."""
    chance = pick.random()
    new = versions[-1] if pick.random() < 0.7 else pick.choice(versions)
    if chance < _DROP:
        return None
    if chance < _DROP + _TEAR:
        at = pick.randrange(len(new) + 1)
        return new[:at] + old[at:].ljust(len(new) - at, b"\0")
    return new


# ---------------------------------------------------------------------- apsw with the face of sqlite3


class Sqlite3OverApsw:
    """What `edge.store.schema` calls `sqlite3`, for as long as a life is recorded. `synchronous` may be weakened."""

    Error = sqlite3.Error
    OperationalError = sqlite3.OperationalError
    DatabaseError = sqlite3.DatabaseError
    Row = sqlite3.Row

    def __init__(self, recorder: Recorder, synchronous: str = "FULL") -> None:
        self._recorder = recorder
        self._synchronous = synchronous

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, address: str, *, timeout: float = 5.0, **_: Any) -> Connection:
        flags = apsw.SQLITE_OPEN_URI | (
            apsw.SQLITE_OPEN_READONLY if "mode=ro" in address else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        )
        with _as_sqlite3():
            plain = apsw.Connection(address, flags=flags, vfs=VFS_NAME)
            plain.set_busy_timeout(int(timeout * 1000))
            plain.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        return Connection(plain, self._synchronous)


class Connection:
    def __init__(self, plain: apsw.Connection, synchronous: str) -> None:
        self._plain = plain
        self._synchronous = synchronous

    @property
    def in_transaction(self) -> bool:
        return bool(self._plain.in_transaction)

    def execute(self, sql: str, parameters: Any = ()) -> Cursor:
        if sql == "PRAGMA synchronous=FULL":
            sql = f"PRAGMA synchronous={self._synchronous}"
        cursor = Cursor(self._plain)
        cursor.execute(sql, parameters)
        return cursor

    def executemany(self, sql: str, rows: Iterable[Any]) -> Cursor:
        cursor = Cursor(self._plain)
        for each in rows:
            cursor.execute(sql, each)
        return cursor

    def interrupt(self) -> None:
        self._plain.interrupt()

    def close(self) -> None:
        with _as_sqlite3():
            self._plain.close()


class Cursor:
    """All rows at once: what the store reads here is small."""

    def __init__(self, plain: apsw.Connection) -> None:
        self._plain = plain
        self._rows: list[tuple[Any, ...]] = []
        self._at = 0
        self._names: list[str] = []
        self.row_factory: Any = None
        self.lastrowid: int | None = None
        self.rowcount = -1

    def execute(self, sql: str, parameters: Any) -> None:
        with _as_sqlite3():
            changes = self._plain.total_changes()
            cursor = self._plain.execute(sql, tuple(parameters))
            with contextlib.suppress(apsw.ExecutionCompleteError):
                self._names = [each[0] for each in cursor.get_description()]
            self._rows, self._at = cursor.fetchall(), 0
            self.lastrowid = self._plain.last_insert_rowid()
            self.rowcount = self._plain.total_changes() - changes

    def fetchone(self) -> Any:
        if self._at >= len(self._rows):
            return None
        self._at += 1
        return self._made(self._rows[self._at - 1])

    def fetchall(self) -> list[Any]:
        found = [self._made(each) for each in self._rows[self._at :]]
        self._at = len(self._rows)
        return found

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())

    def _made(self, row: tuple[Any, ...]) -> Any:
        return row if self.row_factory is None else dict(zip(self._names, row, strict=True))


_KINDS = {apsw.ConstraintError: sqlite3.IntegrityError, apsw.NotADBError: sqlite3.DatabaseError}
_KINDS[apsw.CorruptError] = sqlite3.DatabaseError


@contextlib.contextmanager
def _as_sqlite3() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        kind = next((found for each, found in _KINDS.items() if isinstance(error, each)), sqlite3.OperationalError)
        raised = kind(str(error))
        raised.sqlite_errorcode = getattr(error, "extendedresult", 1)
        raise raised from error
