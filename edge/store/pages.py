"""A damaged SQLite file read page by page, without SQLite, for the rows that are still on it.

Every page that looks like the leaf of a tree is read by itself, so that a lost inner page or a lost header hides
nothing. Pages in the write-ahead log are newer than those in the file. Where a sector of the log went bad, the copy of
a page from before it and the one from behind it are both read: each may have rows that the other lost. Nothing is
trusted: what does not fit is skipped and counted; whether a row is right is told by its own CRC, elsewhere.

Source: https://www.sqlite.org/fileformat2.html, sections 1.3 to 1.6, 2 and 4.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.store.schema import PAGE_BYTES
from edge.store.wal import Log, read_log

_INNER_INDEX, _LEAF_INDEX, _LEAF_TABLE = 0x02, 0x0A, 0x0D
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_LONGEST_ROW = 256 * 1024 * 1024

Value = int | float | str | bytes | None


@dataclass(frozen=True, slots=True)
class Row:
    """`rowid`: of a table; None where the record stands in an index (a table without rowid is one)."""

    rowid: int | None
    values: tuple[Value, ...]


class DamagedFile:
    """`page_count` pages from 1. Close it; other connections to the file lose their locks with that."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        wal = path.with_name(path.name + "-wal")
        self._wal = os.open(wal, os.O_RDONLY) if wal.exists() else None
        self.log = read_log(self._wal) if self._wal is not None else Log()
        in_file = -(-os.fstat(self._file).st_size // PAGE_BYTES)
        self.page_count = max([in_file, *self.log.kept, *self.log.beyond])
        self.unreadable = 0
        """Pages that the disk would not give, and cells that are no record."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._file)
        if self._wal is not None:
            os.close(self._wal)

    def newer_pages(self) -> list[int]:
        """Pages that stand in the write-ahead log."""
        return sorted({*self.log.kept, *self.log.beyond})

    def free_pages(self) -> set[int]:
        """Pages that hold nothing any more, as far as their list can be followed: what is on them was deleted."""
        found: set[int] = set()
        head = self._page(1)
        trunk = struct.unpack_from(">I", head, 32)[0] if head[:15] == b"SQLite format 3" else 0
        while 0 < trunk <= self.page_count and trunk not in found:
            found.add(trunk)
            page = self._page(trunk)
            if len(page) < PAGE_BYTES:
                break
            following, count = struct.unpack_from(">II", page)
            if count > PAGE_BYTES // 4 - 2:
                break
            found.update(struct.unpack_from(f">{count}I", page, 8))
            trunk = following
        return found

    def rows(self, number: int, *, doubtful: bool = False) -> Iterator[Row]:
        """The records on one page; none where it is no page of a tree. Where they differ the first copy is right.

        `doubtful`: also from copies in a broken log that may be damaged.
        """
        yield from self._rows(number, self._page(number))
        yield from self.behind_the_break(number, doubtful=doubtful)

    def behind_the_break(self, number: int, *, doubtful: bool = False) -> Iterator[Row]:
        """The records on this page's copies that a broken log has behind its first bad frame."""
        copies = [self.log.beyond[number]] if number in self.log.beyond else []
        if doubtful:
            copies += reversed(self.log.doubtful.get(number, ()))
        for each in copies:
            yield from self._rows(number, self._of_log(each))

    def _rows(self, number: int, page: bytes) -> Iterator[Row]:
        start = 100 if number == 1 else 0
        if len(page) < PAGE_BYTES or page[start] not in (_LEAF_TABLE, _LEAF_INDEX, _INNER_INDEX):
            return
        kind = page[start]
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        pointers = start + (12 if kind == _INNER_INDEX else 8)
        if pointers + 2 * count > PAGE_BYTES:
            self.unreadable += 1
            return
        for at in struct.unpack_from(f">{count}H", page, pointers):
            try:
                yield self._cell(page, at, kind)
            except (ValueError, IndexError, struct.error, UnicodeDecodeError):
                self.unreadable += 1

    def _page(self, number: int) -> bytes:
        try:
            if number in self.log.kept:
                return self._of_log(self.log.kept[number])
            return os.pread(self._file, PAGE_BYTES, (number - 1) * PAGE_BYTES)
        except OSError:  # a bad sector
            self.unreadable += 1
            return b""

    def _of_log(self, at: int) -> bytes:
        return os.pread(self._wal, PAGE_BYTES, at) if self._wal is not None else b""

    def _cell(self, page: bytes, at: int, kind: int) -> Row:
        if kind == _INNER_INDEX:
            at += 4
        size, at = _varint(page, at)
        rowid = None
        if kind == _LEAF_TABLE:
            rowid, at = _varint(page, at)
        return Row(rowid, _record(self._payload(page, at, size, kind)))

    def _payload(self, page: bytes, at: int, size: int, kind: int) -> bytes:
        """The bytes of a record, its overflow pages included."""
        most = PAGE_BYTES - 35 if kind == _LEAF_TABLE else (PAGE_BYTES - 12) * 64 // 255 - 23
        if size <= most:
            return _exactly(page[at : at + size], size)
        if size > _LONGEST_ROW:
            raise ValueError("no row is as long")
        least = (PAGE_BYTES - 12) * 32 // 255 - 23
        here = least + (size - least) % (PAGE_BYTES - 4)
        here = here if here <= most else least
        pieces, left = [page[at : at + here]], size - here
        following = int.from_bytes(page[at + here : at + here + 4], "big")
        while left > 0:
            if not 0 < following <= self.page_count:
                raise ValueError("the row goes on nowhere")
            more = _exactly(self._page(following), PAGE_BYTES)
            following = int.from_bytes(more[:4], "big")
            pieces.append(more[4 : 4 + left])
            left -= len(pieces[-1])
        return b"".join(pieces)


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise ValueError("cut short")
    return data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for position in range(8):
        byte = data[at + position]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + position + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _record(payload: bytes) -> tuple[Value, ...]:
    size, at = _varint(payload, 0)
    if size > len(payload):
        raise ValueError("its header is longer than the row")
    body, values = size, []
    while at < size:
        kind, at = _varint(payload, at)
        value, body = _value(payload, kind, body)
        values.append(value)
    if body != len(payload):
        raise ValueError("its header does not fit the row")
    return tuple(values)


def _value(payload: bytes, kind: int, at: int) -> tuple[Value, int]:
    if kind in _INTEGER_BYTES:
        width = _INTEGER_BYTES[kind]
        return int.from_bytes(_exactly(payload[at : at + width], width), "big", signed=True), at + width
    if kind >= 12:
        width = (kind - 12) // 2
        data = _exactly(payload[at : at + width], width)
        return (data.decode() if kind % 2 else data), at + width
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind in (0, 8, 9):
        return (None, 0, 1)[(0, 8, 9).index(kind)], at
    raise ValueError("no such kind of value")
