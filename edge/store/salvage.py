"""What can be read of a damaged file, added to the new one behind the running links.

Every message is in the file twice: as its frames (journal) and as what was made of them (outbox). Where a page took one
of them, it is made again from the other. Where it took both, a message that says so keeps the number, so that the cloud
waits for nothing and somebody sees it. All steps may run again from the beginning after a stop.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from edge.clock import Moment, from_microseconds
from edge.errors import StoreError
from edge.interpreter import interpreter_of
from edge.rereading import draft_of, reread
from edge.store.aside import Aside
from edge.store.ledger import Ledger
from edge.store.pages import DamagedFile, Row, Value
from edge.store.rows import NO_CONTENT, UNREAD, Draft, FrameRow, crc_of_message, frame_ids
from edge.store.schema import as_text, connect
from protocols.uplink.envelope import MessageState

LOST = "lost on the box: both copies stood on damaged pages"
REBUILT_RAW = "the raw bytes were damaged on the box: rebuilt from the message's text"
NUMBER_UNSURE = "the box's record of it was damaged: read again from its frames, its number may be a neighbour's"
NOT_ENDED = "the box stopped before the message ended"
_JOURNAL, _OUTBOX = 6, (13, 15)
_BATCH_BYTES, _BATCH_ROWS = 256 * 1024, 200
_SEQUENCES = 500
_REFERENCES = 2000
_PAUSE_S = 0.002
"""After each page that held rows, so that the links have the interpreter first."""
_RETRY_S = 1.0

Work = Callable[[Ledger], Any]

log = structlog.get_logger()


class Stopped(Exception):
    """The box is being stopped; the next start goes on."""


@dataclass(slots=True)
class _Message:
    """An outbox row and what of it is sound."""

    sequence: int
    driver: str
    received_at: int
    frames: list[int]
    raws: list[bytes]
    raw_is_whole: bool
    made_is_whole: bool
    draft: Draft


class Salvage:
    """One damaged file. `write` hands work to the store and waits; `progress` is told after each step."""

    def __init__(
        self,
        path: Path,
        aside: Aside,
        write: Callable[[Work], Any],
        stop: threading.Event,
        progress: Callable[[Aside], None],
    ) -> None:
        self._path = path
        self._aside = aside
        self._write_once = write
        self._stop = stop
        self._progress = progress

    def run(self) -> None:
        """Raises `Stopped`."""
        with DamagedFile(self._path.with_name(self._aside.file)) as pages:
            self._aside.pages = pages.page_count
            self._copy(pages)
        with closing(connect(self._path, read_only=True)) as connection:
            connection.text_factory = as_text
            links = dict(connection.execute("SELECT name, id FROM link"))
            for name, boundary in self._aside.boundary.items():
                if name in links:
                    _Link(self, connection, links[name], name, boundary).mend()

    @property
    def aside(self) -> Aside:
        return self._aside

    def write(self, work: Work) -> Any:
        """As often as it takes: the disk may be full for a while."""

        def unless_tight(ledger: Ledger) -> Any:
            ledger.check_room()
            return work(ledger)

        while not self._stop.is_set():
            try:
                return self._write_once(unless_tight)
            except StoreError as error:
                log.warning("salvage.waits", reason=str(error))
                self._stop.wait(_RETRY_S)
        raise Stopped

    def _copy(self, pages: DamagedFile) -> None:
        """Every sound row of the journal, the outbox and the worklist."""
        free = pages.free_pages()
        frames: list[FrameRow] = []
        messages: list[tuple[Value, ...]] = []
        orders: list[tuple[Value, ...]] = []
        size = 0
        for number in range(1, pages.page_count + 1):
            if self._stop.is_set():
                raise Stopped
            self._aside.pages_read = number
            for row in pages.rows(number) if number not in free else ():
                if (frame := _frame(row)) is not None:
                    frames.append(frame)
                    size += len(frame[5])
                elif (message := _outbox_values(row)) is not None:
                    messages.append(message)
                    size += sum(len(each) for each in message if isinstance(each, str | bytes))
                elif row.rowid is None and _is_order(row.values):
                    orders.append(row.values)
            if size > _BATCH_BYTES or len(frames) + len(messages) > _BATCH_ROWS:
                self._add(frames, messages)
                frames, messages, size = [], [], 0
                self._stop.wait(_PAUSE_S)
        self._add(frames, messages)
        self._add_orders(orders)

    def _add(self, frames: list[FrameRow], messages: list[tuple[Value, ...]]) -> None:
        first_id = self._aside.first_id

        def work(ledger: Ledger) -> None:
            ledger.connection.executemany(
                "INSERT OR IGNORE INTO journal (id, link, received_at, clock_sure, crc, raw) VALUES (?, ?, ?, ?, ?, ?)",
                [each for each in frames if each[0] < first_id],
            )
            ledger.connection.executemany(
                """INSERT INTO outbox (link, sequence, received_at, clock_sure, driver, driver_version, state, reason,
                    frames, content, crc, delivered, payload, payload_crc)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                    ON CONFLICT (link, sequence) DO UPDATE SET delivered = max(delivered, excluded.delivered)""",
                messages,
            )

        self.write(work)
        self._aside.frames += len(frames)
        self._aside.messages += len(messages)
        self._progress(self._aside)

    def _add_orders(self, orders: list[tuple[Value, ...]]) -> None:
        """Only where the cloud has not sent them all again meanwhile."""

        def work(ledger: Ledger) -> None:
            if ledger.worklist_revision == 0:
                ledger.connection.executemany(
                    """INSERT OR IGNORE INTO worklist (specimen, link, revision, expires_at, content)
                        VALUES (?, ?, ?, ?, ?)""",
                    orders,
                )

        if orders:
            self.write(work)


class _Link:
    """The undelivered messages of one link, made whole."""

    def __init__(self, salvage: Salvage, connection: sqlite3.Connection, id_: int, name: str, boundary: int) -> None:
        self._salvage = salvage
        self._aside = salvage.aside
        self._connection = connection
        self._id = id_
        self._name = name
        self._boundary = boundary

    def mend(self) -> None:
        through = self._one("SELECT delivered_through FROM link WHERE id = ?", self._id)
        before = self._before(through + 1)
        missing = [] if before is None else list(range(before.sequence + 1, through + 1))
        for sequence, message in self._messages(through + 1):
            if message is None:
                missing.append(sequence)
                continue
            if missing:
                self._fill(missing, before, message)
                missing = []
            self._make_whole(message)
            before = message
        if missing:
            self._fill(missing, before, None)
        self._end_open_frames()

    def _one(self, sql: str, *parameters: object) -> int:
        return int(self._connection.execute(sql, parameters).fetchone()[0] or 0)

    def _before(self, sequence: int) -> _Message | None:
        found = self._rows("sequence < ? ORDER BY sequence DESC LIMIT 1", sequence)
        return self._message(found[0]) if found else None

    def _rows(self, where: str, *parameters: object) -> list[sqlite3.Row]:
        cursor = self._connection.execute(
            f"SELECT * FROM outbox WHERE link = ? AND {where}",  # noqa: S608 - constants
            (self._id, *parameters),
        )
        cursor.row_factory = sqlite3.Row
        return cursor.fetchall()

    def _messages(self, first: int) -> Iterator[tuple[int, _Message | None]]:
        for start in range(first, self._boundary + 1, _SEQUENCES):
            last = min(start + _SEQUENCES - 1, self._boundary)
            found = {row["sequence"]: row for row in self._rows("sequence BETWEEN ? AND ?", start, last)}
            for sequence in range(start, last + 1):
                yield sequence, self._message(found[sequence]) if sequence in found else None

    def _message(self, row: sqlite3.Row) -> _Message:
        ids = frame_ids(row["frames"])
        marks = ",".join("?" * len(ids or ()))
        kept = self._connection.execute(
            f"SELECT raw, crc FROM journal WHERE id IN ({marks}) ORDER BY id",  # noqa: S608 - only question marks
            ids or (),
        ).fetchall()
        payload = row["payload"]
        made = row["state"] in set(MessageState) and crc_of_message(row["frames"], row["content"]) == row["crc"]
        return _Message(
            sequence=row["sequence"],
            driver=str(row["driver"]),
            received_at=row["received_at"],
            frames=ids or [],
            raws=[raw for raw, _ in kept],
            raw_is_whole=ids is not None and len(kept) == len(ids) and all(zlib.crc32(raw) == crc for raw, crc in kept),
            made_is_whole=made and (payload is None or zlib.crc32(payload) == row["payload_crc"]),
            draft=Draft(
                Moment(from_microseconds(row["received_at"]), bool(row["clock_sure"])),
                str(row["driver"]),
                row["driver_version"],
                MessageState(row["state"]) if made else MessageState.UNDECODED,
                row["content"],
                row["reason"],
                payload,
            ),
        )

    def _make_whole(self, message: _Message) -> None:
        if message.raw_is_whole and message.made_is_whole:
            return
        if message.raw_is_whole:  # made again from its frames whenever it is sent
            self._aside.rebuilt += 1
            return
        if not message.made_is_whole:
            self._aside.lost += 1
            log.error("message.damaged", link=self._name, sequence=message.sequence)
            return
        draft = message.draft
        raw = draft.payload if draft.payload is not None else b"".join(message.raws)
        reason = REBUILT_RAW if draft.reason in (None, UNREAD) else f"{draft.reason} ({REBUILT_RAW})"

        def work(ledger: Ledger) -> None:
            frame = ledger.add_frame(self._id, raw, draft.received_at)
            ledger.put_message(self._id, message.sequence, [frame], replace(draft, reason=reason), in_place=True)

        self._salvage.write(work)
        self._aside.rebuilt += 1
        log.warning("message.rebuilt", link=self._name, sequence=message.sequence)

    def _fill(self, missing: list[int], before: _Message | None, after: _Message | None) -> None:
        """Messages whose row is gone: from the frames between their neighbours, in their order."""
        first = max(before.frames, default=0) if before is not None else 0
        last = min(after.frames, default=self._aside.first_id) if after is not None else self._aside.first_id
        frames = self._unclaimed(first, last)
        neighbour = before or after
        driver = neighbour.driver if neighbour is not None else "auto"
        drafts = self._drafts(driver, frames, len(missing))
        if 0 < len(drafts) < len(missing):  # in their order, but which of the numbers was whose nobody knows
            drafts = [(ids, replace(draft, reason=NUMBER_UNSURE)) for ids, draft in drafts]
        at = neighbour.draft.received_at.at if neighbour is not None else datetime.now(UTC)
        nothing = Draft(Moment(at, False), driver, "", MessageState.INCOMPLETE, NO_CONTENT, LOST)
        found = [*drafts, *(((), nothing) for _ in missing[len(drafts) :])]

        def work(ledger: Ledger) -> None:
            for sequence, (ids, draft) in zip(missing, found, strict=True):
                ledger.put_message(self._id, sequence, ids, draft, in_place=True)

        self._salvage.write(work)
        self._aside.rebuilt += len(drafts)
        self._aside.lost += len(missing) - len(drafts)
        facts = {"first": missing[0], "last": missing[-1], "rebuilt": len(drafts)}
        log.error("message.rows_gone", link=self._name, **facts)

    def _unclaimed(self, first: int, last: int) -> list[FrameRow]:
        """Frames of the link between these ids that belong to no message and are not open either."""
        later = self._rows("sequence > ? ORDER BY sequence LIMIT ?", self._boundary, _REFERENCES)
        claimed = {*self._aside.open_frames, *(each for row in later for each in frame_ids(row["frames"]) or ())}
        rows: Iterable[FrameRow] = self._connection.execute(
            """SELECT id, link, received_at, clock_sure, crc, raw FROM journal
                WHERE link = ? AND id > ? AND id < ? ORDER BY id""",
            (self._id, first, last),
        ).fetchall()
        return [each for each in rows if each[0] not in claimed]

    def _drafts(self, driver: str, frames: list[FrameRow], most: int) -> list[tuple[tuple[int, ...], Draft]]:
        """At most so many messages, the last of the frames."""
        interpreter = interpreter_of(driver)
        found = [each.positions for each in reread(interpreter, [frame[5] for frame in frames])]
        found = sorted(found)
        if len(found) > most:
            found = found[-most:]  # those before belong to messages whose rows were delivered and are gone too
        drafts = []
        for positions in found:
            own = [frames[each] for each in positions]
            [*_, again] = reread(interpreter, [each[5] for each in own])
            whole = again.reading if len(again.positions) == len(own) else None
            at = Moment(from_microseconds(own[-1][2]), bool(own[-1][3]))
            drafts.append((tuple(each[0] for each in own), draft_of(interpreter, whole, at, LOST_ROW)))
        return drafts

    def _end_open_frames(self) -> None:
        """Frames of a message that had not ended when the box stopped, and that nobody could hand to the start."""
        closed = self._aside.closed_through.get(self._name)
        if closed is None:
            return
        referenced = self._rows("sequence > ? LIMIT ?", self._boundary - _REFERENCES, 2 * _REFERENCES)
        known = {each for row in referenced for each in frame_ids(row["frames"]) or ()}
        frames = [each for each in self._unclaimed(closed, self._aside.first_id) if each[0] not in known]
        if not frames:
            return
        driver = referenced[-1]["driver"] if referenced else "auto"
        interpreter = interpreter_of(str(driver))

        def work(ledger: Ledger) -> None:
            for found in reread(interpreter, [each[5] for each in frames]):
                own = [frames[each] for each in found.positions]
                at = Moment(from_microseconds(own[-1][2]), bool(own[-1][3]))
                ledger.keep(
                    self._name, (), at, [each[0] for each in own], draft_of(interpreter, found.reading, at, NOT_ENDED)
                )

        self._salvage.write(work)


LOST_ROW = "the box's record of it was damaged: only its frames are left"


def _frame(row: Row) -> FrameRow | None:
    """A row of the journal, if it is one. Its CRC goes with it: a damaged one is known as such later."""
    values = row.values
    if row.rowid is None or len(values) != _JOURNAL or not isinstance(values[5], bytes):
        return None
    if not all(isinstance(each, int) for each in values[1:5]):
        return None
    link, received_at, sure, crc = (int(str(each)) for each in values[1:5])
    return row.rowid, link, received_at, bool(sure), crc, values[5]


def _outbox_values(row: Row) -> tuple[Value, ...] | None:
    """The columns of an outbox row without its id; the two that came later may be missing in an old one."""
    values = row.values
    if row.rowid is None or len(values) not in _OUTBOX or len(values) == 0:
        return None
    if not (isinstance(values[1], int) and isinstance(values[2], int) and isinstance(values[9], str)):
        return None
    return values[1:] if len(values) == _OUTBOX[1] else (*values[1:], None, None)


def _is_order(values: tuple[Value, ...]) -> bool:
    return len(values) == 5 and [type(each) for each in values] == [str, str, int, int, str]
