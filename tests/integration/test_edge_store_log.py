"""A sector of the store's write-ahead log goes bad and the box is killed: SQLite would forget what stands behind it."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.clock import Moment
from edge.store.rows import unread
from edge.store.store import Store
from edge.store.wal import drops_commits
from protocols.model import Item
from tests.bench.edge_process import message_frames
from tests.support.stored_morning import mended, moment, text_of, waiting

LINKS = ("xn", "bs")
TUBES = 5
_HEADER, _FRAME, _PAGE = 32, 24, 4096
_STRIDE = _FRAME + _PAGE
_BALLAST = 16 * 2**20
"""With room for it the log is copied back after a thousand pages, not after a few."""


@dataclass
class Killed:
    """What lies on the disk of a box that was killed: the file and its log."""

    folder: Path
    items: dict[str, list[tuple[Item, ...]]]
    epoch: str
    last_commit: int
    """Frames of the log before the last transaction."""

    @property
    def frames(self) -> int:
        return ((self.folder / "box.db-wal").stat().st_size - _HEADER) // _STRIDE

    def copy(self, folder: Path) -> Path:
        shutil.copytree(self.folder, folder)
        return folder / "box.db"


def frames_of_log(store: Path) -> int:
    return (store.with_name("box.db-wal").stat().st_size - _HEADER) // _STRIDE


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Each frame and each message was a transaction of its own, as with one slow analyzer."""
    live, left = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("killed") / "box"
    before_last = 0
    with Store(live / "box.db", ballast_bytes=_BALLAST) as store:
        for number in range(TUBES):
            for link in LINKS:
                before_last = one_message(store, link, message_frames(f"{link}{number:04}"), moment(number))
        left.mkdir()
        for name in ("box.db", "box.db-wal"):
            shutil.copy(live / name, left / name)
        return Killed(left, kept(store), store.epoch, before_last)


def one_message(store: Store, link: str, frames: list[bytes], at: Moment) -> int:
    """How long the log was before its last transaction."""
    ids: tuple[int, ...] = ()
    for each in frames[:-1]:
        ids += store.write(lambda ledger, raw=each: ledger.keep(link, [raw], at)).frames  # type: ignore[misc]
    before = frames_of_log(store.path)
    draft = unread(at, "sysmex_xn", text_of(frames))
    store.write(lambda ledger: ledger.keep(link, frames[-1:], at, ids, draft))
    return before


def spoil(log: Path, at: int, size: int = 512) -> None:
    """A sector of noise."""
    with log.open("r+b") as file:
        file.seek(at)
        file.write(random.Random(at).randbytes(size))


def kept(store: Store) -> dict[str, list[tuple[Item, ...]]]:
    """What each link's messages say, in their order, that wait for the cloud."""
    found = sorted(waiting(store).items(), key=lambda each: each[0])
    return {link: [each.items for (name, _), each in found if name == link] for link in LINKS}


@pytest.mark.req("GW-9")
def test_sqlite_itself_forgets_what_is_behind_a_bad_sector_of_the_log(killed: Killed, tmp_path: Path) -> None:
    """Why all this is there."""
    path = killed.copy(tmp_path / "box")
    spoil(path.with_name("box.db-wal"), _HEADER + 40 * _STRIDE + 1000)
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("SELECT count(*) FROM outbox").fetchone()[0] < TUBES * len(LINKS)
        assert plain.execute("PRAGMA integrity_check").fetchone()[0] == "ok", "and finds nothing wrong"


@pytest.mark.req("GW-9")
def test_whichever_sector_of_the_log_is_bad_no_acknowledged_message_is_lost(killed: Killed, tmp_path: Path) -> None:
    """Up to the last transaction, which cannot be told from one that the power cut."""
    drew_an_epoch = 0
    places = [0, *(_HEADER + number * _STRIDE + (0, 700)[number % 2] for number in range(3, killed.last_commit, 7))]
    for at in places:
        path = killed.copy(tmp_path / str(at))
        spoil(path.with_name("box.db-wal"), at)
        with Store(path, check_after_s=0) as store:
            [said] = mended(store)
            assert kept(store) == killed.items, at
            assert said["lost"] == 0, at
            drew_an_epoch += store.epoch != killed.epoch
            number = store.write(
                lambda ledger: ledger.keep("xn", [b"new"], moment(99), (), unread(moment(99), "x", b""))
            )
            assert number.sequence == TUBES + 1, at
    assert drew_an_epoch < len(places) // 4, "identities stay where anything tells them"


@pytest.mark.req("GW-9")
def test_a_transaction_that_the_power_cut_in_the_middle_is_no_damage(killed: Killed, tmp_path: Path) -> None:
    """Nobody was told that it is kept, and after each power cut a file set aside would be one too many."""
    for number in range(killed.last_commit, killed.frames):
        path = killed.copy(tmp_path / str(number))
        spoil(path.with_name("box.db-wal"), _HEADER + number * _STRIDE + 100)
        assert not drops_commits(path)
        with Store(path, check_after_s=0) as store:
            assert not store.condition()["damage"]["files"]
            assert store.epoch == killed.epoch
            found = kept(store)
            assert found["xn"] == killed.items["xn"]
            assert found["bs"] == killed.items["bs"][:-1], "only what had not ended"


def test_a_sound_log_and_no_log_are_left_alone(killed: Killed, tmp_path: Path) -> None:
    path = killed.copy(tmp_path / "sound")
    assert not drops_commits(path)
    with Store(path) as store:
        assert kept(store) == killed.items
    assert not drops_commits(path)
    assert not drops_commits(tmp_path / "nothing.db")
