"""What can be read of a damaged file, added to the new one behind the running links.

Every message is in the file twice: as its frames (journal) and as what was made of them (outbox). Where a page took one
of them, it is made again from the other. Where it took both, a message that says so keeps the number, so that the cloud
waits for nothing and somebody sees it. All steps may run again from the beginning after a stop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import structlog

from edge.errors import StoreError
from edge.store.aside import Aside
from edge.store.ledger import Ledger
from edge.store.pages import DamagedFile, Value
from edge.store.rebuild import Rebuild
from edge.store.remains import frame_of, is_order, outbox_values
from edge.store.rows import FrameRow
from edge.store.schema import as_text, connect

_BATCH_BYTES, _BATCH_ROWS = 256 * 1024, 200
_PAUSE_S = 0.002
"""After each page that held rows, so that the links have the interpreter first."""
_RETRY_S = 1.0

Work = Callable[[Ledger], Any]

log = structlog.get_logger()


class Stopped(Exception):
    """The box is being stopped; the next start goes on."""


class Salvage:
    """One damaged file. `write` hands work to the store and waits; how far it is stands in `aside`."""

    def __init__(self, path: Path, aside: Aside, write: Callable[[Work], Any], stop: threading.Event) -> None:
        self._path = path
        self._aside = aside
        self._write_once = write
        self._stop = stop

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
                    Rebuild(self._aside, self.write, connection, links[name], name, boundary).mend()

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
            for row in (
                pages.behind_the_break(number, doubtful=True) if number in free else pages.rows(number, doubtful=True)
            ):
                if (frame := frame_of(row)) is not None:
                    frames.append(frame)
                    size += len(frame[5])
                elif (message := outbox_values(row)) is not None:
                    messages.append(message)
                    size += sum(len(each) for each in message if isinstance(each, str | bytes))
                elif row.rowid is None and is_order(row.values):
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
