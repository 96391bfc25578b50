"""The store's write-ahead log read without SQLite: which pages stand in it, and whether commits of it would be dropped.

SQLite reads a log up to the first frame whose sum is wrong and forgets what is behind it without a word: right after a
power cut, where only the last transaction can be torn, and a silent loss where a sector in the middle went bad, for
each of those commits had been synced and acknowledged. So after an unclean stop, before anybody writes, the commits in
the log are counted and compared with what SQLite kept of it. One commit more is a torn tail that nobody was promised;
two or more are damage.

Source: https://www.sqlite.org/fileformat2.html section 4, https://www.sqlite.org/walformat.html section 2.1.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from edge.store.schema import PAGE_BYTES, connect

_HEADER, _FRAME = 32, 24
_STRIDE = _FRAME + PAGE_BYTES
_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_INDEX_VERSION = 3007000
_TORN_COMMITS = 1
"""So many commits may stand behind a break after a power cut: the one that was being written."""


@dataclass(frozen=True, slots=True)
class Log:
    """Page → where its newest copy stands in the file of the log (offset of the page itself, in bytes)."""

    kept: dict[int, int] = field(default_factory=dict)
    """As SQLite's own recovery would have it."""
    beyond: dict[int, int] = field(default_factory=dict)
    """Whole pages behind the first break, of the same log."""
    sure: frozenset[int] = frozenset()
    """Pages with a copy behind the last break: nothing that is missing was newer."""
    doubtful: dict[int, list[int]] = field(default_factory=dict)
    """Copies of this log whose sum cannot be told or is wrong: what is whole on them is told by its own CRC."""


def drops_commits(path: Path) -> bool:
    """Would SQLite forget synced commits of this store's log? Asked before anybody writes."""
    try:
        with path.with_name(path.name + "-wal").open("rb") as file:
            ended = commits(file.fileno())
    except OSError:
        return False
    kept = _recovered(path) if len(ended) > _TORN_COMMITS else None
    return kept is not None and sum(number > kept for number in ended) > _TORN_COMMITS


def read_log(wal: int) -> Log:
    """`wal`: a descriptor of the log."""
    header = os.pread(wal, _HEADER, 0)
    salts = _salts(wal, header)
    whole = _is_header(header)
    order = (">" if header[3] & 1 else "<") if whole else (">" if sys.byteorder == "big" else "<")
    kept: dict[int, int] = {}
    beyond: dict[int, int] = {}
    sure: set[int] = set()
    transaction: dict[int, int] = {}
    doubtful: dict[int, list[int]] = {}
    sums = _checksum(header[:24], order, 0, 0) if whole else None
    broken, hole, ended = False, not whole, 0
    for at, frame in _frames(wal):
        fits = frame[8:16] == salts and sums is not None and frame[16:24] == _sum_of(frame, order, sums)
        sums = struct.unpack_from(">II", frame, 16)  # what the next one was added to, also behind a damaged page
        number, size_after = struct.unpack_from(">II", frame)
        if not fits:
            hole = True  # or the end: frames of earlier logs lie behind it
            if frame[8:16] == salts:
                doubtful.setdefault(number, []).append(at + _FRAME)
                ended += size_after > 0
            continue
        if hole:
            broken, hole = True, False
            sure.clear()
        transaction[number] = at + _FRAME
        if size_after:
            ended += broken
            (beyond if broken else kept).update(transaction)
            sure.update(transaction)
            transaction = {}
    if ended <= _TORN_COMMITS:
        return Log(kept)
    return Log(kept, beyond, frozenset(sure), doubtful)


def _sum_of(frame: bytes, order: str, before: tuple[int, ...]) -> bytes:
    first, second = _checksum(frame[:8], order, *before)
    return struct.pack(">II", *_checksum(frame[_FRAME:], order, first, second))


def _salts(wal: int, header: bytes) -> bytes | None:
    """Of this log's frames; from the first two that agree where the header is damaged. None: there is no log."""
    if _is_header(header):
        return header[16:24]
    many = (os.fstat(wal).st_size - _HEADER) // _STRIDE
    salts = (os.pread(wal, 8, _HEADER + number * _STRIDE + 8) for number in range(many))
    return next((first for first, second in pairwise(salts) if first == second), None)


def _is_header(header: bytes) -> bool:
    if len(header) < _HEADER or header[:4] not in _MAGIC:
        return False
    sums = _checksum(header[:24], ">" if header[3] & 1 else "<", 0, 0)
    return header[24:32] == struct.pack(">II", *sums)


def _frames(wal: int) -> Iterator[tuple[int, bytes]]:
    at = _HEADER
    while len(frame := os.pread(wal, _STRIDE, at)) == _STRIDE:
        yield at, frame
        at += _STRIDE


def commits(wal: int) -> list[int]:
    """Numbers, from 1, of the frames that end a transaction of this log."""
    salts = _salts(wal, os.pread(wal, _HEADER, 0))
    many = (os.fstat(wal).st_size - _HEADER) // _STRIDE
    heads = (os.pread(wal, _FRAME, _HEADER + number * _STRIDE) for number in range(many))
    return [number for number, head in enumerate(heads, start=1) if head[8:16] == salts and head[4:8] != bytes(4)]


def _recovered(path: Path) -> int | None:
    """How many frames SQLite kept, from the index that it makes when it opens the file; None where it does not say."""
    with suppress(sqlite3.Error, OSError, struct.error), closing(connect(path, read_only=True)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        index = path.with_name(path.name + "-shm").read_bytes()[:20]
        version, _, _, _, kept = struct.unpack("=5I", index)
        if version == _INDEX_VERSION:
            return int(kept)
    return None


def _checksum(data: bytes, order: str, first: int, second: int) -> tuple[int, int]:
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for position in range(0, len(words), 2):
        first = (first + words[position] + second) & 0xFFFFFFFF
        second = (second + words[position + 1] + first) & 0xFFFFFFFF
    return first, second
