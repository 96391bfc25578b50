"""The store's tables and how an older file becomes a newer one.

Migrations only add (columns with defaults, tables): the version before this one can still open the file, so that a
release can be rolled back with its buffer. `user_version` counts the migrations that have run.
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

from edge.errors import StoreBusy, StoreFull
from edge.store import orders

PAGE_BYTES = 4096
BUSY_TIMEOUT_MS = 5000

_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE box (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        # closed_through, open_from: journal ids; see Ledger for what they are good for after a crash.
        """CREATE TABLE link (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            last_sequence INTEGER NOT NULL DEFAULT 0,
            delivered_through INTEGER NOT NULL DEFAULT 0,
            closed_through INTEGER NOT NULL DEFAULT 0,
            open_from INTEGER NOT NULL DEFAULT 1,
            last_received_at INTEGER)""",
        # Appended at the end of one tree whatever the link: a group of frames is one or two pages to sync.
        """CREATE TABLE journal (
            id INTEGER PRIMARY KEY,
            link INTEGER NOT NULL,
            received_at INTEGER NOT NULL,
            clock_sure INTEGER NOT NULL,
            crc INTEGER NOT NULL,
            raw BLOB NOT NULL)""",
        """CREATE TABLE outbox (
            id INTEGER PRIMARY KEY,
            link INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            received_at INTEGER NOT NULL,
            clock_sure INTEGER NOT NULL,
            driver TEXT NOT NULL,
            driver_version TEXT NOT NULL,
            state TEXT NOT NULL,
            reason TEXT,
            frames TEXT NOT NULL,
            content TEXT NOT NULL,
            crc INTEGER NOT NULL,
            delivered INTEGER NOT NULL DEFAULT 0,
            UNIQUE (link, sequence))""",
        """CREATE TABLE worklist (
            specimen TEXT NOT NULL,
            link TEXT NOT NULL,
            revision INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            content TEXT NOT NULL,
            PRIMARY KEY (specimen, link)) WITHOUT ROWID""",
        "CREATE INDEX worklist_by_expiry ON worklist (expires_at)",
    ),
    (
        # The message without its frames where it was kept unread; decoded when it is sent.
        "ALTER TABLE outbox ADD COLUMN payload BLOB",
        "ALTER TABLE outbox ADD COLUMN payload_crc INTEGER",
    ),
    (
        # Messages confirmed out of turn are few: counted at each report without reading the whole backlog.
        "CREATE INDEX outbox_early ON outbox (link, sequence) WHERE delivered = 1",
        # Journal ids that were open when a later message of their link was closed; see Ledger.
        "ALTER TABLE link ADD COLUMN left_open TEXT NOT NULL DEFAULT '[]'",
    ),
    orders.STEP,
    orders.STEP_TAKEN_BACK,
)
VERSION = len(_MIGRATIONS)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection with the settings that the promises of the store rest on."""
    uri = f"{path.resolve().as_uri()}{'?mode=ro' if read_only else ''}"
    connection = sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_MS / 1000,
        cached_statements=64,
    )
    try:
        if not read_only:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # the only one that loses nothing: ./xinglin bench powercut
        connection.execute("PRAGMA cache_size=-2048")
    except BaseException:
        connection.close()
        raise
    return connection


def as_text(data: bytes) -> str:
    """The text of a damaged row, so that the rows beside it can be read; its CRC tells that it is not what was written.

    For a connection's `text_factory`, when it is needed: it makes every read slower.
    """
    return data.decode(errors="replace")


def open_for_writing(path: Path, max_bytes: int) -> sqlite3.Connection:
    """The one writing connection, migrated to this version. Raises `sqlite3.Error`."""
    connection = connect(path)
    try:
        migrate(connection)
        connection.execute(f"PRAGMA max_page_count={max(max_bytes // PAGE_BYTES, 16)}")
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection) -> None:
    """Run what is missing, each step in its own transaction. A newer file is left as it is and used."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, statements in enumerate(_MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            if number == 1:
                # A wiped box draws a new epoch: it can never reuse an identity that the cloud knows.
                connection.execute("INSERT INTO box VALUES ('epoch', ?), ('worklist_revision', '0')", [new_epoch()])
            connection.execute(f"PRAGMA user_version={number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def new_epoch() -> str:
    """64 random bits, hex."""
    return secrets.token_hex(8)


_NO_ROOM_LEFT = (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_FSYNC)
_NOT_READABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ)


def as_store_error(error: sqlite3.Error, *, disk_is_full: bool = False) -> StoreFull | StoreBusy:
    """SQLite's complaint in the words of the box: no room, or the file cannot be written at all."""
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL or (disk_is_full and code in _NO_ROOM_LEFT):
        return StoreFull("the disk is full" if disk_is_full else "the store is full")
    return StoreBusy(str(error))


def is_damage(error: BaseException) -> bool:
    """Does SQLite say that the file itself cannot be read as it was written?"""
    code = getattr(error, "sqlite_errorcode", None) if isinstance(error, sqlite3.Error) else None
    if code is None:
        return False
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or code in _NOT_READABLE
