"""What just changed, told to open pages: `pg_notify` on commit, one LISTEN connection a web process, a queue a page.

A hint, never a fact: a page that hears "results" fetches what it needs. What is lost while nobody listens costs
nothing.
"""

from __future__ import annotations

import asyncio
import json
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

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Announcement:
    topic: str
    data: dict[str, Any]


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
        self.connected = asyncio.Event()

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
            self.connected.set()
            async for notice in connection.notifies():
                self._pass_on(notice.payload)

    def _pass_on(self, payload: str) -> None:
        try:
            content = json.loads(payload)
            heard = Announcement(content["topic"], content["data"])
        except (ValueError, KeyError, TypeError):
            _log.warning("unreadable announcement")
            return
        for queue, topics in self._queues.items():
            if heard.topic not in topics:
                continue
            if queue.full():  # a page that does not read: its oldest hint goes, the next one makes it fetch anyway
                with suppress(asyncio.QueueEmpty):
                    queue.get_nowait()
            queue.put_nowait(heard)

    @property
    def listeners(self) -> int:
        return len(self._queues)

    @asynccontextmanager
    async def listen(self, topics: Collection[str]) -> AsyncIterator[asyncio.Queue[Announcement]]:
        queue: asyncio.Queue[Announcement] = asyncio.Queue(QUEUE_LENGTH)
        self._queues[queue] = frozenset(topics)
        try:
            yield queue
        finally:
            del self._queues[queue]
