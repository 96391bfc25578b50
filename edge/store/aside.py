"""A new file in the place of a damaged one, at once and without a hand's help; the damaged one is kept.

What the new file must begin with, so that no identity is given twice, is told by the running ledger, or read from the
damaged file page by page, or, where just those pages are gone, from the store's side file and its indexes. Only where
even these do not agree on how far a link had come, a new epoch is drawn.

The steps are in an order that a power cut cannot harm: a second name for the damaged file and its log first, then its
log's own name goes, then the new file takes the name of the store. A start that finds both names on one file begins
again from there.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import structlog

from edge.store import schema
from edge.store.ledger import open_frame_rows
from edge.store.pages import DamagedFile
from edge.store.remains import closed_frames, frame_of, is_epoch, is_name, link_of, newest
from edge.store.rows import FrameRow, LinkRow, Positions

_FIRST_PAGES = 64
"""The small tables were made first."""
_SMALLEST_ROW = 16
_GREAT_TABLES = ("box", "link", "journal", "outbox")

log = structlog.get_logger()


@dataclass(slots=True)
class Aside:
    """A damaged file that was set aside, and how far it was read; beside it as JSON."""

    file: str
    boundary: dict[str, int] = field(default_factory=dict)
    """By link, the last sequence that was given in it."""
    closed_through: dict[str, int] = field(default_factory=dict)
    """By link, up to which journal id its frames belonged to messages."""
    open_frames: list[int] = field(default_factory=list)
    """Journal ids that went into the new file at once, for messages that had not ended."""
    first_id: int = 1
    """Journal ids from here on are of the new file."""
    certain: bool = True
    """How far the links had come is known; else nothing is sent before a new epoch is drawn."""
    done: bool = False
    pages: int = 0
    pages_read: int = 0
    frames: int = 0
    messages: int = 0
    rebuilt: int = 0
    """Messages of which one copy was damaged and that were made whole from the other."""
    lost: int = 0
    """Messages whose number is all that is left: in their place stands one that says so."""


_FIELDS = {each.name for each in fields(Aside)}
"""A newer release may have written more."""


def asides(path: Path) -> list[Aside]:
    """Every damaged file that was set aside, in their order."""
    found = []
    for each in sorted(path.parent.glob(f"{path.name}.damaged-*.json")):
        with suppress(OSError, ValueError):
            said = json.loads(each.read_text(encoding="utf-8"))
            found.append(Aside(**{key: value for key, value in said.items() if key in _FIELDS}))
    return found


def write_aside(path: Path, aside: Aside) -> None:
    write_whole(path.with_name(aside.file + ".json"), json.dumps(asdict(aside)))


def write_whole(file: Path, text: str) -> None:
    """Whole or not at all, also after a power cut."""
    new = file.with_name(file.name + ".new")
    with new.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    _sync(file.parent)


def write_spare(path: Path, positions: Positions) -> None:
    """The store's side file: the second copy of who this box is and how far its links had come some seconds ago."""
    links = [asdict(each) for each in positions.links]
    data = {"epoch": positions.epoch, "next_id": positions.next_id, "links": links}
    write_whole(path.with_name(path.name + ".positions"), json.dumps(data))


