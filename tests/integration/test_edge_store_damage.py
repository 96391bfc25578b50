"""A page of the store's file goes bad: nothing that has a sound copy is lost, the links stay open, nobody helps."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.store import aside
from edge.store.pages import DamagedFile
from edge.store.rows import unread
from edge.store.salvage import Salvage, Stopped
from edge.store.schema import connect
from edge.store.store import Store
from protocols.uplink.envelope import MessageState
from tests.bench.edge_process import message_frames
from tests.support.stored_morning import ASTM, DECODED, TUBES, Morning, make_morning, mended, moment, text_of, waiting
from tests.support.waiting import eventually

_PAGE = 4096


@pytest.fixture(scope="module")
def morning(tmp_path_factory: pytest.TempPathFactory) -> Morning:
    return make_morning(tmp_path_factory.mktemp("morning"))


def spoil(path: Path, *pages: int, seed: int = 7) -> None:
    pick = random.Random(seed)
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * _PAGE)
            file.write(pick.randbytes(_PAGE))


def page_of_open_frames(path: Path, frames: list[bytes]) -> int:
    """They are the one thing of which there is no second copy."""
    with DamagedFile(path) as pages:
        return next(n for n in range(1, pages.page_count + 1) if any(frames[0] in row.values for row in pages.rows(n)))


def is_sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as plain:
        return bool(plain.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


@pytest.mark.req("GW-9", "GW-12")
@pytest.mark.parametrize("unclean", [True, False], ids=["after a crash", "met while reading"])
def test_whichever_page_of_the_file_is_bad_every_message_goes_to_the_cloud(
    morning: Morning, tmp_path: Path, unclean: bool
) -> None:
    replaced = 0
    alone = page_of_open_frames(morning.path, morning.open_frames)
    for page in range(1, morning.pages + 1):
        path = morning.copy(tmp_path / str(page), unclean=unclean)
        spoil(path, page)
        with Store(path, check_after_s=0) as store:
            with closing(store.reader()) as reader:
                open_frames = [each.raw for frames in reader.open_frames().values() for each in frames]
            kept = store.write(
                lambda ledger: ledger.keep(ASTM, [b"new"], moment(9999), (), unread(moment(9999), "x", b""))
            )
            waiting(store)
            files = mended(store)
            found = waiting(store)
            assert store.epoch == morning.epoch, page
            assert kept.sequence == TUBES + 1, page
            same = {key: each.items for key, each in found.items() if key in morning.messages}
            assert same == morning.waiting(), page
            if page != alone:
                late = [each for key, each in found.items() if key not in morning.messages and each.raw != b"new"]
                assert open_frames == morning.open_frames or late[0].raw == b"".join(morning.open_frames), page
        assert all(each["lost"] == 0 for each in files), page
        assert all((path.parent / str(each["file"])).exists() for each in files), "the damaged file is kept"
        if unclean:
            assert is_sound(path), page
        replaced += bool(files)
    assert replaced > morning.pages // 2, "hardly any bad page was noticed"


@pytest.mark.req("GW-9")
def test_where_both_copies_of_a_message_are_gone_its_number_goes_to_the_cloud_with_the_reason(
    morning: Morning, tmp_path: Path
) -> None:
    """Several bad pages at once: what is not whole any more is counted, in its place, and the rest is there."""
    counted = 0
    for seed in range(12):
        pick = random.Random(seed)
        path = morning.copy(tmp_path / str(seed), unclean=True)
        spoil(path, *pick.sample(range(14, morning.pages + 1), 6), seed=seed)
        with Store(path, check_after_s=0) as store:
            waiting(store)
            files = mended(store)
            found = waiting(store)
            assert store.epoch == morning.epoch
            hurt = 0
            for link in (ASTM, DECODED):
                sent = [items for key, items in morning.waiting().items() if key[0] == link]
                come = [each.items for key, each in found.items() if key[0] == link and each.items]
                assert [each for each in sent if each in come] == come, "each at most once, whole and in their order"
                numbers = [key[1] for key in found if key[0] == link]
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "the cloud waits for no number"
                assert len(numbers) >= len(sent)
                hurt += len(sent) - len(come)
            assert all(each.reason for each in found.values() if not each.items)
            lost = sum(int(each["lost"]) for each in files)
            assert hurt - 3 <= lost <= hurt  # some frames of a message may be left of it
            counted += lost
    assert counted, "no message had both its copies on bad pages"


@pytest.mark.req("GW-9")
def test_a_page_that_goes_bad_while_the_links_are_open_stops_none_of_them(morning: Morning, tmp_path: Path) -> None:
    """An analyzer is in the middle of a message when it is noticed: its message is whole all the same."""
    path = morning.copy(tmp_path / "box")
    frames = message_frames("live")
    with Store(path) as store, closing(store.reader()) as reader:
        first = store.write(lambda ledger: ledger.keep(DECODED, frames[:3], moment(9000))).frames
        with closing(sqlite3.connect(path)) as plain:
            [(root,)] = plain.execute("SELECT rootpage FROM sqlite_master WHERE name = 'outbox'")
            plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spoil(path, root, *range(20, 30))
        reader.undelivered(DECODED, 0, 10**6, 10**9)  # notices it, and goes on with the new file
        assert store.generation == 1
        draft = unread(moment(9001), "sysmex_xn", text_of(frames))
        kept = store.write(lambda ledger: ledger.keep(DECODED, frames[3:], moment(9001), first, draft))
        mended(store)
        found = reader.undelivered(DECODED, 0, 10**6, 10**9)
        assert [each.sequence for each in found] == list(range(1, TUBES + 2))
        assert kept.sequence == TUBES + 1
        assert found[-1].raw == b"".join(frames)
        assert [each.codes for each in reader.orders(ASTM, ["s1"], moment(1))["s1"]] == [("WBC",)]


@pytest.mark.req("GW-9")
def test_a_write_that_meets_the_damage_is_kept_in_the_new_file(morning: Morning, tmp_path: Path) -> None:
    path = morning.copy(tmp_path / "box")
    with Store(path) as store:
        with closing(sqlite3.connect(path)) as plain:
            roots = [root for (root,) in plain.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'outbox'")]
        spoil(path, *roots)
        frames = message_frames("last")
        draft = unread(moment(9001), "sysmex_xn", text_of(frames))
        kept = store.write(lambda ledger: ledger.keep(DECODED, frames, moment(9001), (), draft))
        assert kept.sequence == TUBES + 1
        assert store.generation == 1
        mended(store)
        assert {key: each.items for key, each in waiting(store).items() if key in morning.messages} == morning.waiting()


@pytest.mark.req("GW-9")
def test_a_link_with_nothing_in_the_damaged_file_sends_at_once_and_the_others_in_their_order(
    morning: Morning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = morning.copy(tmp_path / "box", unclean=True)
    spoil(path, 5)
    monkeypatch.setattr("edge.store.salvage.Salvage.run", _waits_for_the_stop)
    with Store(path, check_after_s=0) as store:
        for link in ("new", ASTM):
            store.write(
                lambda ledger, link=link: ledger.keep(link, [b"x"], moment(1), (), unread(moment(1), "x", b"x"))
            )  # type: ignore[misc]
        eventually(lambda: store.mending.checked == "damaged" or store.filling, what="the damage is noticed")
        with closing(store.reader()) as reader:
            held = [len(reader.undelivered(link, 0, 10, 10**6)) for link in ("new", ASTM)]
    monkeypatch.undo()
    assert held == [1, 0]
    with Store(path) as store:  # the next start goes on where the last one was stopped
        mended(store)
        found = waiting(store)
        numbers = [key[1] for key in found if key[0] == ASTM]
        assert numbers == list(range(morning.delivered_through + 1, TUBES + 3)), "the last is what had not ended"
        assert {key: each.items for key, each in found.items() if key in morning.messages} == morning.waiting()


def _waits_for_the_stop(salvage: Salvage) -> None:
    salvage._stop.wait()
    raise Stopped


class _PowerCut(BaseException):
    pass


@pytest.mark.req("GW-9")
def test_a_stop_at_any_step_of_setting_a_damaged_file_aside_loses_nothing(
    morning: Morning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    while True:
        path = morning.copy(tmp_path / str(steps))
        with closing(connect(path)) as log:  # something stands in the log alone
            log.execute("UPDATE box SET value = value")
            spoil(path, 5)
            left = [steps]

            def perhaps(act: Callable[..., Any], left: list[int] = left) -> Callable[..., Any]:
                def step(*arguments: Any, **named: Any) -> Any:
                    left[0] -= 1
                    if left[0] < 0:
                        raise _PowerCut
                    return act(*arguments, **named)

                return step

            with monkeypatch.context() as patch:
                patch.setattr(aside.os, "link", perhaps(os.link))
                patch.setattr(aside, "_sync", perhaps(aside._sync))
                patch.setattr(aside, "_make", perhaps(aside._make))
                patch.setattr(Path, "unlink", perhaps(Path.unlink))
                patch.setattr(Path, "replace", perhaps(Path.replace))
                try:
                    aside.set_aside(path, None, 2**40)
                    finished = True
                except _PowerCut:
                    finished = False
            with Store(path, check_after_s=0) as store:
                waiting(store)
                mended(store)
                found = {key: each.items for key, each in waiting(store).items() if key in morning.messages}
                assert found == morning.waiting(), steps
                assert store.epoch == morning.epoch
        if finished:
            break
        steps += 1
    assert steps > 8


@pytest.mark.req("GW-9", "GW-12")
@pytest.mark.parametrize(
    ("link", "table", "column"),
    [
        (ASTM, "outbox", "payload"),
        (DECODED, "outbox", "content"),
        (ASTM, "outbox", "content"),
        (ASTM, "journal", "raw"),
    ],
)
def test_a_flipped_bit_in_a_row_is_noticed_and_the_other_copy_serves(
    morning: Morning, tmp_path: Path, link: str, table: str, column: str
) -> None:
    """In every row of the column, at a place of its own."""
    path = morning.copy(tmp_path / "box")
    pick = random.Random(5)
    with closing(sqlite3.connect(path, isolation_level=None)) as plain:
        rows = plain.execute(f"SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL").fetchall()
        for id_, value in rows:
            damaged = bytearray(value.encode() if isinstance(value, str) else value)
            damaged[pick.randrange(len(damaged))] ^= 1 << pick.randrange(5)
            kind = "TEXT" if isinstance(value, str) else "BLOB"
            plain.execute(f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE id = ?", [bytes(damaged), id_])
    with Store(path) as store:
        found = waiting(store)
    for key, items in morning.waiting().items():
        if key[0] == link:
            assert found[key].items == items, key
            assert found[key].state is MessageState.DECODED
            assert "damaged" in str(found[key].reason)


def test_a_list_of_frames_that_points_at_another_message_gives_no_result_of_it(
    morning: Morning, tmp_path: Path
) -> None:
    path = morning.copy(tmp_path / "box")
    with closing(sqlite3.connect(path, isolation_level=None)) as plain:
        [(others,)] = plain.execute("SELECT frames FROM outbox WHERE sequence = 10 AND payload IS NOT NULL")
        plain.execute("UPDATE outbox SET frames = ? WHERE sequence = 11 AND payload IS NOT NULL", [others])
    with Store(path) as store:
        message = waiting(store)[ASTM, 11]
    assert message.state is MessageState.UNDECODED
    assert message.items == ()


def test_a_file_that_is_no_database_at_all_is_replaced_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "box.db"
    path.write_bytes(random.Random(1).randbytes(40 * _PAGE))
    with Store(path) as store:
        kept = store.write(lambda ledger: ledger.keep(ASTM, [b"x"], moment(1), (), unread(moment(1), "x", b"x")))
        assert kept.sequence == 1
        [said] = mended(store)
    assert (tmp_path / str(said["file"])).stat().st_size == 40 * _PAGE


@pytest.mark.req("GW-9")
def test_where_nobody_knows_how_far_a_link_had_come_a_new_epoch_is_drawn(morning: Morning, tmp_path: Path) -> None:
    """The small tables, the indexes and the side file are all gone: what was kept goes out under new numbers."""
    path = morning.copy(tmp_path / "box")
    (path.parent / "box.db.positions").unlink()
    spoil(path, 1, 3, 4)
    with Store(path) as store:
        mended(store)
        assert store.epoch != morning.epoch
