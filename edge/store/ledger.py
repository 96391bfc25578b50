"""What one transaction may do to the store. Runs in the writer's thread, inside the writer's transaction.

Journal ids are given here and rise for ever, also after everything was pruned. Every durable frame that belongs to no
message yet is open; a link row remembers up to which id its frames are closed (`closed_through`) and the lowest id that
was open on any link at that moment (`open_from`), so that a start reads only the end of the journal to find them.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge.clock import Moment, to_microseconds
from edge.store.rows import Draft, Kept, crc_of_message, frame_ids
from protocols.uplink.envelope import WorklistEntry
from protocols.uplink.items import order_to_json


@dataclass(slots=True)
class _LinkRow:
    id: int
    last_sequence: int
    delivered_through: int
    closed_through: int
    last_received_at: int | None
    changed: bool = False


class Ledger:
    """The verbs of the store. `flush` before every COMMIT, `reload` after every ROLLBACK."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._next_id = 1
        self.reload()

    def reload(self) -> None:
        """Forget what a rolled back transaction did to the counters."""
        execute = self._connection.execute
        self._links = {
            name: _LinkRow(*rest)
            for name, *rest in execute(
                "SELECT name, id, last_sequence, delivered_through, closed_through, last_received_at FROM link"
            )
        }
        self._frames: list[tuple[int, int, int, bool, int, bytes]] = []
        self._open = {each[0] for each in open_frame_rows(self._connection)}
        newest = execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()[0]
        # Not back to what was rolled back: somebody may still hold the id of a frame that was refused.
        self._next_id = max(self._next_id, 1 + newest, *(1 + each.closed_through for each in self._links.values()))
        self.worklist_revision = int(execute("SELECT value FROM box WHERE key = 'worklist_revision'").fetchone()[0])

    def flush(self) -> None:
        """Write what was collected: the last thing before COMMIT."""
        if self._frames:
            self._connection.executemany(
                "INSERT INTO journal (id, link, received_at, clock_sure, crc, raw) VALUES (?, ?, ?, ?, ?, ?)",
                self._frames,
            )
            self._frames = []
        changed = [each for each in self._links.values() if each.changed]
        if not changed:
            return
        open_from = min(self._open, default=self._next_id)
        self._connection.executemany(
            """UPDATE link SET last_sequence = ?, delivered_through = ?, closed_through = ?, last_received_at = ?,
                open_from = ? WHERE id = ?""",
            [
                (e.last_sequence, e.delivered_through, e.closed_through, e.last_received_at, open_from, e.id)
                for e in changed
            ],
        )
        for each in changed:
            each.changed = False

    def keep(
        self, link: str, raws: Sequence[bytes], at: Moment, earlier: Sequence[int] = (), draft: Draft | None = None
    ) -> Kept:
        """Frames into the journal and, with `draft`, the message of the `earlier` and these frames into the outbox."""
        row = self._links.get(link) or self._link(link)
        received_at = at.microseconds
        ids = tuple(range(self._next_id, self._next_id + len(raws)))
        for id_, raw in zip(ids, raws, strict=True):
            self._frames.append((id_, row.id, received_at, at.sure, zlib.crc32(raw), raw))
        self._next_id += len(raws)
        if draft is None:
            self._open.update(ids)
            return Kept(ids, None)
        return Kept(ids, self._close(row, (*earlier, *ids), draft))

    def is_open(self, frame: int) -> bool:
        """Is this journal id durable and part of no message yet?"""
        return frame in self._open

    def _close(self, row: _LinkRow, frames: Sequence[int], draft: Draft) -> int:
        row.last_sequence += 1
        row.closed_through = max(row.closed_through, *frames)
        row.last_received_at = draft.received_at.microseconds
        row.changed = True
        self._open.difference_update(frames)
        listed = json.dumps(frames, separators=(",", ":"))
        self._connection.execute(
            """INSERT INTO outbox (link, sequence, received_at, clock_sure, driver, driver_version, state, reason,
                frames, content, crc, payload, payload_crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                row.id,
                row.last_sequence,
                draft.received_at.microseconds,
                draft.received_at.sure,
                draft.driver,
                draft.driver_version,
                str(draft.state),
                draft.reason,
                listed,
                draft.content,
                crc_of_message(listed, draft.content),
                draft.payload,
                None if draft.payload is None else zlib.crc32(draft.payload),
            ),
        )
        return row.last_sequence

    def _link(self, name: str) -> _LinkRow:
        row = self._links.get(name)
        if row is None:
            cursor = self._connection.execute("INSERT INTO link (name) VALUES (?)", [name])
            row = self._links[name] = _LinkRow(int(cursor.lastrowid or 0), 0, 0, 0, None)
        return row

    def deliver(self, link: str, through: int, also: Iterable[int]) -> None:
        """The cloud's database holds these. A claim beyond what was ever sent is not believed."""
        row = self._link(link)
        through = min(through, row.last_sequence)
        if through > row.delivered_through:
            row.delivered_through = through
            row.changed = True
        self._connection.executemany(
            "UPDATE outbox SET delivered = 1 WHERE link = ? AND sequence = ? AND delivered = 0",
            [(row.id, each) for each in also if each > row.delivered_through],
        )

    def put_worklist(self, entries: Iterable[WorklistEntry], after: int | None) -> int:
        """Apply changes in rising revision; the revision the box stands at afterwards.

        `after`: the revision these entries are complete from; None: only what follows without a hole is applied.
        """
        if after is not None and after > self.worklist_revision:
            return self.worklist_revision
        revision = self.worklist_revision
        for entry in sorted(entries, key=lambda each: each.revision):
            if entry.revision <= revision:
                continue
            if after is None and entry.revision != revision + 1:
                break
            self._put_entry(entry)
            revision = entry.revision
        if revision != self.worklist_revision:
            self._connection.execute("UPDATE box SET value = ? WHERE key = 'worklist_revision'", [str(revision)])
            self.worklist_revision = revision
        return revision

    def _put_entry(self, entry: WorklistEntry) -> None:
        self._connection.execute("DELETE FROM worklist WHERE specimen = ?", [entry.specimen])
        expires_at = to_microseconds(entry.expires_at)
        self._connection.executemany(
            "INSERT INTO worklist (specimen, link, revision, expires_at, content) VALUES (?, ?, ?, ?, ?)",
            [
                (entry.specimen, link, entry.revision, expires_at, json.dumps(order_to_json(order), ensure_ascii=False))
                for link, order in entry.orders.items()
            ],
        )

    def used_bytes(self) -> int:
        """What the file holds, without the pages that are free again."""
        pages, free, page_bytes = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * page_bytes)

    def prune_worklist(self, expired_before: int) -> int:
        """Forget orders that ran out before this time (microseconds); how many."""
        return self._connection.execute("DELETE FROM worklist WHERE expires_at < ?", [expired_before]).rowcount

    def prune_delivered(self, received_before: int, limit: int) -> int:
        """Drop at most `limit` delivered messages with their frames, oldest of each link first; how many."""
        dropped = 0
        for row in self._links.values():
            dropped += self._prune_link(row, received_before, limit - dropped)
        return dropped

    def _prune_link(self, row: _LinkRow, received_before: int, limit: int) -> int:
        found = self._connection.execute(
            """SELECT id, frames FROM outbox WHERE link = ? AND sequence <= ? AND received_at < ?
                ORDER BY sequence LIMIT ?""",
            (row.id, row.delivered_through, received_before, max(limit, 0)),
        ).fetchall()
        frames = [(frame,) for _, listed in found for frame in frame_ids(listed) or ()]
        self._connection.executemany("DELETE FROM journal WHERE id = ?", frames)
        self._connection.executemany("DELETE FROM outbox WHERE id = ?", [(id_,) for id_, _ in found])
        return len(found)


def open_frame_rows(connection: sqlite3.Connection) -> list[tuple[int, str, bytes, int, int]]:
    """(id, link, raw, received_at, clock_sure) of every durable frame that belongs to no message, in their order."""
    return connection.execute(
        """SELECT journal.id, link.name, journal.raw, journal.received_at, journal.clock_sure
            FROM journal JOIN link ON link.id = journal.link
            WHERE journal.id >= (SELECT coalesce(max(open_from), 1) FROM link) AND journal.id > link.closed_through
            ORDER BY journal.id"""
    ).fetchall()
