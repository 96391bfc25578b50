"""What the box told instruments to do, and the tubes it had no order for: two tables of the store.

`sent_order` is written before an order goes out and when its fate is known, so that none is sent twice and what an
analyzer holds can be taken back by its numbers. `unanswered` is for the people at the bench; the cloud hears of each
tube in a message of the link.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from edge.clock import Moment, from_microseconds
from protocols.model import Order
from protocols.uplink.items import order_from_json

STEP: tuple[str, ...] = (
    """CREATE TABLE sent_order (
        link TEXT NOT NULL,
        specimen TEXT NOT NULL,
        revision INTEGER NOT NULL,
        state TEXT NOT NULL,
        codes TEXT NOT NULL,
        pending TEXT NOT NULL,
        tries INTEGER NOT NULL,
        reason TEXT NOT NULL,
        changed_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        PRIMARY KEY (link, specimen)) WITHOUT ROWID""",
    """CREATE TABLE unanswered (
        link TEXT NOT NULL,
        what TEXT NOT NULL,
        specimen TEXT,
        rack TEXT,
        position TEXT,
        reason TEXT NOT NULL,
        first_at INTEGER NOT NULL,
        last_at INTEGER NOT NULL,
        times INTEGER NOT NULL,
        PRIMARY KEY (link, what)) WITHOUT ROWID""",
    "CREATE INDEX worklist_of_link ON worklist (link, revision)",
)
"""The migration that makes them."""
STEP_TAKEN_BACK: tuple[str, ...] = (
    "ALTER TABLE sent_order ADD COLUMN taken_back INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX sent_order_of_specimen ON sent_order (specimen)",
)
"""Said by a worklist entry, and by nothing else: a tube that is missing because the worklist was pruned, or is coming
anew after damage, is not cancelled."""

MOST_TUBES = 20_000
"""Tubes on the worklist; the ones that were told longest ago make room, and the cloud is asked about them again."""
MOST_UNANSWERED = 1_000
LIFE = 72 * 3_600_000_000
"""Microseconds that an order counts whose worklist entry has not come yet."""
_THREE_DAYS = 3 * 86_400_000_000
_CHUNK = 50


class SentState(StrEnum):
    SENDING = "sending"
    """Written down before it went out: after a power cut nobody knows whether the instrument took it."""
    SENT = "sent"
    FAILED = "failed"
    """Not taken; tried again later."""
    REFUSED = "refused"
    """The instrument said no to the order or to some of its tests; not tried again until it changes."""


@dataclass(frozen=True, slots=True)
class SentOrder:
    """What an instrument was told of one tube."""

    specimen: str
    revision: int
    """The worklist's, when the two were compared last."""
    state: SentState
    codes: Mapping[str, str]
    """Test codes that the instrument holds or may hold, each with its number ("" where it has none)."""
    pending: tuple[str, ...]
    """Those of them that it has not confirmed: they are sent again, under the same number."""
    tries: int
    reason: str
    expires_at: int
    """Microseconds since 1970, as the worklist's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the worklist says of one tube for one link, beside what was sent. `order` None: it was taken back."""

    specimen: str
    revision: int
    order: Order | None
    expires_at: int
    sent: SentOrder | None


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A tube that stood on an instrument without an order."""

    link: str
    specimen: str | None
    rack: str | None
    position: str | None
    reason: str
    first_at: datetime
    last_at: datetime
    times: int
    order_is_here: bool
    """Its order came since: run the tube again."""


_SENT = "s.specimen, s.revision, s.state, s.codes, s.pending, s.tries, s.reason, s.expires_at"


def wanted(connection: sqlite3.Connection, link: str, after: int, at: Moment) -> list[Wanted]:
    """The next tubes of a link behind worklist revision `after`, in rising revision; a bounded number."""
    rows = connection.execute(
        f"""SELECT w.specimen, w.revision, w.content, w.expires_at, {_SENT}
            FROM worklist w LEFT JOIN sent_order s ON s.link = w.link AND s.specimen = w.specimen
            WHERE w.link = ? AND w.revision > ? AND w.expires_at > ? ORDER BY w.revision LIMIT {_CHUNK}""",  # noqa: S608 - constants
        (link, after, _alive(at)),
    )
    return [_wanted(row) for row in rows]


def wanted_of(connection: sqlite3.Connection, link: str, specimen: str, at: Moment) -> Wanted | None:
    """The same of one tube; None where it is neither on the worklist nor taken back."""
    row = connection.execute(
        f"""SELECT w.specimen, w.revision, w.content, w.expires_at, {_SENT}
            FROM worklist w LEFT JOIN sent_order s ON s.link = w.link AND s.specimen = w.specimen
            WHERE w.link = ? AND w.specimen = ? AND w.expires_at > ?""",  # noqa: S608 - constants
        (link, specimen, _alive(at)),
    ).fetchone()
    if row is not None:
        return _wanted(row)
    gone = connection.execute(
        f"SELECT {_SENT} FROM sent_order s WHERE s.link = ? AND s.specimen = ? AND s.taken_back = 1",  # noqa: S608 - constants
        (link, specimen),
    ).fetchone()
    if gone is None:
        return None
    sent = _sent(gone)
    return Wanted(specimen, sent.revision, None, sent.expires_at, sent)


def taken_back(connection: sqlite3.Connection, link: str, at: Moment) -> list[Wanted]:
    """Tubes that the instrument holds work for and whose order was taken back since."""
    rows = connection.execute(
        f"""SELECT {_SENT} FROM sent_order s
            WHERE s.link = ? AND s.taken_back = 1 AND s.expires_at > ? AND s.codes <> '{{}}'
            LIMIT {_CHUNK}""",  # noqa: S608 - constants
        (link, _alive(at)),
    )
    return [Wanted(each.specimen, each.revision, None, each.expires_at, each) for each in map(_sent, rows)]


def unfinished(connection: sqlite3.Connection, link: str) -> list[str]:
    """Tubes whose order failed, or whose fate a power cut left open."""
    rows = connection.execute(
        "SELECT specimen FROM sent_order WHERE link = ? AND state IN ('sending', 'failed')", [link]
    )
    return [each for (each,) in rows]


def sent_of(connection: sqlite3.Connection, link: str, specimen: str) -> SentOrder | None:
    row = connection.execute(
        f"SELECT {_SENT} FROM sent_order s WHERE s.link = ? AND s.specimen = ?",  # noqa: S608 - constants
        (link, specimen),
    ).fetchone()
    return None if row is None else _sent(row)


def sent_orders(connection: sqlite3.Connection, link: str, limit: int = 200) -> list[SentOrder]:
    """For people: what this instrument was told, the newest first."""
    rows = connection.execute(
        f"SELECT {_SENT} FROM sent_order s WHERE s.link = ? ORDER BY s.changed_at DESC LIMIT ?",  # noqa: S608 - constants
        (link, limit),
    )
    return [_sent(row) for row in rows]


def put_sent(
    connection: sqlite3.Connection, link: str, sent: SentOrder, at: Moment, taken_back: bool | None = None
) -> None:
    """`taken_back` None: as the worklist said last, which may have been while the order was under way."""
    connection.execute(
        """INSERT INTO sent_order
            (link, specimen, revision, state, codes, pending, tries, reason, changed_at, expires_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (link, specimen) DO UPDATE SET revision = excluded.revision, state = excluded.state,
                codes = excluded.codes, pending = excluded.pending, tries = excluded.tries, reason = excluded.reason,
                changed_at = excluded.changed_at, expires_at = excluded.expires_at""",
        (
            link,
            sent.specimen,
            sent.revision,
            str(sent.state),
            json.dumps(dict(sent.codes), ensure_ascii=False),
            json.dumps(sent.pending, ensure_ascii=False),
            sent.tries,
            sent.reason[:200],
            at.microseconds,
            sent.expires_at,
        ),
    )
    if taken_back is not None:
        connection.execute(
            "UPDATE sent_order SET taken_back = ? WHERE link = ? AND specimen = ?", (taken_back, link, sent.specimen)
        )


def heard_of(connection: sqlite3.Connection, specimen: str, links: Collection[str]) -> None:
    """A worklist entry: the tube's orders are for `links`, and for no other any more."""
    marks = ",".join("?" * len(links))
    connection.execute(
        f"UPDATE sent_order SET taken_back = link NOT IN ({marks}) WHERE specimen = ?",  # noqa: S608 - only question marks
        (*links, specimen),
    )


def put_unanswered(
    connection: sqlite3.Connection,
    link: str,
    specimen: str | None,
    rack: str | None,
    position: str | None,
    reason: str,
    at: Moment,
) -> None:
    """One row for a tube, however often it is asked about."""
    connection.execute(
        """INSERT INTO unanswered (link, what, specimen, rack, position, reason, first_at, last_at, times)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)
            ON CONFLICT (link, what) DO UPDATE SET rack = excluded.rack, position = excluded.position,
                reason = excluded.reason, last_at = excluded.last_at, times = times + 1""",
        (link, what(specimen, rack, position), specimen, rack, position, reason, at.microseconds, at.microseconds),
    )


def is_unanswered(connection: sqlite3.Connection, link: str, specimen: str) -> bool:
    found = connection.execute("SELECT 1 FROM unanswered WHERE link = ? AND what = ?", (link, specimen)).fetchone()
    return found is not None


def was_answered(connection: sqlite3.Connection, link: str, specimen: str) -> None:
    """The tube was asked about again and had its order."""
    connection.execute("DELETE FROM unanswered WHERE link = ? AND what = ?", (link, specimen))


def unanswered(connection: sqlite3.Connection) -> list[Unanswered]:
    """For people: the tubes without an order, the newest first."""
    rows = connection.execute(
        """SELECT u.link, u.specimen, u.rack, u.position, u.reason, u.first_at, u.last_at, u.times,
                EXISTS (SELECT 1 FROM worklist w WHERE w.link = u.link AND w.specimen = u.specimen)
            FROM unanswered u ORDER BY u.last_at DESC LIMIT 500"""
    )
    return [
        Unanswered(
            link, specimen, rack, position, reason, from_microseconds(first), from_microseconds(last), n, bool(here)
        )
        for link, specimen, rack, position, reason, first, last, n, here in rows
    ]


def what(specimen: str | None, rack: str | None, position: str | None) -> str:
    """One tube by its barcode, else by its place."""
    return specimen if specimen is not None else f"{rack or ''}/{position or ''}"


def prune(connection: sqlite3.Connection, at: Moment) -> None:
    """Keep the tables small: what ran out, what is old, what is too much."""
    if at.sure:
        connection.execute("DELETE FROM sent_order WHERE expires_at < ?", [at.microseconds])
        connection.execute("DELETE FROM unanswered WHERE last_at < ?", [at.microseconds - _THREE_DAYS])
    connection.execute(
        """DELETE FROM unanswered WHERE last_at <=
            (SELECT last_at FROM unanswered ORDER BY last_at DESC LIMIT 1 OFFSET ?)""",
        [MOST_UNANSWERED],
    )
    connection.execute(
        """DELETE FROM worklist WHERE revision <=
            (SELECT revision FROM worklist GROUP BY revision ORDER BY revision DESC LIMIT 1 OFFSET ?)""",
        [MOST_TUBES],
    )


def _alive(at: Moment) -> int:
    """A clock that is not trusted expires nothing."""
    return at.microseconds if at.sure else 0


def _sent(row: Sequence[Any]) -> SentOrder:
    specimen, revision, state, codes, pending, tries, reason, expires_at = row
    held = json.loads(codes)
    return SentOrder(specimen, revision, SentState(state), held, tuple(json.loads(pending)), tries, reason, expires_at)


def _wanted(row: Sequence[Any]) -> Wanted:
    specimen, revision, content, expires_at, *sent = row
    order = order_from_json(json.loads(content))
    known = _sent(sent) if sent[0] is not None else None
    return Wanted(specimen, revision, None if order.cancelled else order, expires_at, known)
