"""A clock that is wrong: 1970, ten years ahead, steps; what is believed, and what is put right later."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import FLOOR, Clock, Moment, restore, save
from edge.clock_eras import ClockEras
from edge.store.rows import unread
from edge.store.store import Store

pytestmark = pytest.mark.req("GW-9", "GW-10")
NOW = datetime(2027, 3, 1, 8, 0, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


class Hands:
    """The machine's clocks, moved by the test."""

    def __init__(self, at: datetime = NOW) -> None:
        self.wall_s, self.monotonic_s, self.synchronised = at.timestamp(), 100.0, False

    def pass_(self, time: timedelta) -> None:
        self.wall_s += time.total_seconds()
        self.monotonic_s += time.total_seconds()

    def set(self, at: datetime) -> None:
        self.wall_s = at.timestamp()

    def clock(self, known: datetime | None = None) -> Clock:
        made = Clock(lambda: self.wall_s, monotonic=lambda: self.monotonic_s, synchronised=lambda: self.synchronised)
        if known is not None:
            made.not_before(known)
        return made


def test_a_plausible_clock_is_believed() -> None:
    assert Hands().clock(NOW - DAY).now() == Moment(NOW, True)


@pytest.mark.parametrize(
    "wrong",
    [
        datetime(1970, 1, 1, 0, 3, tzinfo=UTC),
        FLOOR - DAY,
        NOW - 2 * DAY,
        NOW + 3650 * DAY,
    ],
    ids=["1970", "before the release", "before what the store holds", "ten years ahead"],
)
def test_an_impossible_clock_is_used_and_marked_unsure_with_the_reason(wrong: datetime) -> None:
    clock = Hands(wrong).clock(NOW - DAY)
    assert clock.now() == Moment(wrong, False)
    assert clock.doubt


def test_a_new_box_of_which_nothing_is_known_does_not_believe_ten_years_after_its_release() -> None:
    assert not Hands(FLOOR + 3650 * DAY).clock().now().sure
    assert Hands(FLOOR + 300 * DAY).clock().now().sure


def test_rows_of_a_clock_that_was_wrong_do_not_make_the_right_time_unbelievable() -> None:
    clock = Hands().clock(NOW - DAY)
    clock.not_before(NOW + 3650 * DAY)
    assert clock.now().sure


def test_the_cloud_tells_the_time_and_the_box_keeps_it_whatever_the_wall_clock_does() -> None:
    hands = Hands(datetime(1970, 1, 1, tzinfo=UTC))
    clock = hands.clock(NOW - DAY)
    clock.told(NOW)
    assert clock.now() == Moment(NOW, True)
    hands.pass_(MINUTE)
    hands.set(NOW + 400 * DAY)
    assert clock.now() == Moment(NOW + MINUTE, True)
    assert clock.floor == NOW


def test_the_kernels_word_counts_more_than_the_clouds() -> None:
    hands = Hands()
    hands.synchronised = True
    clock = hands.clock()
    clock.told(NOW + DAY)
    assert clock.now() == Moment(NOW, True)


def test_a_clock_that_ntp_puts_right_is_followed_and_believed() -> None:
    hands = Hands(datetime(1970, 1, 1, tzinfo=UTC))
    clock = hands.clock(NOW - DAY)
    assert not clock.now().sure
    hands.set(NOW)
    hands.synchronised = True
    assert clock.now() == Moment(NOW, True)


def test_the_clouds_time_confirms_a_clock_that_is_about_right_without_moving_it() -> None:
    hands = Hands()
    clock = hands.clock(NOW - DAY)
    clock.told(NOW + timedelta(seconds=9))
    assert clock.now() == Moment(NOW, True)
    assert clock.confirmed


def test_a_jump_of_a_believed_clock_is_followed_and_doubted_until_somebody_confirms_it() -> None:
    hands = Hands()
    clock = hands.clock(NOW - DAY)
    assert clock.now().sure
    hands.set(NOW + 5 * DAY)
    assert clock.now() == Moment(NOW + 5 * DAY, False)
    assert "set by +432000 s" in clock.doubt
    clock.told(NOW + 5 * DAY)
    assert clock.now().sure


def test_slewing_is_no_jump() -> None:
    hands = Hands()
    clock = hands.clock(NOW - DAY)
    for _ in range(100):
        hands.pass_(MINUTE)
        hands.wall_s += 1.5
        assert clock.now().sure
    assert clock.now().at == datetime.fromtimestamp(hands.wall_s, UTC)


def test_a_cloud_whose_own_clock_is_in_1970_tells_nothing() -> None:
    clock = Hands().clock(NOW - DAY)
    clock.told(datetime(1970, 1, 1, tzinfo=UTC))
    assert clock.now() == Moment(NOW, True)


@given(st.lists(st.tuples(st.integers(0, 3600), st.integers(-(10**9), 10**9)), max_size=20))
def test_once_the_time_is_known_it_never_goes_back(moves: list[tuple[int, int]]) -> None:
    hands = Hands()
    clock = hands.clock()
    clock.told(NOW + 3 * DAY)
    last = clock.now().at
    for passed, step in moves:
        hands.pass_(timedelta(seconds=passed))
        hands.wall_s = max(0.0, hands.wall_s + step)
        now = clock.now()
        assert now.sure
        assert now.at - last == timedelta(seconds=passed)
        last = now.at


