"""Reading the store beside the writer, on a connection of its own. One reader is used by one thread at a time."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from edge.clock import Moment, from_microseconds
from edge.interpreter import interpret
from edge.store.ledger import open_frame_rows
from edge.store.rows import NO_CONTENT, LinkPosition, OpenFrame, crc_of_message, frame_ids, message_of
from edge.store.schema import connect
from protocols.model import Decoded, Order
from protocols.uplink.envelope import Message, MessageState
from protocols.uplink.items import order_from_json

_DAMAGED = "the box's stored copy is damaged: decode again from the raw bytes"
_DAMAGED_RAW = "the box's stored raw bytes are damaged"
_ALL_LIMIT = 500
"""Orders in the answer to "everything you have"."""


class Reader:
    def __init__(self, path: Path) -> None:
        self._connection = connect(path, read_only=True)

    def close(self) -> None:
        self._connection.close()

    def value(self, key: str) -> str:
        row = self._connection.execute("SELECT value FROM box WHERE key = ?", [key]).fetchone()
        return str(row[0])

    def worklist_revision(self) -> int:
        return int(self.value("worklist_revision"))

    def newest_time(self) -> datetime | None:
        """The latest time the box ever wrote down."""
        newest = self._connection.execute("SELECT max(last_received_at) FROM link").fetchone()[0]
        return None if newest is None else from_microseconds(newest)

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

    def open_frames(self) -> dict[str, list[OpenFrame]]:
        """By link: frames that were made durable and whose message had not ended."""
        found: dict[str, list[OpenFrame]] = {}
        for id_, link, raw, at, sure in open_frame_rows(self._connection):
            found.setdefault(link, []).append(OpenFrame(id_, raw, from_microseconds(at), bool(sure)))
        return found

    def undelivered(self, link: str, after: int, limit: int, max_bytes: int) -> list[Message]:
        """The next messages of a link that the cloud has not confirmed, in their order; at least one if any waits."""
        return self._messages(
            """SELECT outbox.* FROM outbox JOIN link ON link.id = outbox.link
                WHERE link.name = ? AND sequence > max(?, delivered_through) AND delivered = 0
                ORDER BY sequence LIMIT ?""",
            (link, after, limit),
            max_bytes,
        )

    def between(self, link: str, first: int, last: int, limit: int, max_bytes: int) -> list[Message]:
        """Messages by sequence, both ends included, delivered or not: what the cloud asks for again."""
        return self._messages(
            """SELECT outbox.* FROM outbox JOIN link ON link.id = outbox.link
                WHERE link.name = ? AND sequence BETWEEN ? AND ? ORDER BY sequence LIMIT ?""",
            (link, first, last, limit),
            max_bytes,
        )

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
        """Never raises for a damaged row: it would keep every message behind it on the box."""
        raws, raw_is_whole = self._raws(row["frames"])
        content, state, reason = row["content"], row["state"], row["reason"]
        if state not in set(MessageState) or crc_of_message(row["frames"], content) != row["crc"]:
            content, state, reason = NO_CONTENT, MessageState.UNDECODED, _DAMAGED
        elif row["payload"] is not None:
            if zlib.crc32(row["payload"]) == row["payload_crc"]:
                return self._read_now(row, raws, None if raw_is_whole else _DAMAGED_RAW)
            reason = _DAMAGED
        elif not raw_is_whole:
            reason = _DAMAGED_RAW
        return message_of(
            sequence=row["sequence"],
            received_at=from_microseconds(row["received_at"]),
            clock_sure=bool(row["clock_sure"]),
            driver=row["driver"],
            driver_version=row["driver_version"],
            state=MessageState(state),
            reason=reason,
            content=content,
            raws=raws,
        )

    def _read_now(self, row: sqlite3.Row, raws: Sequence[bytes], damage: str | None) -> Message:
        """A message that was kept unread."""
        reading = interpret(row["driver"], row["payload"])
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
            reason=damage or reading.reason,
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

    def orders(self, link: str, specimens: Iterable[str], at: Moment) -> dict[str, list[Order]]:
        """The orders of each specimen for a link; an empty list where there is none (none came, cancelled, expired)."""
        return {each: self._orders("specimen = ? AND link = ?", (each, link), at) for each in specimens}

    def every_order(self, link: str, at: Moment) -> dict[str, list[Order]]:
        """What the box holds for a link, newest first and bounded: the answer to "all"."""
        found: dict[str, list[Order]] = {}
        for order in self._orders("link = ?", (link,), at):
            found.setdefault(order.specimen, []).append(order)
        return found

    def _orders(self, where: str, parameters: Sequence[str], at: Moment) -> list[Order]:
        # A clock that is not trusted expires nothing: an order too many beats a tube that is not measured.
        alive_from = at.microseconds if at.sure else 0
        rows = self._connection.execute(
            f"SELECT content FROM worklist WHERE {where} AND expires_at > ? ORDER BY revision DESC LIMIT {_ALL_LIMIT}",  # noqa: S608 - constants
            (*parameters, alive_from),
        )
        orders = [order_from_json(json.loads(content)) for (content,) in rows]
        return [each for each in orders if not each.cancelled]
