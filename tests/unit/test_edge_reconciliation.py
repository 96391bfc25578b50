"""What the box says of what it holds: everything within a day, what is new every hour, damage and pruning named."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import reconciliation
from edge.clock import Clock, Moment
from edge.reconciliation import Reconciliation
from edge.store.rows import unread
from edge.store.store import Store
from protocols.uplink.counts import CountRequest, Counts, RangeCount, digest_of, split

pytestmark = pytest.mark.req("GW-10")
AT = Moment(datetime(2026, 11, 23, tzinfo=UTC), True)
HOUR = 3600.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "box.db", max_bytes=10**8) as made:
        yield made


def raw(number: int) -> bytes:
    return b"\x02R|%d|\x03" % number


def receive(store: Store, first: int, last: int, link: str = "xn") -> None:
    for number in range(first, last + 1):
        store.write(
            lambda ledger, number=number: ledger.keep(link, [raw(number)], AT, (), unread(AT, "sysmex_xn", b"R|"))
        )


def confirm(store: Store, through: int, link: str = "xn") -> None:
    store.write(lambda ledger: ledger.deliver(link, through, ()))


def said(one: Reconciliation, now: float = 0.0) -> list[Counts]:
    """Everything that it has to say now."""
    found = []
    while one.due(now, ["xn"]):
        counts = one.step()
        if counts is not None:
            found.append(Counts.from_bytes(counts.to_bytes()))
    return found


def expected(first: int, last: int) -> tuple[int, str]:
    return digest_of((each, hashlib.sha256(raw(each)).digest()) for each in range(first, last + 1))


def test_the_cloud_gets_counts_and_hashes_of_the_ranges_it_asks_for(store: Store) -> None:
    receive(store, 1, 450)
    confirm(store, 440)
    one = Reconciliation("gw-1", store.path, Clock())
    one.due(0.0, ())
    one.asked(CountRequest(store.epoch, "xn", "r1", ((1, 300), (301, 301), (400, 9999))))
    [counts] = said(one)
    assert (counts.run, counts.held_from, counts.through) == ("r1", 1, 440)
    assert [(each.first, each.last) for each in counts.ranges] == [(1, 300), (301, 301), (400, 440)]
    assert [(each.count, each.digest) for each in counts.ranges] == [
        expected(each.first, each.last) for each in counts.ranges
    ]


def test_asked_for_everything_it_says_everything_that_has_a_receipt(store: Store) -> None:
    receive(store, 1, 100)
    confirm(store, 90)
    one = Reconciliation("gw-1", store.path, Clock())
    one.due(0.0, ())
    one.asked(CountRequest(store.epoch, "xn", "r1"))
    [counts] = said(one)
    assert (counts.ranges[0].first, counts.ranges[-1].last) == (1, 90)
    assert sum(each.count for each in counts.ranges) == 90


def test_within_a_day_everything_that_is_held_is_said_and_what_is_new_every_hour(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "_NEWEST", 20)
    monkeypatch.setattr(reconciliation, "_LEAST_SLICE", 1)
    receive(store, 1, 300)
    confirm(store, 300)
    one = Reconciliation("gw-1", store.path, Clock())
    covered: set[int] = set()
    one.due(0.0, ())
    for hour in range(1, 28):
        if hour == 5:
            receive(store, 301, 330)
            confirm(store, 330)
        for counts in said(one, hour * 1.2 * HOUR):
            assert sum(each.count for each in counts.ranges) < 60, "not everything every hour"
            for each in counts.ranges:
                covered.update(range(each.first, each.last + 1))
            if hour == 5:
                assert counts.ranges[-1].last == 330
    assert covered == set(range(1, 331))


def test_a_link_without_anything_confirmed_has_nothing_to_say(store: Store) -> None:
    receive(store, 1, 5)
    one = Reconciliation("gw-1", store.path, Clock())
    one.due(0.0, ())
    one.now_all()
    assert said(one, 1.0) == []


def test_damage_in_the_boxs_own_copy_is_said(store: Store) -> None:
    receive(store, 1, 10)
    confirm(store, 10)
    store.write(lambda ledger: ledger.connection.execute("UPDATE journal SET raw = x'00' WHERE id = 4"))
    one = Reconciliation("gw-1", store.path, Clock())
    one.due(0.0, ())
    one.asked(CountRequest(store.epoch, "xn", "r1", ((1, 10),)))
    [counts] = said(one)
    assert counts.ranges[0].damaged == 1


def test_a_request_for_another_epoch_is_not_answered(store: Store) -> None:
    receive(store, 1, 3)
    confirm(store, 3)
    one = Reconciliation("gw-1", store.path, Clock())
    one.due(0.0, ())
    one.asked(CountRequest("0" * 16, "xn", "r1"))
    assert said(one) == []


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(1, 64))
def test_a_range_is_split_without_a_hole_into_no_more_than_so_many(first: int, length: int, parts: int) -> None:
    ranges = split(first, first + length, parts)
    assert len(ranges) <= parts
    assert (ranges[0][0], ranges[-1][1]) == (first, first + length)
    assert all(one[1] + 1 == two[0] for one, two in itertools.pairwise(ranges))


def test_an_order_of_ranges_that_does_not_rise_is_refused() -> None:
    wrong = Counts("gw-1", "e1", "xn", "r1", AT.at, 1, 9, (RangeCount(5, 9, 5, ""), RangeCount(1, 4, 4, "")))
    with pytest.raises(ValueError, match="rise"):
        Counts.from_bytes(wrong.to_bytes())
