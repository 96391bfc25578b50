"""The undelivered messages of one link in the new file, made whole where a damaged page took one of their copies."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from edge.clock import Moment, from_microseconds
from edge.interpreter import interpreter_of
from edge.rereading import draft_of, reread
from edge.store.aside import Aside
from edge.store.ledger import Ledger
from edge.store.rows import NO_CONTENT, UNREAD, Draft, FrameRow, crc_of_message, frame_ids
from protocols.uplink.envelope import MessageState

LOST = "lost on the box: both copies stood on damaged pages"
REBUILT_RAW = "the raw bytes were damaged on the box: rebuilt from the message's text"
NUMBER_UNSURE = "the box's record of it was damaged: read again from its frames, its number may be a neighbour's"
NOT_ENDED = "the box stopped before the message ended"
LOST_ROW = "the box's record of it was damaged: only its frames are left"
_SEQUENCES = 500
_REFERENCES = 2000

Write = Callable[[Callable[[Ledger], Any]], Any]

log = structlog.get_logger()


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


class Rebuild:
    """`write` hands work to the store and waits; `connection` reads the new file."""

    def __init__(
        self, aside: Aside, write: Write, connection: sqlite3.Connection, link: int, name: str, boundary: int
    ) -> None:
        self._aside = aside
        self._write = write
        self._connection = connection
        self._id = link
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

        self._write(work)
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

        self._write(work)
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

        self._write(work)
