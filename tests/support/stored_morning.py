"""A store with a morning's messages in it, and what must still be there after something happened to its file."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from edge.clock import FLOOR, Moment
from edge.interpreter import Interpreter
from edge.store.rows import Draft, content_of, unread
from edge.store.store import Store
from protocols.model import Item, Order
from protocols.uplink.envelope import Message, MessageState, WorklistEntry
from tests.bench.edge_process import message_frames
from tests.support.waiting import eventually

ASTM, DECODED = "xn", "bs"
"""A link whose messages are kept unread, and one whose messages were decoded at once."""
TUBES = 20


def moment(number: int) -> Moment:
    return Moment(FLOOR + timedelta(days=1, seconds=number), True)


def text_of(frames: list[bytes]) -> bytes:
    """What stands in the frames between STX, number and ETB or ETX."""
    return b"".join(each[2:-5] for each in frames)


@dataclass
class Morning:
    """`folder` holds the store, closed in order."""

    folder: Path
    epoch: str
    messages: dict[tuple[str, int], Message]
    delivered_through: int
    open_frames: list[bytes]

    @property
    def path(self) -> Path:
        return self.folder / "box.db"

    @property
    def pages(self) -> int:
        return self.path.stat().st_size // 4096

    def copy(self, folder: Path, *, unclean: bool = False) -> Path:
        """The store's file in another folder; `unclean`: as if nobody had closed it."""
        folder.mkdir()
        for each in self.folder.iterdir():
            if each.name.startswith("box.db") and each.suffix != ".lock":
                shutil.copy(each, folder / each.name)
        if unclean:
            (folder / "box.db-wal").touch()
        return folder / "box.db"

    def waiting(self) -> dict[tuple[str, int], tuple[Item, ...]]:
        """What the cloud has no receipt for: identity and items."""
        return {
            key: each.items
            for key, each in self.messages.items()
            if key[0] != ASTM or each.sequence > self.delivered_through
        }


def make_morning(folder: Path, tubes: int = TUBES) -> Morning:
    number = 0
    with Store(folder / "box.db") as store:
        for tube in range(tubes):
            for link in (ASTM, DECODED):
                number += 1
                _keep(store, link, message_frames(f"{link}{tube:04}"), moment(number))
        store.write(lambda ledger: ledger.deliver(ASTM, tubes // 4, []))
        orders = [
            WorklistEntry(1 + each, f"s{each}", {ASTM: Order(f"s{each}", ("WBC",))}, FLOOR + timedelta(days=30))
            for each in range(20)
        ]
        store.write(lambda ledger: ledger.put_worklist(orders, 0))
        half = message_frames("open")[:2]
        for frame in half:
            store.write(lambda ledger, frame=frame: ledger.keep(ASTM, [frame], moment(number + 1)))  # type: ignore[misc]
        with closing(store.reader()) as reader:
            messages = {
                (link, each.sequence): each
                for link in (ASTM, DECODED)
                for each in reader.between(link, 1, 10**6, 10**6, 10**9)
            }
        epoch = store.epoch
    assert len(messages) == 2 * tubes
    assert all(each.state is MessageState.DECODED and each.items for each in messages.values())
    return Morning(folder, epoch, messages, tubes // 4, half)


def _keep(store: Store, link: str, frames: list[bytes], at: Moment) -> None:
    text = text_of(frames)
    if link == ASTM:
        ids = [each for frame in frames[:-1] for each in _one(store, link, frame, at)]
        store.write(lambda ledger: ledger.keep(link, frames[-1:], at, ids, unread(at, "sysmex_xn", text)))
        return
    reading = Interpreter("sysmex_xn").read(text)
    assert reading.decoded is not None
    content = content_of(reading.decoded)
    draft = Draft(at, reading.driver_id, reading.driver_version, reading.state, content, reading.reason)
    store.write(lambda ledger: ledger.keep(link, frames, at, (), draft))


def _one(store: Store, link: str, frame: bytes, at: Moment) -> tuple[int, ...]:
    frames: tuple[int, ...] = store.write(lambda ledger: ledger.keep(link, [frame], at)).frames
    return frames


def mended(store: Store) -> list[dict[str, int]]:
    """Waits until whatever was damaged has been read; what is said of each damaged file."""
    eventually(lambda: store.mending.checked != "under way", what="the file is checked")
    eventually(lambda: not store.filling, what="the damaged file is read")
    files: list[dict[str, int]] = store.condition()["damage"]["files"]
    return files


def waiting(store: Store) -> dict[tuple[str, int], Message]:
    with closing(store.reader()) as reader:
        return {
            (link, each.sequence): each
            for link in (ASTM, DECODED)
            for each in reader.undelivered(link, 0, 10**6, 10**9)
        }
