"""The box's store: identities, receipts, refusals, pruning, worklist."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.clock import Moment
from edge.errors import StoreBusy, StoreFull
from edge.store.ledger import Ledger
from edge.store.rows import Draft, Kept, content_of, unread
from edge.store.schema import VERSION, connect
from edge.store.store import Store
from protocols.model import Decoded, Observation, Order
from protocols.uplink.envelope import MessageState, WorklistEntry

NOW = Moment(datetime(2026, 11, 23, 8, tzinfo=UTC), True)
CONTENT = content_of(Decoded((Observation("2601", "WBC", "6.5", "10*9/L"),), sender="XN-10"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "box.db") as opened:
        yield opened


def draft(at: Moment = NOW) -> Draft:
    return Draft(at, "sysmex_xn", "1", MessageState.DECODED, CONTENT)


def keep(store: Store, link: str, *raws: bytes, at: Moment = NOW, message: bool = True) -> Kept:
    kept: Kept = store.write(lambda ledger: ledger.keep(link, raws, at, (), draft(at) if message else None))
    return kept


def deliver(store: Store, link: str, through: int, *also: int) -> None:
    store.write(lambda ledger: ledger.deliver(link, through, also))


def sequences(store: Store, link: str) -> list[int]:
    reader = store.reader()
    try:
        return [each.sequence for each in reader.undelivered(link, 0, 1000, 10**9)]
    finally:
        reader.close()


@pytest.mark.req("GW-9")
def test_a_message_holds_the_bytes_of_all_its_frames_in_their_order(store: Store) -> None:
    first = keep(store, "xn", b"one", message=False).frames
    other = keep(store, "bs", b"between")
    second = keep(store, "xn", b"two", message=False).frames
    kept = store.write(lambda ledger: ledger.keep("xn", [b"three"], NOW, (*first, *second), draft()))
    reader = store.reader()
    [message] = reader.undelivered("xn", 0, 10, 10**6)
    assert message.raw == b"onetwothree"
    assert message.items == (Observation("2601", "WBC", "6.5", "10*9/L"),)
    assert (kept.sequence, other.sequence) == (1, 1)
    reader.close()


@pytest.mark.req("GW-9")
def test_sequences_have_no_gap_on_each_link_even_where_the_store_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db") as store:
        keep(store, "xn", b"a")
        with pytest.raises(StoreBusy):
            store.write(_fails_after_taking_a_sequence)
        keep(store, "xn", b"b")
        keep(store, "bs", b"c")
        assert sequences(store, "xn") == [1, 2]
        assert sequences(store, "bs") == [1]


def _fails_after_taking_a_sequence(ledger: Ledger) -> None:
    ledger.keep("xn", [b"lost"], NOW, (), draft())
    raise ValueError("a fault of ours")


def test_one_piece_of_work_that_fails_does_not_take_its_group_with_it(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db") as store:
        answers: list[tuple[str, object]] = []
        begun, go_on = threading.Event(), threading.Event()
        store.submit(lambda ledger: (begun.set(), go_on.wait(10)), lambda value, error: None)
        assert begun.wait(10), "the writer is at work: what is asked for now is one group"
        for name, work in (
            ("first", lambda ledger: ledger.keep("xn", [b"a"], NOW, (), draft())),
            ("bad", _fails_after_taking_a_sequence),
            ("last", lambda ledger: ledger.keep("xn", [b"b"], NOW, (), draft())),
        ):
            store.submit(work, lambda value, error, name=name: answers.append((name, error or value)))  # type: ignore[misc]
        go_on.set()
        store.write(lambda ledger: None)
        assert [name for name, _ in answers] == ["first", "bad", "last"]
        assert isinstance(answers[1][1], StoreBusy)
        assert sequences(store, "xn") == [1, 2]


@pytest.mark.req("GW-9")
def test_identities_go_on_after_the_box_was_closed_and_everything_was_pruned(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db") as store:
        epoch = store.epoch
        kept = keep(store, "xn", b"a")
        deliver(store, "xn", 1)
        store.write(lambda ledger: ledger.prune_delivered(2**62, 100))
    with Store(tmp_path / "box.db") as store:
        again = keep(store, "xn", b"b")
        assert store.epoch == epoch
        assert again.sequence == 2
        assert again.frames[0] > kept.frames[0]


def test_a_new_store_draws_a_new_epoch(tmp_path: Path) -> None:
    with Store(tmp_path / "one.db") as one, Store(tmp_path / "two.db") as two:
        assert one.epoch != two.epoch


@pytest.mark.req("GW-9")
def test_only_a_receipt_makes_a_message_delivered_and_only_delivered_ones_are_pruned(store: Store) -> None:
    for raw in (b"a", b"b", b"c", b"d"):
        keep(store, "xn", raw)
    deliver(store, "xn", 1, 3)
    assert sequences(store, "xn") == [2, 4]
    dropped = store.write(lambda ledger: ledger.prune_delivered(2**62, 100))
    assert dropped == 1
    assert sequences(store, "xn") == [2, 4]


@pytest.mark.req("GW-9")
def test_a_receipt_for_more_than_was_ever_sent_covers_nothing_and_draws_a_new_epoch(store: Store) -> None:
    """The file is an old copy: what the receipt means are other messages under the same numbers."""
    epoch = store.epoch
    for raw in (b"a", b"b", b"c"):
        keep(store, "xn", raw)
    deliver(store, "xn", 2)
    keep(store, "bs", b"of another link")
    deliver(store, "xn", 99)
    keep(store, "xn", b"d")
    assert store.epoch != epoch
    reader = store.reader()
    batch = reader.batch("xn", 0, 10, 10**6)
    assert [(each.sequence, each.raw) for each in batch.messages] == [(1, b"c"), (2, b"d")]
    assert batch.epoch == store.epoch
    assert reader.between("xn", 1, 100, 10, 10**6) == batch.messages
    reader.close()
    assert sequences(store, "bs") == [1]
    deliver(store, "xn", 2)
    assert sequences(store, "xn") == []


def test_delivered_messages_stay_for_their_time(store: Store) -> None:
    old = Moment(NOW.at - timedelta(days=31), True)
    keep(store, "xn", b"old", at=old)
    keep(store, "xn", b"young")
    deliver(store, "xn", 2)
    before = NOW.microseconds - 30 * 86_400_000_000
    assert store.write(lambda ledger: ledger.prune_delivered(before, 100)) == 1


def fill(store: Store, raw: bytes) -> int:
    """How many messages fit before the store refuses."""
    for kept in range(1000):
        try:
            keep(store, "xn", raw)
        except StoreFull:
            return kept
    raise AssertionError("a store of one megabyte took 1,000 large messages")


@pytest.mark.req("GW-9")
def test_a_full_store_refuses_keeps_what_it_has_and_works_again_after_pruning(tmp_path: Path) -> None:
    big = b"x" * 40_000
    with Store(tmp_path / "box.db", max_bytes=1024 * 1024) as store:
        kept = fill(store, big)
        assert sequences(store, "xn") == list(range(1, kept + 1))
        deliver(store, "xn", kept // 2)
        assert store.write(lambda ledger: ledger.prune_delivered(2**62, 100)) == kept // 2
        assert keep(store, "xn", big).sequence == kept + 1


def test_near_its_bound_the_store_drops_delivered_messages_of_any_age(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db", max_bytes=1024 * 1024) as store:
        for _ in range(24):
            keep(store, "xn", b"x" * 40_000)
        deliver(store, "xn", 20)
        dropped: list[int | None] = []
        store.prune(NOW, 30, lambda value, _error: dropped.append(value))
        store.write(lambda ledger: None)
        assert dropped == [20]
        assert sequences(store, "xn") == [21, 22, 23, 24]


def test_two_daemons_cannot_share_a_store(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db"), pytest.raises(StoreBusy, match="another process"):
        Store(tmp_path / "box.db")


def test_a_store_in_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreBusy, match="folder"):
        Store(tmp_path / "none" / "box.db")


def test_open_frames_are_found_after_a_stop_and_closed_ones_are_not(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db") as store:
        keep(store, "idle", b"first of a message", message=False)
        for _ in range(3):
            keep(store, "xn", b"whole")
        keep(store, "xn", b"open", message=False)
    with Store(tmp_path / "box.db") as store:
        reader = store.reader()
        found = {link: [each.raw for each in frames] for link, frames in reader.open_frames().items()}
        reader.close()
    assert found == {"idle": [b"first of a message"], "xn": [b"open"]}


@pytest.mark.req("GW-9")
def test_a_flipped_bit_in_a_stored_message_is_noticed(store: Store, tmp_path: Path) -> None:
    keep(store, "xn", b"raw bytes")
    keep(store, "xn", b"more bytes")
    with sqlite3.connect(tmp_path / "box.db") as direct:
        direct.execute("UPDATE outbox SET content = replace(content, '6.5', '7.5') WHERE sequence = 1")
        direct.execute("UPDATE journal SET raw = CAST('more bytez' AS BLOB) WHERE id = 2")
    direct.close()
    reader = store.reader()
    first, second = reader.undelivered("xn", 0, 10, 10**6)
    reader.close()
    assert first.state is MessageState.UNDECODED
    assert first.raw == b"raw bytes"
    assert not first.items
    assert second.reason is not None
    assert "damaged" in second.reason


def entry(revision: int, specimen: str, *codes: str, hours: int = 24) -> WorklistEntry:
    orders = {"xn": Order(specimen, codes)} if codes else {}
    return WorklistEntry(revision, specimen, orders, NOW.at + timedelta(hours=hours))


def put(store: Store, *entries: WorklistEntry, after: int | None = None) -> int:
    revision: int = store.write(lambda ledger: ledger.put_worklist(entries, after))
    return revision


def ordered(store: Store, specimen: str, at: Moment = NOW) -> list[tuple[str, ...]]:
    reader = store.reader()
    try:
        return [each.codes for each in reader.orders("xn", [specimen], at)[specimen]]
    finally:
        reader.close()


@pytest.mark.req("GW-7")
def test_a_later_change_of_a_specimen_replaces_and_a_cancellation_removes(store: Store) -> None:
    assert put(store, entry(1, "2601", "WBC"), entry(2, "2602", "HGB")) == 2
    assert put(store, entry(3, "2601", "WBC", "PLT"), entry(4, "2602")) == 4
    assert ordered(store, "2601") == [("WBC", "PLT")]
    assert ordered(store, "2602") == []


def test_an_old_change_that_comes_again_changes_nothing(store: Store) -> None:
    put(store, entry(1, "2601", "WBC"), entry(2, "2601", "PLT"))
    assert put(store, entry(1, "2601", "WBC")) == 2
    assert ordered(store, "2601") == [("PLT",)]


def test_a_hole_in_the_revisions_stops_the_worklist_there(store: Store) -> None:
    assert put(store, entry(1, "2601", "WBC"), entry(3, "2603", "WBC")) == 1
    assert ordered(store, "2603") == []
    assert put(store, entry(3, "2603", "WBC"), after=2) == 1  # complete from 2, and we stand at 1
    assert put(store, entry(3, "2603", "WBC"), after=1) == 3


def test_an_expired_order_is_not_given_out_unless_the_clock_is_in_doubt(store: Store) -> None:
    put(store, entry(1, "2601", "WBC", hours=1))
    later = NOW.at + timedelta(hours=2)
    assert ordered(store, "2601", Moment(later, True)) == []
    assert ordered(store, "2601", Moment(later, False)) == [("WBC",)]


def test_the_settings_that_the_promise_rests_on_are_really_set(store: Store, tmp_path: Path) -> None:
    connection = connect(tmp_path / "box.db")
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert connection.execute("PRAGMA user_version").fetchone()[0] == VERSION
    connection.close()


def test_a_store_of_a_newer_version_is_still_opened(tmp_path: Path) -> None:
    with Store(tmp_path / "box.db") as store:
        keep(store, "xn", b"a")
    with sqlite3.connect(tmp_path / "box.db") as newer:
        for table in ("outbox", "journal", "worklist", "link"):
            newer.execute(f"ALTER TABLE {table} ADD COLUMN hint TEXT")
        newer.execute("CREATE TABLE line_capture (id INTEGER PRIMARY KEY)")
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    with Store(tmp_path / "box.db") as store:
        assert keep(store, "xn", b"b").sequence == 2
        assert sequences(store, "xn") == [1, 2]
        assert put(store, entry(1, "2601", "WBC")) == 1


def test_a_refused_frame_never_lends_its_journal_id_to_a_frame_of_another_link(tmp_path: Path) -> None:
    refused: list[int] = []

    def fails(ledger: Ledger) -> None:
        refused.extend(ledger.keep("xn", [b"refused"], NOW).frames)
        raise ValueError("no room")

    with Store(tmp_path / "box.db") as store:
        with pytest.raises(StoreBusy):
            store.write(fails)
        other = keep(store, "bs", b"of another patient", message=False).frames
        assert not set(refused) & set(other)
        assert store.write(lambda ledger: [each for each in refused if ledger.is_open(each)]) == []


@pytest.mark.req("GW-9")
@pytest.mark.parametrize(("column", "damage"), [("frames", "[1"), ("frames", '{"1":2}'), ("state", "decodee")])
def test_a_message_damaged_beyond_reading_stops_no_other(
    store: Store, tmp_path: Path, column: str, damage: str
) -> None:
    keep(store, "xn", b"raw bytes")
    keep(store, "xn", b"more bytes")
    with sqlite3.connect(tmp_path / "box.db") as direct:
        direct.execute(f"UPDATE outbox SET {column} = ? WHERE sequence = 1", [damage])
    direct.close()
    reader = store.reader()
    first, second = reader.undelivered("xn", 0, 10, 10**6)
    reader.close()
    assert (first.sequence, first.state, first.items) == (1, MessageState.UNDECODED, ())
    assert first.reason is not None
    assert (second.state, second.raw) == (MessageState.DECODED, b"more bytes")
    deliver(store, "xn", 2)
    assert store.write(lambda ledger: ledger.prune_delivered(2**62, 100)) == 1, "the newest of a link stays"


async def _ask(store: Store, work: Callable[[Ledger], object]) -> object:
    answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    store.submit(work, lambda value, error: answered.set_result(error or value))
    return await answered


@pytest.mark.req("GW-1", "GW-9")
def test_a_disk_that_is_slow_is_waited_for_outside_the_loop_and_the_order_stays(tmp_path: Path) -> None:
    async def bench() -> tuple[list[bool], list[int]]:
        loop = asyncio.get_running_loop()
        order: list[int] = []
        modes: list[bool] = []
        with Store(tmp_path / "box.db", loop=loop) as store:
            for number in range(40):
                slow = 10 <= number < 20
                store.submit(
                    lambda ledger, slow=slow: time.sleep(0.02) if slow else None,  # type: ignore[misc]
                    lambda value, error, number=number: order.append(number),  # type: ignore[misc]
                )
                if number % 3 == 0:
                    await _ask(store, lambda ledger: None)
                    modes.append(store.writer.in_loop)
            for _ in range(200):
                await _ask(store, lambda ledger: None)
            modes.append(store.writer.in_loop)
        return modes, order

    modes, order = asyncio.run(bench())
    assert modes[0], "a quick disk is written to by the loop itself"
    assert False in modes, "a slow one is not"
    assert modes[-1], "and it may become quick again"
    assert order == list(range(40))


@pytest.mark.req("GW-1", "GW-9")
def test_somebody_elses_lock_on_the_file_does_not_hold_the_loop(tmp_path: Path) -> None:
    async def bench() -> tuple[int, object]:
        with Store(tmp_path / "box.db", loop=asyncio.get_running_loop()) as store:
            other = connect(tmp_path / "box.db")
            other.execute("BEGIN IMMEDIATE")
            asked = asyncio.ensure_future(_ask(store, lambda ledger: "kept"))
            turns = 0
            while turns < 50:  # the loop turns although the file is locked
                await asyncio.sleep(0.001)
                assert not asked.done()
                turns += 1
            other.execute("ROLLBACK")
            other.close()
            return turns, await asked

    assert asyncio.run(bench()) == (50, "kept")


def _unread(store: Store, payload: bytes, driver: str = "sysmex_xn") -> None:
    store.write(lambda ledger: ledger.keep("xn", [b"frame"], NOW, (), unread(NOW, driver, payload)))


_RESULT = b"H|\\^&|||XN-10^00-25^11001\rP|1\rO|1||1^1^2601^B|^^^^WBC\rR|1|^^^^WBC^1|6.52|10*3/uL||N||F\rL|1|N\r"


@pytest.mark.req("GW-9", "GW-12")
def test_a_message_kept_unread_is_decoded_when_it_is_sent(store: Store) -> None:
    _unread(store, _RESULT)
    _unread(store, b"nonsense")
    _unread(store, _RESULT, "driver_of_a_newer_release")
    reader = store.reader()
    first, second, third = reader.undelivered("xn", 0, 10, 10**6)
    reader.close()
    assert first.state is MessageState.DECODED
    assert [(each.code, each.value) for each in first.items if isinstance(each, Observation)] == [("WBC", "6.52")]
    assert first.driver_version
    assert second.state is MessageState.UNDECODED
    assert second.raw == b"frame"
    assert third.driver == "sysmex_xn", "recognised, where its driver is not known here"


@pytest.mark.req("GW-9")
def test_a_flipped_bit_in_an_unread_message_is_noticed(store: Store, tmp_path: Path) -> None:
    _unread(store, _RESULT)
    with sqlite3.connect(tmp_path / "box.db") as direct:
        damaged = _RESULT.replace(b"6.52", b"7.52")
        direct.execute("UPDATE outbox SET payload = ?", [damaged])
    direct.close()
    reader = store.reader()
    [message] = reader.undelivered("xn", 0, 10, 10**6)
    reader.close()
    assert message.state is MessageState.UNDECODED
    assert not message.items
    assert "damaged" in (message.reason or "")


@pytest.mark.req("GW-10")
def test_a_release_that_knows_no_unread_messages_sends_them_as_undecoded(store: Store, tmp_path: Path) -> None:
    """N-1 reads the columns it knows: never a decoded message without results."""
    _unread(store, _RESULT)
    with sqlite3.connect(tmp_path / "box.db") as direct:
        assert direct.execute("SELECT state, content FROM outbox").fetchall() == [("undecoded", '{"items":[]}')]
    direct.close()
