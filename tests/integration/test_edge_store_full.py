"""A full disk: what was accepted stays, pruning still works, the bench is refused and taken again by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from edge.clock import FLOOR, Moment
from edge.errors import StoreError, StoreFull
from edge.store import room
from edge.store.ledger import Ledger
from edge.store.rows import unread
from edge.store.store import Store
from tests.support.waiting import eventually

_MB = 2**20
AT = Moment(FLOOR + timedelta(days=1), True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB of the test's own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "xinglin-test", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk needs the right to mount one (root)")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def somebody_fills(disk: Path) -> None:
    with suppress(OSError), (disk / "someone's log").open("wb", buffering=0) as log:
        while log.write(b"x" * 4096):
            pass


class Bench:
    """A store and what it accepted."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.accepted = 0

    def keeps(self, link: str = "xn") -> bool:
        raw = os.urandom(2000)
        try:
            kept = self.store.write(lambda ledger: ledger.keep(link, [raw], AT, (), unread(AT, "sysmex_xn", raw[:500])))
        except StoreFull:
            return False
        self.accepted = kept.sequence
        return True

    def fill(self) -> None:
        while self.keeps():
            assert self.accepted < 100_000, "a disk of 8 MB never became full"

    def undelivered(self) -> list[int]:
        with closing(self.store.reader()) as reader:
            return [each.sequence for each in reader.undelivered("xn", 0, 10**6, 10**9)]

    def look(self) -> None:
        """What the box does every few seconds."""
        self.store.prune(AT, 30, lambda dropped, error: None)
        self.store.write(lambda ledger: None)


