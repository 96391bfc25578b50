"""What one transaction may do to the store. Runs in the writer's thread, inside the writer's transaction.

Journal ids are given here and rise for ever, also after everything was pruned. Every durable frame that belongs to no
message yet is open; a link row remembers up to which id its frames are closed (`closed_through`), which older ones are
open all the same (`left_open`), and the lowest id that was open on any link at that moment (`open_from`), so that a
start reads only the end of the journal to find them.

The ledger remembers what the last commit left, so that a refused transaction is undone without reading the file: it may
be full, or damaged.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from edge.clock import Moment, to_microseconds
from edge.errors import StoreFull
from edge.store import orders
from edge.store.rows import Draft, FrameRow, Kept, LinkRow, Positions, crc_of_message, frame_ids
from edge.store.schema import new_epoch
from protocols.uplink.envelope import WorklistEntry
from protocols.uplink.items import order_to_json

_OUT_OF_THE_WAY = 2**40
"""Further than any sequence: rows are renumbered over there, so that no two meet on the way."""


class Ledger:
    """The verbs of the store. `flush` before every COMMIT, `committed` after it, `undo` after every ROLLBACK."""

    def __init__(self, connection: sqlite3.Connection, next_id: int = 1) -> None:
        """`next_id`: somebody may still hold the ids below it, of frames that were refused."""
        self.connection = connection
        self.refusing: str | None = None
        """Why nothing new is taken in, although a row more might fit: the room is for receipts and pruning."""
        execute = connection.execute
        self._links = {
            row[1]: LinkRow(*row)
            for row in execute(
                "SELECT id, name, last_sequence, delivered_through, closed_through, last_received_at FROM link"
            )
        }
        self._committed_links = {name: replace(row) for name, row in self._links.items()}
        self._changed: set[str] = set()
        self._frames: list[FrameRow] = []
        self._open: dict[int, FrameRow] = {each[0]: each for each in open_frame_rows(connection)}
        self._opened: list[int] = []
        self._closed: list[FrameRow] = []
        newest = execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()[0]
        self._next_id: int = max(next_id, 1 + newest, *(1 + each.closed_through for each in self._links.values()))
        box = dict(execute("SELECT key, value FROM box WHERE key IN ('epoch', 'worklist_revision')"))
        self.worklist_revision = self._committed_revision = int(box["worklist_revision"])
        self.epoch: str = box["epoch"]
        self.committed_epoch: str = self.epoch
        self.filling = False
        """A damaged file was set aside, and what can be read of it is still being added here."""

    def flush(self) -> None:
        """Write what was collected: the last thing before COMMIT."""
        if self._frames:
            self.connection.executemany(
                "INSERT INTO journal (id, link, received_at, clock_sure, crc, raw) VALUES (?, ?, ?, ?, ?, ?)",
                self._frames,
            )
            self._frames = []
        if not self._changed:
            return
        closed_through = {each.id: each.closed_through for each in self._links.values()}
        left_open: dict[int, list[int]] = {}
        for id_, frame in self._open.items():
            if id_ < closed_through[frame[1]]:
                left_open.setdefault(frame[1], []).append(id_)
        open_from = min(self._open, default=self._next_id)
        rows = [self._links[name] for name in self._changed]
        self.connection.executemany(
            """UPDATE link SET last_sequence = ?, delivered_through = ?, closed_through = ?, last_received_at = ?,
                open_from = ?, left_open = ? WHERE id = ?""",
            [
                (
                    e.last_sequence,
                    e.delivered_through,
                    e.closed_through,
                    e.last_received_at,
                    open_from,
                    json.dumps(left_open[e.id]) if e.id in left_open else "[]",
                    e.id,
                )
                for e in rows
            ],
        )

    def committed(self) -> None:
        """The transaction is durable: nothing of it will be undone."""
        for name in self._changed:
            self._committed_links[name] = replace(self._links[name])
        self._changed.clear()
        self._opened.clear()
        self._closed.clear()
        self._committed_revision, self.committed_epoch = self.worklist_revision, self.epoch

    def undo(self) -> None:
        """Forget what a rolled back transaction did. Ids that it gave are not given again."""
        self._frames = []
        for name in self._changed:
            if name in self._committed_links:
                self._links[name] = replace(self._committed_links[name])
            else:
                del self._links[name]
        self._changed.clear()
        self._open.update({each[0]: each for each in self._closed})
        for each in self._opened:
            self._open.pop(each, None)
        self._opened.clear()
        self._closed.clear()
        self.worklist_revision, self.epoch = self._committed_revision, self.committed_epoch

    def positions(self) -> Positions:
        """What the last commit left, for a new file in the place of a damaged one."""
        return Positions(
            epoch=self.committed_epoch,
            links=[replace(each) for each in self._committed_links.values()],
            open_frames=list(self._open.values()),
            next_id=self._next_id,
        )

    def keep(
        self, link: str, raws: Sequence[bytes], at: Moment, earlier: Sequence[int] = (), draft: Draft | None = None
    ) -> Kept:
        """Frames into the journal and, with `draft`, the message of the `earlier` and these frames into the outbox."""
        self.check_room()
        row = self._links.get(link) or self._link(link)
        received_at = at.microseconds
        ids = tuple(range(self._next_id, self._next_id + len(raws)))
        frames = [(id_, row.id, received_at, at.sure, zlib.crc32(raw), raw) for id_, raw in zip(ids, raws, strict=True)]
        self._frames += frames
        self._next_id += len(raws)
        if draft is None:
            for frame in frames:
                self._open[frame[0]] = frame
            self._opened += ids
            return Kept(ids, None)
        return Kept(ids, self._close(row, (*earlier, *ids), draft))

    def check_room(self) -> None:
        """Raises `StoreFull` while the room that is left is for receipts and pruning."""
        if self.refusing is not None:
            raise StoreFull(self.refusing)

    def add_frame(self, link: int, raw: bytes, at: Moment) -> int:
        """A frame in the place of damaged ones; the journal id of it."""
        id_ = self._next_id
        self._next_id += 1
        self._frames.append((id_, link, at.microseconds, at.sure, zlib.crc32(raw), raw))
        return id_

    def is_open(self, frame: int) -> bool:
        """Is this journal id durable and part of no message yet?"""
        return frame in self._open

    def _close(self, row: LinkRow, frames: Sequence[int], draft: Draft) -> int:
        row.last_sequence += 1
        row.closed_through = max(row.closed_through, *frames)
        row.last_received_at = draft.received_at.microseconds
        self._changed.add(row.name)
        for each in frames:
            frame = self._open.pop(each, None)
            if frame is not None:
                self._closed.append(frame)
        self.put_message(row.id, row.last_sequence, frames, draft)
        return row.last_sequence

    def put_message(
        self, link: int, sequence: int, frames: Sequence[int], draft: Draft, *, in_place: bool = False
    ) -> None:
        """The message's row; `in_place`: instead of the damaged one under this sequence, if there is one."""
        listed = json.dumps(frames, separators=(",", ":"))
        self.connection.execute(
            f"""INSERT {"OR REPLACE " if in_place else ""}INTO outbox (link, sequence, received_at, clock_sure, driver,
                driver_version, state, reason, frames, content, crc, payload, payload_crc)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",  # noqa: S608 - constants
            (
                link,
                sequence,
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

    def _link(self, name: str) -> LinkRow:
        row = self._links.get(name)
        if row is None:
            cursor = self.connection.execute("INSERT INTO link (name) VALUES (?)", [name])
            row = self._links[name] = LinkRow(int(cursor.lastrowid or 0), name)
            self._changed.add(name)
        return row

    def deliver(self, link: str, through: int, also: Iterable[int]) -> bool:
        """The cloud's database holds these. False: it was not believed.

        A receipt beyond what was ever sent proves that this file is an old copy: the numbers behind it were given to
        other messages before. The box draws a new epoch at once; what has no receipt goes out again under it.
        """
        row = self._link(link)
        also = sorted(also)
        if max([through, *also]) > row.last_sequence:
            self.begin_epoch()
            return False
        if through > row.delivered_through:
            row.delivered_through = through
            self._changed.add(link)
        self.connection.executemany(
            "UPDATE outbox SET delivered = 1 WHERE link = ? AND sequence = ? AND delivered = 0",
            [(row.id, each) for each in also if each > row.delivered_through],
        )
        return True

    def begin_epoch(self) -> None:
        """New identities for all that has no receipt, in its order from 1; what has one is behind them, below 1.

        While a damaged file is still being read, it waits for the end of that: nothing is sent meanwhile.
        """
        if self.filling:
            self.connection.execute("INSERT OR REPLACE INTO box VALUES ('epoch_due', '1')")
            return
        self.epoch = new_epoch()
        self.connection.execute("UPDATE box SET value = ? WHERE key = 'epoch'", [self.epoch])
        for row in self._links.values():
            if row.delivered_through:
                for shift in (-_OUT_OF_THE_WAY - row.delivered_through, _OUT_OF_THE_WAY):
                    self.connection.execute("UPDATE outbox SET sequence = sequence + ? WHERE link = ?", [shift, row.id])
                row.last_sequence -= row.delivered_through
                row.delivered_through = 0
                self._changed.add(row.name)

    def put_worklist(self, entries: Iterable[WorklistEntry], after: int | None) -> int:
        """Apply changes in rising revision; the revision the box stands at afterwards.

        `after`: the revision these entries are complete from; None: only what follows without a hole is applied.
        """
        self.check_room()
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
            self.connection.execute("UPDATE box SET value = ? WHERE key = 'worklist_revision'", [str(revision)])
            self.worklist_revision = revision
        return revision

    def _put_entry(self, entry: WorklistEntry) -> None:
        self.connection.execute("DELETE FROM worklist WHERE specimen = ?", [entry.specimen])
        orders.heard_of(self.connection, entry.specimen, entry.orders)
        expires_at = to_microseconds(entry.expires_at)
        self.connection.executemany(
            "INSERT INTO worklist (specimen, link, revision, expires_at, content) VALUES (?, ?, ?, ?, ?)",
            [
                (entry.specimen, link, entry.revision, expires_at, json.dumps(order_to_json(order), ensure_ascii=False))
                for link, order in entry.orders.items()
            ],
        )

    def used_bytes(self) -> int:
        """What the file holds, without the pages that are free again."""
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def free_bytes(self) -> int:
        """Pages inside the file that hold nothing any more."""
        return self._pragma("freelist_count") * self._pragma("page_size")

    def _pragma(self, name: str) -> int:
        return int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])

    def waiting_share(self) -> float:
        """How much of the stored messages has no receipt yet, 0 to 1; by number, read from the ends of the links."""
        stored = sum(row.last_sequence - self._first_sequence(row) + 1 for row in self._links.values())
        waiting = sum(row.last_sequence - row.delivered_through for row in self._links.values())
        return min(1.0, waiting / stored) if stored else 0.0

    def _first_sequence(self, row: LinkRow) -> int:
        found = self.connection.execute("SELECT min(sequence) FROM outbox WHERE link = ?", [row.id]).fetchone()[0]
        return row.last_sequence + 1 if found is None else int(found)

    def prune_worklist(self, expired_before: int) -> int:
        """Forget orders that ran out before this time (microseconds); how many."""
        return self.connection.execute("DELETE FROM worklist WHERE expires_at < ?", [expired_before]).rowcount

    def prune_delivered(self, received_before: int, limit: int, received_after: int = 2**62) -> int:
        """Drop about `limit` delivered messages with their frames, oldest of each link first; how many.

        Those from before `received_before` and, of a clock that was wrong then, from after `received_after`. Each link
        gives in proportion to what it holds of them. The newest message of a link stays: its number is the second
        copy of the link's position.
        """
        droppable = {
            row.id: (last, last - self._first_sequence(row) + 1)
            for row in self._links.values()
            if (last := min(row.delivered_through, row.last_sequence - 1)) >= self._first_sequence(row)
        }
        of_all = sum(count for _, count in droppable.values())
        return sum(
            self._prune_link(link, last, received_before, received_after, max(1, limit * count // of_all))
            for link, (last, count) in droppable.items()
        )

    def _prune_link(self, link: int, last: int, received_before: int, received_after: int, limit: int) -> int:
        found = self.connection.execute(
            "SELECT id, frames, received_at FROM outbox WHERE link = ? AND sequence <= ? ORDER BY sequence LIMIT ?",
            (link, last, limit),
        ).fetchall()
        old = [at < received_before or at > received_after for _, _, at in found]
        found = found[: old.index(False)] if False in old else found
        frames = [(frame,) for _, listed, _ in found for frame in frame_ids(listed) or ()]
        self.connection.executemany("DELETE FROM journal WHERE id = ?", frames)
        self.connection.executemany("DELETE FROM outbox WHERE id = ?", [(id_,) for id_, _, _ in found])
        return len(found)


def open_frame_rows(connection: sqlite3.Connection) -> list[FrameRow]:
    """Every durable frame that belongs to no message, in their order."""
    columns = "journal.id, journal.link, journal.received_at, journal.clock_sure, journal.crc, journal.raw"
    found: list[FrameRow] = connection.execute(
        f"""SELECT {columns} FROM journal JOIN link ON link.id = journal.link
            WHERE journal.id >= (SELECT coalesce(max(open_from), 1) FROM link) AND journal.id > link.closed_through
            ORDER BY journal.id"""  # noqa: S608 - constants
    ).fetchall()
    for (listed,) in connection.execute("SELECT left_open FROM link WHERE left_open != '[]'").fetchall():
        for id_ in frame_ids(listed) or ():
            found += connection.execute(f"SELECT {columns} FROM journal WHERE id = ?", [id_]).fetchall()  # noqa: S608
    return sorted(found)
