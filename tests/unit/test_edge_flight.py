"""The forwarder's window: what is sent, what waits for its receipt, what is sent again."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.flight import Flight

pytestmark = pytest.mark.req("GW-10")


def flight(window: int = 10, timeout_s: float = 300.0, *links: str, batch: int = 20) -> Flight:
    """On a connection on which the cloud has answered already."""
    made = Flight(window, timeout_s, batch)
    for link in links or ("xn",):
        made.announce(link)
    made.received(links[0] if links else "xn", 0, (), 0)
    return made


def send(one: Flight, link: str, sequences: Iterable[int], now: float = 0, *, more: bool = False) -> None:
    one.sent(link, dict.fromkeys(sequences, 100), now, more=more)


def all_sent(one: Flight) -> list[str]:
    """Links in the order in which they get their turn, until nothing may be sent."""
    seen = []
    while (turn := one.next_turn()) is not None:
        seen.append(turn.link)
        one.reading(turn.link)
        one.dry(turn.link)
    return seen


def test_nothing_is_sent_beyond_the_window() -> None:
    full = flight(5)
    send(full, "xn", range(1, 6))
    assert full.next_turn() is None
    full.received("xn", 2, (), 1)
    assert full.next_turn() == ("xn", 5, 2)


def test_links_take_turns_so_that_a_backlog_holds_nobody_up() -> None:
    turns = flight(100, 300, "one", "two")
    seen = []
    for first in (1, 1, 21, 21):
        turn = turns.next_turn()
        assert turn is not None
        seen.append(turn.link)
        send(turns, turn.link, range(first, first + 20), more=True)
    assert seen == ["one", "two", "one", "two"]


def test_a_link_that_is_up_to_date_goes_before_those_with_a_backlog_and_finds_room_in_their_window() -> None:
    mixed = flight(100, 300, "backlog", "live")
    send(mixed, "backlog", range(1, 81), more=True)
    mixed.reading("live")
    assert mixed.next_turn() is None, "a fifth of the window is kept free of backlogs"
    mixed.announce("live")
    assert mixed.next_turn() == ("live", 0, 20)


def test_a_backlog_waits_until_a_whole_batch_fits() -> None:
    one = flight(100)
    send(one, "xn", range(1, 71), more=True)
    assert one.next_turn() is None, "10 would fit"
    one.received("xn", 20, (), 0)
    assert one.next_turn() == ("xn", 70, 20)


def test_a_link_with_nothing_left_is_passed_over_until_it_has_news() -> None:
    one = flight(10)
    one.reading("xn")
    one.dry("xn")
    assert one.next_turn() is None
    one.announce("xn")
    assert one.next_turn() == ("xn", 0, 10)


def test_large_messages_fill_the_window_by_their_bytes() -> None:
    one = Flight(200, 300, max_bytes=1000)
    one.announce("xn")
    one.received("xn", 0, (), 0)
    one.sent("xn", {1: 1500}, 0, more=True)
    assert one.next_turn() is None
    one.received("xn", 1, (), 0)
    assert one.next_turn() == ("xn", 1, 20)


def test_a_receipt_frees_the_covered_and_the_singled_out() -> None:
    one = flight(10)
    send(one, "xn", range(1, 8))
    one.received("xn", 3, (6,), 0)
    assert one.under_way == 3


def test_a_missing_receipt_makes_the_link_start_again_but_not_its_neighbour() -> None:
    two = flight(10, 60, "xn", "bs")
    send(two, "xn", [1, 2])
    send(two, "bs", [1], 50)
    two.received("bs", 0, (), 55)
    assert two.overdue(59) == []
    assert two.overdue(60) == ["xn"]
    assert two.under_way == 1
    two.reading("bs")
    assert two.next_turn() == ("xn", 0, 9)


def test_a_new_connection_sends_everything_without_receipt_again() -> None:
    one = flight(10)
    send(one, "xn", [1, 2, 3])
    one.received("xn", 1, (), 0)
    one.start_over()
    assert one.under_way == 0
    assert one.next_turn() == ("xn", 0, 10)  # the store leaves out what is delivered


def test_a_receipt_that_came_while_its_message_was_sent_again_does_not_block_the_window() -> None:
    one = flight(10)
    one.received("xn", 5, (), 0)
    send(one, "xn", [4, 5, 6])
    assert one.under_way == 1


def test_a_few_messages_go_out_until_the_cloud_has_answered_on_this_connection() -> None:
    fresh = Flight(200, 300, 20)
    fresh.announce("xn")
    fresh.announce("bs")
    assert fresh.next_turn() == ("xn", 0, 20)
    send(fresh, "xn", range(1, 21), more=True)
    assert fresh.next_turn() is None, "its neighbour waits too: nobody knows whether the cloud stores anything"
    fresh.received("xn", 20, (), 1)
    assert fresh.next_turn() == ("bs", 0, 20)


def test_a_silent_cloud_gets_one_message_again_at_a_time_however_long_it_is_silent() -> None:
    outage = flight(200, 300, "xn", "bs")
    send(outage, "xn", range(1, 101))
    send(outage, "bs", range(1, 61))
    again: list[str] = []
    for hour in range(1, 25):
        outage.overdue(hour * 3600.0)
        while (turn := outage.next_turn()) is not None:
            again.append(turn.link)
            assert turn.room == 1
            send(outage, turn.link, [turn.after + 1], hour * 3600.0, more=True)
    assert len(again) == 24
    assert set(again) == {"xn", "bs"}
    outage.received("xn", 100, (), 90_000)
    assert outage.next_turn() is not None, "the first receipt opens the window again"


def test_the_first_messages_of_a_connection_are_tried_again_soon_then_ever_later() -> None:
    fresh = Flight(200, 300, 20)
    fresh.announce("xn")
    send(fresh, "xn", range(1, 4))
    tried = []
    for second in range(1, 1200):
        fresh.overdue(second)
        if (turn := fresh.next_turn()) is not None and turn.after == 0:
            tried.append(second)
            send(fresh, "xn", [1], second, more=True)
    assert tried == [5, 15, 35, 75, 155, 315, 615, 915]


@given(st.data())
def test_whatever_happens_the_window_is_never_exceeded_and_everything_is_delivered_at_last(data: st.DataObject) -> None:
    window = data.draw(st.integers(1, 60), "window")
    stored = {link: data.draw(st.integers(0, 90), link) for link in ("a", "b", "c")}
    cloud: dict[str, set[int]] = {link: set() for link in stored}
    delivered = dict.fromkeys(stored, 0)
    one, now = Flight(window, 60, 20), 0.0
    for link in stored:
        one.announce(link)

    def send_all() -> None:
        while (turn := one.next_turn()) is not None:
            one.reading(turn.link)
            first = max(turn.after, delivered[turn.link]) + 1
            batch = range(first, min(first + turn.room, stored[turn.link] + 1))
            if not batch:
                one.dry(turn.link)
                continue
            one.sent(turn.link, dict.fromkeys(batch, 10), now, more=len(batch) == turn.room)
            assert one.under_way <= window
            if not data.draw(st.booleans(), "lost"):
                cloud[turn.link].update(batch)

    def receive(link: str) -> None:
        through = delivered[link]
        while through + 1 in cloud[link]:
            through += 1
        delivered[link] = through
        one.received(link, through, (), now)

    for _ in range(data.draw(st.integers(0, 12), "rounds")):
        send_all()
        now += data.draw(st.sampled_from((1.0, 61.0)))
        what = data.draw(st.sampled_from(("receipt", "reconnect", "overdue")))
        if what == "receipt":
            receive(data.draw(st.sampled_from(tuple(stored))))
        elif what == "reconnect":
            one.start_over()
        else:
            one.overdue(now)
    for _ in range(400):  # from here on nothing is lost
        for link in stored:
            receive(link)
        now += 61.0
        one.overdue(now)
        while (turn := one.next_turn()) is not None:
            one.reading(turn.link)
            first = max(turn.after, delivered[turn.link]) + 1
            batch = range(first, min(first + turn.room, stored[turn.link] + 1))
            if not batch:
                one.dry(turn.link)
                continue
            one.sent(turn.link, dict.fromkeys(batch, 10), now, more=len(batch) == turn.room)
            cloud[turn.link].update(batch)
        if delivered == stored:
            break
    assert delivered == stored
