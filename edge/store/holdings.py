"""What the box holds of a link, as numbers and raw bytes: for comparing it with the cloud. Nothing is decoded.

Opened for one comparison and closed after it, so that a file that was replaced meanwhile is not read on.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

from edge.store.rows import frame_ids
from edge.store.schema import connect


class Held(NamedTuple):
    """Of one link: the lowest sequence that is still here; the cloud confirmed everything up to `through`."""

    epoch: str
    first: int
    through: int


class Holdings:
    """A connection of its own; raises sqlite3.Error where the file cannot be read."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path, read_only=True)

    def close(self) -> None:
        self._connection.close()

    def held(self, link: str) -> Held | None:
        """None: nothing can be said of this link now (it is unknown, or a damaged file is still being read)."""
        box = dict(self._connection.execute("SELECT key, value FROM box WHERE key IN ('epoch', 'filling')"))
        row = self._connection.execute(
            """SELECT delivered_through, last_sequence,
                (SELECT min(sequence) FROM outbox WHERE outbox.link = link.id AND sequence > 0)
                FROM link WHERE name = ?""",
            [link],
        ).fetchone()
        if row is None or "filling" in box:
            return None
        through, last, first = row
        return Held(box["epoch"], last + 1 if first is None else first, through)

    def raws(self, link: str, first: int, last: int, limit: int) -> list[tuple[int, bytes, bool]]:
        """(sequence, raw bytes, whether they are what was written) in rising sequence, both ends included."""
        rows = self._connection.execute(
            """SELECT sequence, frames FROM outbox JOIN link ON link.id = outbox.link
                WHERE link.name = ? AND sequence BETWEEN ? AND ? ORDER BY sequence LIMIT ?""",
            (link, first, last, limit),
        ).fetchall()
        return [(sequence, *self._raw(frames)) for sequence, frames in rows]

    def _raw(self, listed: str) -> tuple[bytes, bool]:
        ids = frame_ids(listed) or []
        marks = ",".join("?" * len(ids))
        rows = self._connection.execute(
            f"SELECT raw, crc FROM journal WHERE id IN ({marks}) ORDER BY id",  # noqa: S608 - only question marks
            ids,
        ).fetchall()
        whole = bool(ids) and len(rows) == len(ids) and all(zlib.crc32(raw) == crc for raw, crc in rows)
        return b"".join(raw for raw, _ in rows), whole
