"""The forwarder's window: what is sent, what waits for its receipt, what is sent again."""

from __future__ import annotations

import pytest

from edge.flight import Flight

pytestmark = pytest.mark.req("GW-10")


def flight(window: int = 10, timeout_s: float = 300.0, *links: str) -> Flight:
    made = Flight(window, timeout_s)
    for link in links:
        made.announce(link)
    return made


def test_nothing_is_sent_beyond_the_window() -> None:
    full = flight(5, 300, "xn")
    full.sent("xn", range(1, 6), now=0)
    full.announce("xn")
    assert full.next_link() is None
    full.received("xn", 2, ())
    assert full.next_link() == ("xn", 5, 2)


def test_links_take_turns_so_that_a_backlog_holds_nobody_up() -> None:
    turns = flight(100, 300, "backlog", "live")
    seen = []
    for _ in range(4):
        turn = turns.next_link()
        assert turn is not None
        seen.append(turn[0])
    assert seen == ["backlog", "live", "backlog", "live"]


def test_a_link_with_nothing_left_is_passed_over_until_it_has_news() -> None:
    one = flight(10, 300, "xn")
    one.exhausted("xn")
    assert one.next_link() is None
    one.announce("xn")
    assert one.next_link() == ("xn", 0, 10)


def test_a_receipt_frees_the_covered_and_the_singled_out() -> None:
    one = flight(10, 300, "xn")
    one.sent("xn", range(1, 8), now=0)
    one.received("xn", 3, (6,))
    assert one.under_way == 3


def test_a_missing_receipt_makes_the_link_start_again_but_not_its_neighbour() -> None:
    two = flight(10, 60, "xn", "bs")
    two.sent("xn", [1, 2], now=0)
    two.sent("bs", [1], now=50)
    assert two.overdue(59) == []
    assert two.overdue(60) == ["xn"]
    assert two.under_way == 1
    two.exhausted("bs")
    assert two.next_link() == ("xn", 0, 9)


def test_a_new_connection_sends_everything_without_receipt_again() -> None:
    one = flight(10, 300, "xn")
    one.sent("xn", [1, 2, 3], now=0)
    one.received("xn", 1, ())
    one.start_over()
    assert one.under_way == 0
    assert one.next_link() == ("xn", 0, 10)  # the store leaves out what is delivered


def test_a_receipt_that_came_while_its_message_was_sent_again_does_not_block_the_window() -> None:
    one = flight(10, 300, "xn")
    one.received("xn", 5, ())
    one.sent("xn", [4, 5, 6], now=0)
    assert one.under_way == 1
