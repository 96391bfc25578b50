"""Reading the store beside the writer, on a connection of its own. One reader is used by one thread at a time."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from edge.clock import Moment, from_microseconds
from edge.errors import StoreBusy
from edge.interpreter import interpret
from edge.rereading import only_message
from edge.store.ledger import open_frame_rows
from edge.store.rows import (
    NO_CONTENT,
    UNREAD,
    LinkPosition,
    OpenFrame,
    crc_of_message,
    frame_ids,
    message_of,
)
from edge.store.schema import as_text, connect, is_damage
from protocols.model import Decoded, Order
from protocols.uplink.envelope import Message, MessageState
from protocols.uplink.items import order_from_json

_DAMAGED = "the box's stored copy is damaged: decode again from the raw bytes"
_DAMAGED_RAW = "the box's stored raw bytes are damaged"
_ALL_LIMIT = 500
"""Orders in the answer to "everything you have"."""


_REBUILT = "read again from the raw bytes: the box's stored copy was damaged"

_NOT_UTF_8 = "Could not decode to UTF-8"

P = ParamSpec("P")
T = TypeVar("T")


class Files(Protocol):
    """Who puts a new file in the place of a damaged one (`Store`)."""

    @property
    def generation(self) -> int:
        """Rises with each new file."""

    def found_damaged(self, generation: int) -> None:
        """The file of this generation cannot be read. Returns when a sound one stands in its place."""

    def sends_after(self, link: str) -> int | None:
        """The link may send when the cloud has all up to this sequence; None: not while a damaged file is read."""

    @property
    def filling(self) -> bool:
        """Is a damaged file still being read?"""


@dataclass(slots=True)
class Batch:
    """Messages of a link and the epoch they are numbered in, from one moment of the file."""

    epoch: str
    messages: list[Message]


def _on_a_sound_file(
    read: Callable[Concatenate[Reader, P], T],
) -> Callable[Concatenate[Reader, P], T]:
    """Once more on the new file, where the old one turns out to be damaged. Raises `StoreBusy` without a new file."""

    @wraps(read)
    def again(self: Reader, /, *arguments: P.args, **named: P.kwargs) -> T:
        generation = self.follow()
        try:
            return read(self, *arguments, **named)
        except sqlite3.DatabaseError as error:
            if str(error).startswith(_NOT_UTF_8):
                self._connection.text_factory = as_text
                return read(self, *arguments, **named)
            if not is_damage(error) or self._files is None:
                raise
            self._files.found_damaged(generation)
            if self.follow() == generation:
                raise StoreBusy(f"the store's file is damaged: {error}") from error
            return read(self, *arguments, **named)

    return cast("Callable[Concatenate[Reader, P], T]", again)


class Reader:
    """`files`, if given, replaces a file that turns out to be damaged; the reader then goes on with the new one."""

    def __init__(self, path: Path, files: Files | None = None) -> None:
        self._path = path
        self._files = files
        self._generation = 0 if files is None else files.generation
        self._connection = connect(path, read_only=True)

    def close(self) -> None:
        self._connection.close()

    def follow(self) -> int:
        """Read the file that has the store's name now; its generation."""
        if self._files is not None and self._files.generation != self._generation:
            self._connection.close()
            self._generation = self._files.generation
            self._connection = connect(self._path, read_only=True)
        return self._generation

    @_on_a_sound_file
    def value(self, key: str) -> str:
        return self._value(key)

    def _value(self, key: str) -> str:
        row = self._connection.execute("SELECT value FROM box WHERE key = ?", [key]).fetchone()
        return str(row[0])

    def worklist_revision(self) -> int:
        return int(self.value("worklist_revision"))

    @_on_a_sound_file
    def newest_time(self) -> datetime | None:
        """The latest time the box ever wrote down."""
        newest = self._connection.execute("SELECT max(last_received_at) FROM link").fetchone()[0]
        return None if newest is None else from_microseconds(newest)

    @_on_a_sound_file
    def positions(self) -> list[LinkPosition]:
        rows = self._connection.execute(
            """SELECT name, last_sequence, delivered_through, last_received_at,
                (SELECT count(*) FROM outbox WHERE outbox.link = link.id AND sequence > delivered_through
                    AND delivered = 1)
                FROM link ORDER BY name"""
        )
        return [
            LinkPosition(name, last, through, last - through - also, None if at is None else from_microseconds(at))
            for name, last, through, at, also in rows
        ]

    @_on_a_sound_file
    def open_frames(self) -> dict[str, list[OpenFrame]]:
        """By link: frames that were made durable and whose message had not ended."""
        found: dict[str, list[OpenFrame]] = {}
        names = dict(self._connection.execute("SELECT id, name FROM link"))
        for id_, link, at, sure, _crc, raw in open_frame_rows(self._connection):
            found.setdefault(names[link], []).append(OpenFrame(id_, raw, from_microseconds(at), bool(sure)))
        return found

    @_on_a_sound_file
    def undelivered(self, link: str, after: int, limit: int, max_bytes: int) -> list[Message]:
        """The next messages of a link that the cloud has not confirmed, in their order; at least one if any waits."""
        return self._undelivered(link, after, limit, max_bytes)

    @_on_a_sound_file
    def batch(self, link: str, after: int, limit: int, max_bytes: int) -> Batch:
        """As `undelivered`, with the epoch of just these: a new one may be drawn at any time."""
        return self._of_one_moment(lambda: self._undelivered(link, after, limit, max_bytes))

    @_on_a_sound_file
    def between(self, link: str, first: int, last: int, limit: int, max_bytes: int) -> list[Message]:
        """Messages by sequence, both ends included, delivered or not: what the cloud asks for again."""
        return self._between(link, first, last, limit, max_bytes)

    @_on_a_sound_file
    def batch_between(self, link: str, first: int, last: int, limit: int, max_bytes: int) -> Batch:
        """As `between`, with the epoch of just these."""
        return self._of_one_moment(lambda: self._between(link, first, last, limit, max_bytes))

    def _of_one_moment(self, read: Callable[[], list[Message]]) -> Batch:
        self._connection.execute("BEGIN")
        try:
            return Batch(self._value("epoch"), read())
        finally:
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")

    def _undelivered(self, link: str, after: int, limit: int, max_bytes: int) -> list[Message]:
        needed = 0 if self._files is None else self._files.sends_after(link)
        if needed is None:
            return []
        sql = """SELECT outbox.* FROM outbox JOIN link ON link.id = outbox.link
            WHERE link.name = ? AND sequence > max(?, delivered_through) AND delivered = 0
                AND delivered_through >= ? ORDER BY sequence LIMIT ?"""
        return self._messages(sql, (link, after, needed, limit), max_bytes)

    def _between(self, link: str, first: int, last: int, limit: int, max_bytes: int) -> list[Message]:
        if self._files is not None and self._files.filling:
            return []  # the cloud asks again, when each message has both its copies again
        sql = """SELECT outbox.* FROM outbox JOIN link ON link.id = outbox.link
            WHERE link.name = ? AND sequence BETWEEN ? AND ? ORDER BY sequence LIMIT ?"""
        return self._messages(sql, (link, first, last, limit), max_bytes)

    @_on_a_sound_file
    def newest_raw(self, link: str) -> bytes | None:
        """The raw bytes of the link's newest message; None where there is none (or it was pruned)."""
        row = self._connection.execute(
            """SELECT frames FROM outbox JOIN link ON link.id = outbox.link
                WHERE link.name = ? ORDER BY sequence DESC LIMIT 1""",
            [link],
        ).fetchone()
        return b"".join(self._raws(row[0])[0]) or None if row is not None else None

    def _messages(self, sql: str, parameters: Sequence[Any], max_bytes: int) -> list[Message]:
        cursor = self._connection.execute(sql, parameters)
        cursor.row_factory = sqlite3.Row
        messages: list[Message] = []
        size = 0
        for row in cursor:
            message = self._message(row)
            size += len(message.raw) * 3 + len(row["content"])  # its items are about twice its bytes
            if messages and size > max_bytes:
                break
            messages.append(message)
        return messages

    def _message(self, row: sqlite3.Row) -> Message:
        """Never raises for a damaged row: it would keep every message behind it on the box.

        Each message is there twice, as the frames and as what was made of them: where one is damaged, the other serves.
        """
        raws, raw_is_whole = self._raws(row["frames"])
        content, state, reason = row["content"], row["state"], row["reason"]
        if state not in set(MessageState) or crc_of_message(row["frames"], content) != row["crc"]:
            return self._from_raw(row, raws, raw_is_whole)
        if row["payload"] is not None:
            if zlib.crc32(row["payload"]) != row["payload_crc"]:
                return self._from_raw(row, raws, raw_is_whole)
            note = reason if reason != UNREAD else None
            return self._read_now(row, row["payload"], raws, note if raw_is_whole else _DAMAGED_RAW)
        return self._made(row, raws, content, MessageState(state), reason if raw_is_whole else _DAMAGED_RAW)

    def _from_raw(self, row: sqlite3.Row, raws: Sequence[bytes], raw_is_whole: bool) -> Message:
        """What was made of the frames is damaged: made again, if they are sound and surely this message's."""
        own = raw_is_whole and self._ended_at(row["frames"], row["received_at"])
        payload = only_message(str(row["driver"]), raws) if own else None
        if payload is None:
            return self._made(row, raws, NO_CONTENT, MessageState.UNDECODED, _DAMAGED)
        return self._read_now(row, payload, raws, _REBUILT)

    def _ended_at(self, listed: str, received_at: int) -> bool:
        """Did the last of these frames come with the message? The list itself may be what is damaged."""
        ids = frame_ids(listed) or [0]
        found = self._connection.execute("SELECT received_at FROM journal WHERE id = ?", [ids[-1]]).fetchone()
        return found is not None and found[0] == received_at

    def _made(
        self, row: sqlite3.Row, raws: Sequence[bytes], content: str, state: MessageState, reason: str | None
    ) -> Message:
        return message_of(
            sequence=row["sequence"],
            received_at=from_microseconds(row["received_at"]),
            clock_sure=bool(row["clock_sure"]),
            driver=row["driver"],
            driver_version=row["driver_version"],
            state=state,
            reason=reason,
            content=content,
            raws=raws,
        )

    def _read_now(self, row: sqlite3.Row, payload: bytes, raws: Sequence[bytes], note: str | None) -> Message:
        """A message that was kept unread, or that is read again."""
        reading = interpret(row["driver"], payload)
        decoded = reading.decoded or Decoded(())
        return Message(
            sequence=row["sequence"],
            received_at=from_microseconds(row["received_at"]),
            clock_sure=bool(row["clock_sure"]),
            driver=reading.driver_id,
            driver_version=reading.driver_version,
            state=reading.state,
            raw=b"".join(raws),
            items=decoded.items,
            sender=decoded.sender,
            message_id=decoded.message_id,
            charset=decoded.charset,
            reason=note or reading.reason,
        )

    def _raws(self, listed: str) -> tuple[list[bytes], bool]:
        """The frames' bytes in their order, and whether each is what was written."""
        ids = frame_ids(listed)
        if ids is None:
            return [], False
        marks = ",".join("?" * len(ids))
        rows = self._connection.execute(
            f"SELECT raw, crc FROM journal WHERE id IN ({marks}) ORDER BY id",  # noqa: S608 - only question marks
            ids,
        ).fetchall()
        return [raw for raw, _ in rows], len(rows) == len(ids) and all(zlib.crc32(raw) == crc for raw, crc in rows)

    @_on_a_sound_file
    def orders(self, link: str, specimens: Iterable[str], at: Moment) -> dict[str, list[Order]]:
        """The orders of each specimen for a link; an empty list where there is none (none came, cancelled, expired)."""
        return {each: self._orders("specimen = ? AND link = ?", (each, link), at) for each in specimens}

    @_on_a_sound_file
    def every_order(self, link: str, at: Moment) -> dict[str, list[Order]]:
        """What the box holds for a link, newest first and bounded: the answer to "all"."""
        found: dict[str, list[Order]] = {}
        for order in self._orders("link = ?", (link,), at):
            found.setdefault(order.specimen, []).append(order)
        return found

    @_on_a_sound_file
    def ask(self, question: Callable[..., T], /, *arguments: object) -> T:
        """A question of another module (`edge.store.orders`), which takes the connection first."""
        return question(self._connection, *arguments)

    def _orders(self, where: str, parameters: Sequence[str], at: Moment) -> list[Order]:
        # A clock that is not trusted expires nothing: an order too many beats a tube that is not measured.
        alive_from = at.microseconds if at.sure else 0
        rows = self._connection.execute(
            f"SELECT content FROM worklist WHERE {where} AND expires_at > ? ORDER BY revision DESC LIMIT {_ALL_LIMIT}",  # noqa: S608 - constants
            (*parameters, alive_from),
        )
        orders = [order_from_json(json.loads(content)) for (content,) in rows]
        return [each for each in orders if not each.cancelled]