def test_the_time_is_saved_for_the_next_start_unless_it_is_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "box.db.clock"
    unsure = Hands(datetime(1970, 1, 1, tzinfo=UTC)).clock(NOW)
    save(unsure, file)
    assert not file.exists()
    save(Hands().clock(NOW - DAY), file)
    next_start = Hands(datetime(1970, 1, 1, tzinfo=UTC)).clock()
    restore(next_start, file)
    assert not next_start.now().sure
    assert "2027-03-01" in next_start.doubt
    assert next_start.floor == FLOOR, "nobody had confirmed it: certificates are not judged by it"
    known = Hands().clock()
    known.told(NOW)
    save(known, file)
    restore(next_start, file)
    assert next_start.floor == NOW


@pytest.mark.parametrize("text", ["", "[]", '{"at": "nonsense", "confirmed": true}', '{"at": 5}'])
def test_a_saved_time_that_cannot_be_read_is_no_fault(tmp_path: Path, text: str) -> None:
    file = tmp_path / "box.db.clock"
    file.write_text(text)
    clock = Hands().clock()
    restore(clock, file)
    assert clock.now().sure


# ---------------------------------------------------------------------- times that are put right later


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "box.db", max_bytes=10**8)


def receive(store: Store, clock: Clock, link: str = "xn") -> None:
    at = clock.now()
    store.write(lambda ledger: ledger.keep(link, [b"\x02R|1|\x03"], at, (), unread(at, "sysmex_xn", b"R|1|")))


def sent(store: Store, eras: ClockEras, link: str = "xn") -> list[tuple[datetime, bool]]:
    reader = store.reader()
    try:
        epoch = reader.value("epoch")
        found = [eras.corrected(epoch, link, each) for each in reader.between(link, 1, 99, 99, 10**6)]
        return [(each.received_at, each.clock_sure) for each in found]
    finally:
        reader.close()


def test_times_from_before_the_clock_was_put_right_are_sent_as_they_really_were(store: Store) -> None:
    hands = Hands(datetime(1970, 1, 1, tzinfo=UTC))
    clock = hands.clock(NOW - DAY)
    eras = ClockEras(store, clock)
    receive(store, clock)
    hands.pass_(10 * MINUTE)
    receive(store, clock)
    assert [sure for _, sure in sent(store, eras)] == [False, False]
    hands.pass_(MINUTE)
    clock.told(NOW)
    receive(store, clock)
    settled(store)
    assert sent(store, eras) == [(NOW - 11 * MINUTE, True), (NOW - MINUTE, True), (NOW, True)]
    store.close()


def test_a_clock_that_was_set_twice_while_it_was_wrong_is_unravelled(store: Store) -> None:
    hands = Hands(datetime(1970, 1, 1, tzinfo=UTC))
    clock = hands.clock(NOW)
    eras = ClockEras(store, clock)
    receive(store, clock)
    hands.pass_(MINUTE)
    hands.set(datetime(1999, 5, 1, tzinfo=UTC))
    receive(store, clock)
    hands.pass_(MINUTE)
    clock.told(NOW)
    receive(store, clock)
    settled(store)
    assert sent(store, eras) == [(NOW - 2 * MINUTE, True), (NOW - MINUTE, True), (NOW, True)]
    assert [(each.link, each.first, each.last) for each in eras.corrections(store.epoch)] == [
        ("xn", 1, 1),
        ("xn", 2, 2),
    ]
    store.close()


def test_times_of_another_boot_stay_unsure(store: Store) -> None:
    before = Hands(datetime(1970, 1, 1, tzinfo=UTC)).clock(NOW)
    ClockEras(store, before)
    receive(store, before)
    settled(store)
    noted = store.write(
        lambda ledger: ledger.connection.execute("SELECT value FROM box WHERE key = 'clock_eras'").fetchone()
    )
    other = json.dumps([{**each, "boot": "another"} for each in json.loads(noted[0])])
    store.write(lambda ledger: ledger.connection.execute("UPDATE box SET value = ? WHERE key = 'clock_eras'", [other]))
    now = Hands().clock(NOW)
    eras = ClockEras(store, now)
    receive(store, now)
    settled(store)
    assert [sure for _, sure in sent(store, eras)] == [False, True]
    store.close()


def test_a_clock_that_was_always_believed_leaves_nothing_in_the_store(store: Store) -> None:
    clock = Hands().clock(NOW - DAY)
    eras = ClockEras(store, clock)
    receive(store, clock)
    clock.told(NOW)
    settled(store)
    found = store.write(
        lambda ledger: ledger.connection.execute("SELECT 1 FROM box WHERE key = 'clock_eras'").fetchone()
    )
    assert found is None
    assert eras.corrections(store.epoch) == []
    store.close()


def settled(store: Store) -> None:
    """What was asked for before is done."""
    store.write(lambda _ledger: None)
