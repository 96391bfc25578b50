"""What just changed, told to open pages: `pg_notify` on commit, one LISTEN connection a web process, a queue a page.

A hint, never a fact: a page that hears "results" fetches what it needs. A page carries the position its content was
read at and names it when it begins to listen (as a browser does that reconnects), so that what happened between the two
is told too; where that cannot be known any more, the page is told that each of its topics may have changed.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from sqlalchemy import make_url, text
from sqlalchemy.orm import Session

CHANNEL = "xinglin_live"
LONGEST_PAYLOAD = 7_900
"""PostgreSQL takes up to 8000 bytes a notification."""
QUEUE_LENGTH = 200
RECONNECT_S = 1.0
REMEMBERED = 500
"""Announcements kept for pages that begin to listen a moment after they were read."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Announcement:
    topic: str
    data: dict[str, Any]
    """Empty: this hub cannot say what changed, the page fetches all of the topic."""
    position: str = ""


def announce(session: Session, topic: str, data: Mapping[str, Any] | None = None) -> None:
    """Tell open pages on commit. `data`: a few ids, no names and no values of patients."""
    payload = json.dumps({"topic": topic, "data": dict(data or {})}, default=str, separators=(",", ":"))
    if len(payload.encode()) > LONGEST_PAYLOAD:
        raise ValueError(f"an announcement of {len(payload)} characters is too long; name the things, do not send them")
    session.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload})


def libpq_url(database_url: str) -> str:
    """A SQLAlchemy URL as psycopg reads it."""
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


class Hub:
    """One process's ear. `run()` is its loop; `listen()` gives each open page its own queue."""

    def __init__(self, database_url: str) -> None:
        self._url = libpq_url(database_url)
        self._queues: dict[asyncio.Queue[Announcement], frozenset[str]] = {}
        self._recent: deque[tuple[int, Announcement]] = deque(maxlen=REMEMBERED)
        self._count = 0
        self._run = ""
        self.connected = asyncio.Event()
        self._begin_anew()

    @property
    def position(self) -> str:
        """Where this hub stands now: this run of hearing without a break, and how much it heard in it."""
        return f"{self._run}-{self._count}"

    def _begin_anew(self) -> None:
        """What was said while the connection was lost is unknown: older positions tell nothing from here on."""
        self._run, self._count = uuid.uuid4().hex[:12], 0
        self._recent.clear()
        for queue, topics in self._queues.items():
            for topic in topics:
                _put(queue, Announcement(topic, {}, self.position))

    async def run(self) -> None:
        """Listen until cancelled; a lost connection is made anew."""
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                _log.warning("live connection lost", reason=type(error).__name__)
            self.connected.clear()
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            self._begin_anew()
            self.connected.set()
            async for notice in connection.notifies():
                self._pass_on(notice.payload)

    def _pass_on(self, payload: str) -> None:
        try:
            content = json.loads(payload)
            heard = Announcement(content["topic"], content["data"], f"{self._run}-{self._count + 1}")
        except (ValueError, KeyError, TypeError):
            _log.warning("unreadable announcement")
            return
        self._count += 1
        self._recent.append((self._count, heard))
        for queue, topics in self._queues.items():
            if heard.topic in topics:
                _put(queue, heard)

    def _since(self, position: str, topics: frozenset[str]) -> list[Announcement]:
        """What was heard of `topics` after `position`; where that is unknown, that each may have changed."""
        run, _, number = position.rpartition("-")
        forgotten = self._count - len(self._recent)
        if run != self._run or not number.isdecimal() or not forgotten <= int(number) <= self._count:
            return [Announcement(topic, {}, self.position) for topic in sorted(topics)]
        return [each for count, each in self._recent if count > int(number) and each.topic in topics]

    @property
    def listeners(self) -> int:
        return len(self._queues)

    @asynccontextmanager
    async def listen(
        self, topics: Collection[str], since: str | None = None
    ) -> AsyncIterator[asyncio.Queue[Announcement]]:
        """A queue of what is heard of `topics` from now on, or from the position `since` on."""
        queue: asyncio.Queue[Announcement] = asyncio.Queue(QUEUE_LENGTH)
        for missed in self._since(since, frozenset(topics)) if since else ():
            _put(queue, missed)
        self._queues[queue] = frozenset(topics)
        try:
            yield queue
        finally:
            del self._queues[queue]


def _put(queue: asyncio.Queue[Announcement], heard: Announcement) -> None:
    if queue.full():  # a page that does not read: its oldest hint goes, the next one makes it fetch anyway
        with suppress(asyncio.QueueEmpty):
            queue.get_nowait()
    queue.put_nowait(heard)