@pytest.mark.req("GW-9")
def test_on_a_full_disk_nothing_accepted_is_lost_and_a_receipt_makes_room_again(small_disk: Path) -> None:
    with Store(small_disk / "box.db", max_bytes=64 * _MB, ballast_bytes=_MB) as store:
        bench = Bench(store)
        bench.look()
        assert store.room.ballast_bytes == _MB
        assert (small_disk / "box.db.ballast").stat().st_blocks * 512 >= _MB, "the ballast has holes"
        bench.fill()
        assert store.condition()["refusing"]
        assert not any(bench.keeps() for _ in range(20)), "the ballast's room is for receipts and pruning"
        accepted = bench.accepted
        assert bench.undelivered() == list(range(1, accepted + 1))
        store.write(lambda ledger: ledger.deliver("xn", accepted // 2, []))
        eventually(bench.keeps, what="the bench is taken again")
        assert not store.condition()["refusing"]
        assert store.room.ballast_bytes > 0, "the ballast is there for the next time"
        bench.fill()
        assert bench.accepted > accepted + 100
        assert bench.undelivered() == list(range(accepted // 2 + 1, bench.accepted + 1))
        assert store.room.full_times == 2


@pytest.mark.req("GW-9")
def test_a_disk_that_somebody_else_filled_and_freed_is_noticed(small_disk: Path) -> None:
    with Store(small_disk / "box.db", max_bytes=64 * _MB, ballast_bytes=_MB) as store:
        bench = Bench(store)
        bench.look()
        somebody_fills(small_disk)
        bench.fill()
        accepted = bench.accepted
        (small_disk / "someone's log").unlink()
        eventually(bench.keeps, what="the bench is taken again")
        eventually(lambda: bench.look() or store.room.ballast_bytes == _MB, what="the ballast is whole again")
        assert bench.undelivered() == list(range(1, accepted + 2))


def test_a_box_starts_on_a_full_disk(small_disk: Path) -> None:
    with Store(small_disk / "box.db", max_bytes=64 * _MB, ballast_bytes=_MB) as store:
        bench = Bench(store)
        bench.look()
        bench.keeps()
    somebody_fills(small_disk)
    with Store(small_disk / "box.db", max_bytes=64 * _MB, ballast_bytes=_MB) as store:
        assert Bench(store).undelivered() == [1]
        store.write(lambda ledger: ledger.deliver("xn", 1, []))


@pytest.mark.req("GW-9")
def test_what_has_no_receipt_is_never_dropped_and_warned_of_at_80_and_90_percent(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db", max_bytes=2 * _MB) as store:
        bench = Bench(store)
        warnings = []
        while bench.keeps():
            if bench.accepted % 10 == 0:
                bench.look()
                warnings.append(store.condition()["warning_percent"])
        assert bench.undelivered() == list(range(1, bench.accepted + 1))
        assert warnings == sorted(warnings)
        assert set(warnings) == {0, 80, 90}
        store.write(lambda ledger: ledger.deliver("xn", bench.accepted, []))
        eventually(bench.keeps, what="receiving goes on")
        bench.look()
        assert store.condition()["warning_percent"] == 0


@pytest.mark.req("GW-9")
def test_the_ballast_is_given_up_once_and_made_again_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same walk where no file system can be mounted: the disk's free room is told by the test."""
    free = [100 * _MB]
    monkeypatch.setattr(room.Room.__init__, "__defaults__", (0, lambda path: free[0]))
    with Store(tmp_path / "box.db", max_bytes=4 * _MB, ballast_bytes=_MB) as store:
        bench = Bench(store)
        bench.look()
        assert store.room.ballast_bytes == _MB
        free[0] = 1000
        bench.fill()  # SQLite refuses at the store's own bound; the disk says that it is full
        assert store.room.ballast_bytes == 0
        assert store.condition()["refusing"]
        accepted = bench.accepted
        assert bench.undelivered() == list(range(1, accepted + 1))
        store.write(lambda ledger: ledger.deliver("xn", accepted // 2, []))
        free[0] = 100 * _MB
        eventually(bench.keeps, what="the bench is taken again")
        assert store.room.ballast_bytes == _MB
        assert store.room.full_times == 1


def _kept(store: Store, link: str) -> int:
    with closing(store.reader()) as reader:
        return len(reader.between(link, 1, 10**6, 10**6, 10**9))


def test_every_link_gives_the_same_share_of_what_was_delivered_and_the_oldest_first(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db") as store:
        bench = Bench(store)
        for link, many in (("busy", 400), ("quiet", 40)):
            for _ in range(many):
                bench.keeps(link)
            store.write(lambda ledger, link=link, many=many: ledger.deliver(link, many, []))  # type: ignore[misc]
        prune: Callable[[Ledger], int] = lambda ledger: ledger.prune_delivered(2**62, 110)  # noqa: E731
        dropped = store.write(prune) + store.write(prune)
        assert dropped == pytest.approx(220, abs=4)
        assert _kept(store, "busy") == pytest.approx(200, abs=4)
        assert _kept(store, "quiet") == pytest.approx(20, abs=4)
        with closing(store.reader()) as reader:
            assert reader.between("quiet", 1, 40, 100, 10**9)[-1].sequence == 40
        while store.write(prune):
            pass
        assert (_kept(store, "busy"), _kept(store, "quiet")) == (1, 1), "a link's newest is its position's second copy"


def test_old_delivered_messages_go_in_pieces_and_a_clock_in_doubt_makes_nothing_old(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db") as store:
        bench = Bench(store)
        for _ in range(500):
            bench.keeps()
        store.write(lambda ledger: ledger.deliver("xn", 500, []))
        later = AT.at + timedelta(days=31)
        store.prune(Moment(later, False), 30, lambda dropped, error: None)
        store.write(lambda ledger: None)
        assert _kept(store, "xn") == 500
        store.prune(Moment(later, True), 30, lambda dropped, error: None)
        eventually(lambda: _kept(store, "xn") == 1, what="all that is old is gone")


def test_a_refusal_is_told_in_the_words_of_the_box(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db", max_bytes=_MB) as store:
        bench = Bench(store)
        bench.fill()
        with pytest.raises(StoreError, match="store is full"):
            store.write(lambda ledger: ledger.keep("xn", [b"x" * 20_000], AT))