def read_spare(path: Path) -> Positions | None:
    try:
        data = json.loads(path.with_name(path.name + ".positions").read_text(encoding="utf-8"))
        return Positions(data["epoch"], [LinkRow(**each) for each in data["links"]], [], data["next_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def interrupted(path: Path) -> Aside | None:
    """The damaged file that still has the store's name as well: the power failed while it was set aside."""
    for each in asides(path):
        with suppress(FileNotFoundError):
            if path.samefile(path.with_name(each.file)):
                return each
    return None


def set_aside(path: Path, positions: Positions | None, max_bytes: int) -> Aside:
    """Nobody writes to the file, and every writing connection is closed. Raises `OSError` or `sqlite3.Error`."""
    aside = interrupted(path) or Aside(_free_name(path))
    damaged = path.with_name(aside.file)
    if not damaged.exists():
        wal = path.with_name(path.name + "-wal")
        if wal.exists():
            os.link(wal, damaged.with_name(damaged.name + "-wal"))
        os.link(path, damaged)
        _sync(path.parent)
    if positions is None:
        positions = read_positions(damaged, read_spare(path))
    aside.boundary = {each.name: each.last_sequence for each in positions.links}
    aside.closed_through = {each.name: each.closed_through for each in positions.links}
    aside.open_frames = [each[0] for each in positions.open_frames]
    aside.first_id, aside.certain = positions.next_id, positions.certain
    write_aside(path, aside)
    new = path.with_name(path.name + ".new")
    for each in (new, new.with_name(new.name + "-wal"), new.with_name(new.name + "-shm")):
        each.unlink(missing_ok=True)
    _make(new, positions, damaged, max_bytes)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    new.replace(path)
    _sync(path.parent)
    log.error("store.damaged", set_aside=aside.file, certain=positions.certain, links=len(positions.links))
    return aside


def _free_name(path: Path) -> str:
    number = 1
    while any(path.parent.glob(f"{path.name}.damaged-{number}*")):
        number += 1
    return f"{path.name}.damaged-{number}"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make(new: Path, positions: Positions, damaged: Path, max_bytes: int) -> None:
    """A store that goes on where the damaged one stopped; closed, in one file."""
    with closing(schema.open_for_writing(new, max_bytes)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE box SET value = ? WHERE key = 'epoch'", [positions.epoch])
        if not positions.certain:
            connection.execute("INSERT INTO box VALUES ('epoch_due', '1')")
        open_from = min((each[0] for each in positions.open_frames), default=positions.next_id)
        connection.executemany(
            """INSERT INTO link (id, name, last_sequence, delivered_through, closed_through, last_received_at,
                open_from, left_open) VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
            [
                (
                    each.id,
                    each.name,
                    each.last_sequence,
                    each.delivered_through,
                    max(each.closed_through, positions.next_id - 1),
                    each.last_received_at,
                    open_from,
                    json.dumps([frame[0] for frame in positions.open_frames if frame[1] == each.id]),
                )
                for each in positions.links
            ],
        )
        connection.executemany(
            "INSERT INTO journal (id, link, received_at, clock_sure, crc, raw) VALUES (?, ?, ?, ?, ?, ?)",
            positions.open_frames,
        )
        for name, columns, rows in _small_tables(connection, damaged):
            marks = ",".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {name} ({','.join(columns)}) VALUES ({marks})", rows)  # noqa: S608
            if name == "worklist" and (revision := _worklist_revision(damaged)):
                connection.execute("UPDATE box SET value = ? WHERE key = 'worklist_revision'", [revision])
        connection.execute("COMMIT")


def _small_tables(
    connection: sqlite3.Connection, damaged: Path
) -> Iterator[tuple[str, list[str], list[tuple[object, ...]]]]:
    """Name, columns and rows of every table but the four great ones, where all of it can still be read.

    A worklist that cannot be read whole begins at revision 0: the cloud sends everything again.
    """
    listed = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    for (name,) in listed.fetchall():
        if name in _GREAT_TABLES:
            continue
        columns = [each[1] for each in connection.execute(f"PRAGMA table_info({name})")]
        try:
            with _by_sqlite(damaged) as old:
                yield name, columns, old.execute(f"SELECT {','.join(columns)} FROM {name}").fetchall()  # noqa: S608
        except sqlite3.Error as error:
            log.warning("store.table_not_copied", table=name, reason=str(error))


def _worklist_revision(damaged: Path) -> str | None:
    try:
        with _by_sqlite(damaged) as connection:
            found = connection.execute("SELECT value FROM box WHERE key = 'worklist_revision'").fetchone()
            return str(int(found[0]))
    except (sqlite3.Error, TypeError, ValueError):
        return None


@contextmanager
def _by_sqlite(damaged: Path) -> Iterator[sqlite3.Connection]:
    """What SQLite itself still reads: not everywhere is damage."""
    with closing(schema.connect(damaged, read_only=True)) as connection:
        yield connection


# ---------------------------------------------------------------------- who this box was, from the file itself


def read_positions(damaged: Path, spare: Positions | None) -> Positions:
    """From the pages of the small tables; from the side file and the indexes where those are the damaged ones."""
    with DamagedFile(damaged) as pages:
        numbers = {*range(1, min(_FIRST_PAGES, pages.page_count) + 1), *pages.newer_pages()}
        rows = {number: list(pages.rows(number)) for number in sorted(numbers)}
        size, log = pages.page_count * schema.PAGE_BYTES, pages.log
    found = [row for each in rows.values() for row in each]
    links = newest([each for each in map(link_of, found) if each is not None])
    named = {str(v[0]): int(str(v[1])) for v in (row.values for row in found) if is_name(v)}
    if spare is not None:
        named |= {each.name: each.id for each in spare.links}
    # Where the log is broken, the last that a link's row said may be what the bad sector took.
    certain = not log.beyond or all(page in log.sure for page, each in rows.items() if any(map(link_of, each)))
    for name, id_ in named.items():
        if name not in links:
            known = next((each for each in spare.links if each.name == name), None) if spare else None
            links[name], sure = _last_known(damaged, id_, known or LinkRow(id_, name))
            certain = certain and sure
    epoch = next((str(row.values[1]) for row in found if is_epoch(row)), spare.epoch if spare else None)
    open_frames = _open_frames(damaged)
    if log.beyond:  # SQLite told of them as they were before the break
        closed_since = closed_frames(found, {each.id: each.closed_through for each in links.values()})
        open_frames = [each for each in open_frames if not closed_since(each)]
    newest_id = _one(damaged, "SELECT max(id) FROM journal") if not log.beyond else None
    closed = [each.closed_through for each in links.values()]
    ids = [frame[0] for frame in map(frame_of, found) if frame is not None]
    highest = max([0, spare.next_id if spare else 0, *closed, *ids, *(each[0] for each in open_frames)])
    certainly_highest = newest_id is not None and newest_id >= highest - 1
    next_id = newest_id + 1 if newest_id is not None and certainly_highest else highest + size // _SMALLEST_ROW
    return Positions(
        epoch=epoch or schema.new_epoch(),
        links=list(links.values()),
        open_frames=open_frames,
        next_id=next_id,
        certain=certain and epoch is not None and bool(links or spare or not size),
    )


def _last_known(damaged: Path, id_: int, spare: LinkRow) -> tuple[LinkRow, bool]:
    """A link whose own row is gone. Its newest message is never pruned, so that its number tells how far it came."""
    newest = _one(damaged, "SELECT max(sequence) FROM outbox WHERE link = ?", id_)
    last = max(spare.last_sequence, newest or 0)
    return LinkRow(id_, spare.name, last, spare.delivered_through, spare.closed_through), newest is not None


def _one(damaged: Path, sql: str, *parameters: object) -> int | None:
    try:
        with _by_sqlite(damaged) as connection:
            found = connection.execute(sql, parameters).fetchone()[0]
            return found if isinstance(found, int) else None
    except (sqlite3.Error, TypeError):
        return None


def _open_frames(damaged: Path) -> list[FrameRow]:
    try:
        with _by_sqlite(damaged) as connection:
            return open_frame_rows(connection)
    except sqlite3.Error:
        return []
