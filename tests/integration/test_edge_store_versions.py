"""A release can be taken back with its buffer: version 1 of the store opens today's file, and today's code theirs.

The SQL of version 1 is frozen here as it was shipped; it knows no unread messages and no later column or table.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from edge.store.rows import unread
from edge.store.schema import VERSION
from edge.store.store import Store
from protocols.uplink.envelope import MessageState
from tests.bench.edge_process import message_frames
from tests.support.stored_morning import ASTM, DECODED, TUBES, Morning, make_morning, moment, text_of, waiting

_SCHEMA_1 = """
CREATE TABLE box (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE link (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_sequence INTEGER NOT NULL DEFAULT 0,
    delivered_through INTEGER NOT NULL DEFAULT 0, closed_through INTEGER NOT NULL DEFAULT 0,
    open_from INTEGER NOT NULL DEFAULT 1, last_received_at INTEGER);
CREATE TABLE journal (id INTEGER PRIMARY KEY, link INTEGER NOT NULL, received_at INTEGER NOT NULL,
    clock_sure INTEGER NOT NULL, crc INTEGER NOT NULL, raw BLOB NOT NULL);
CREATE TABLE outbox (id INTEGER PRIMARY KEY, link INTEGER NOT NULL, sequence INTEGER NOT NULL,
    received_at INTEGER NOT NULL, clock_sure INTEGER NOT NULL, driver TEXT NOT NULL, driver_version TEXT NOT NULL,
    state TEXT NOT NULL, reason TEXT, frames TEXT NOT NULL, content TEXT NOT NULL, crc INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0, UNIQUE (link, sequence));
CREATE TABLE worklist (specimen TEXT NOT NULL, link TEXT NOT NULL, revision INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, content TEXT NOT NULL, PRIMARY KEY (specimen, link)) WITHOUT ROWID;
CREATE INDEX worklist_by_expiry ON worklist (expires_at);
INSERT INTO box VALUES ('epoch', '0123456789abcdef'), ('worklist_revision', '0');
PRAGMA user_version = 1;
"""
_UNDELIVERED_1 = """SELECT outbox.* FROM outbox JOIN link ON link.id = outbox.link
    WHERE link.name = ? AND sequence > max(?, delivered_through) AND delivered = 0 ORDER BY sequence LIMIT ?"""
_OPEN_1 = """SELECT journal.id, link.name, journal.raw, journal.received_at, journal.clock_sure
    FROM journal JOIN link ON link.id = journal.link
    WHERE journal.id >= (SELECT coalesce(max(open_from), 1) FROM link) AND journal.id > link.closed_through
    ORDER BY journal.id"""
_LINKS_1 = "SELECT name, id, last_sequence, delivered_through, closed_through, last_received_at FROM link"
_JOURNAL_1 = "INSERT INTO journal (id, link, received_at, clock_sure, crc, raw) VALUES (?, ?, ?, ?, ?, ?)"
_OUTBOX_1 = """INSERT INTO outbox (link, sequence, received_at, clock_sure, driver, driver_version, state, reason,
    frames, content, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_CLOSE_1 = """UPDATE link SET last_sequence = ?, delivered_through = ?, closed_through = ?, last_received_at = ?,
    open_from = ? WHERE id = ?"""


class Version1:
    """What the first release did with its file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def undelivered(self, link: str) -> list[tuple[int, str, bytes]]:
        """(sequence, state, raw) of what it would send."""
        cursor = self._connection.execute(_UNDELIVERED_1, (link, 0, 10**6))
        cursor.row_factory = sqlite3.Row
        found = []
        for row in cursor:
            crc = zlib.crc32(row["content"].encode(), zlib.crc32(row["frames"].encode()))
            assert crc == row["crc"], "it would find the row damaged"
            assert "items" in json.loads(row["content"])
            ids = json.loads(row["frames"])
            marks = ",".join("?" * len(ids))
            raws = self._connection.execute(f"SELECT raw, crc FROM journal WHERE id IN ({marks}) ORDER BY id", ids)
            rows = raws.fetchall()
            assert len(rows) == len(ids)
            assert all(zlib.crc32(raw) == crc for raw, crc in rows)
            found.append((row["sequence"], row["state"], b"".join(raw for raw, _ in rows)))
        return found

    def open_frames(self) -> list[bytes]:
        return [raw for _, _, raw, _, _ in self._connection.execute(_OPEN_1)]

    def keep(self, link: str, frames: list[bytes], content: str) -> int:
        """A message of these frames, decoded; its sequence."""
        links = {name: rest for name, *rest in self._connection.execute(_LINKS_1)}
        if link not in links:
            self._connection.execute("INSERT INTO link (name) VALUES (?)", [link])
            links = {name: rest for name, *rest in self._connection.execute(_LINKS_1)}
        id_, last, through, closed, _ = links[link]
        newest = self._connection.execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()[0]
        first = 1 + max(newest, *(each[3] for each in links.values()))
        ids = list(range(first, first + len(frames)))
        for number, raw in zip(ids, frames, strict=True):
            self._connection.execute(_JOURNAL_1, (number, id_, moment(1).microseconds, True, zlib.crc32(raw), raw))
        listed = json.dumps(ids, separators=(",", ":"))
        crc = zlib.crc32(content.encode(), zlib.crc32(listed.encode()))
        at = moment(8000).microseconds
        self._connection.execute(
            _OUTBOX_1, (id_, last + 1, at, True, "sysmex_xn", "1", "decoded", None, listed, content, crc)
        )
        self._connection.execute(_CLOSE_1, (last + 1, through, max(closed, *ids), at, ids[-1] + 1, id_))
        return int(last) + 1


@contextmanager
def version_1(path: Path) -> Iterator[Version1]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        yield Version1(connection)
        connection.execute("COMMIT")


@pytest.fixture(scope="module")
def morning(tmp_path_factory: pytest.TempPathFactory) -> Morning:
    return make_morning(tmp_path_factory.mktemp("morning"))


@pytest.mark.req("GW-9", "GW-10")
def test_the_release_before_opens_todays_buffer_and_nothing_is_lost(morning: Morning, tmp_path: Path) -> None:
    """What it cannot decode, since it knows no unread messages, it sends as undecoded with its raw bytes."""
    path = morning.copy(tmp_path / "box")
    with version_1(path) as old:
        for link in (ASTM, DECODED):
            sent = {sequence: (state, raw) for sequence, state, raw in old.undelivered(link)}
            owed = {
                key[1]: each for key, each in morning.messages.items() if key in morning.waiting() and key[0] == link
            }
            assert {sequence: raw for sequence, (_, raw) in sent.items()} == {n: each.raw for n, each in owed.items()}
            assert {state for state, _ in sent.values()} == {"undecoded" if link == ASTM else "decoded"}
        assert old.open_frames() == morning.open_frames


@pytest.mark.req("GW-9", "GW-10")
def test_todays_release_goes_on_with_what_the_one_before_wrote_into_its_file(morning: Morning, tmp_path: Path) -> None:
    path = morning.copy(tmp_path / "box")
    with Store(path) as store:
        epoch = store.epoch
    with version_1(path) as old:
        assert old.keep(DECODED, [b"kept by the release before"], '{"items":[]}') == TUBES + 1
        assert old.keep("new link", [b"of a new link"], '{"items":[]}') == 1
    with Store(path) as store:
        assert store.epoch == epoch
        found = waiting(store)
        assert found[DECODED, TUBES + 1].raw == b"kept by the release before"
        frames = message_frames("today")
        draft = unread(moment(9000), "sysmex_xn", text_of(frames))
        kept = store.write(lambda ledger: ledger.keep(DECODED, frames, moment(9000), (), draft))
        assert kept.sequence == TUBES + 2
        assert waiting(store)[DECODED, TUBES + 2].state is MessageState.DECODED
        assert {key: each.items for key, each in found.items() if key in morning.messages} == morning.waiting()


@pytest.mark.req("GW-10")
def test_a_file_of_the_first_release_becomes_todays_with_all_that_waited_in_it(tmp_path: Path) -> None:
    path = tmp_path / "box.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_SCHEMA_1)
    with version_1(path) as old:
        for number in range(1, 6):
            assert old.keep("xn", [b"frame %d" % number], '{"items":[]}') == number
    with Store(path) as store, closing(store.reader()) as reader:
        assert store.epoch == "0123456789abcdef"
        assert [each.raw for each in reader.undelivered("xn", 0, 10, 10**6)] == [b"frame %d" % n for n in range(1, 6)]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == VERSION
