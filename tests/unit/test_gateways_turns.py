"""Which link is applied next after an outage: nobody waits behind another link's backlog."""

from __future__ import annotations

import pytest

from cloud.gateways.arrivals import LinkKey
from cloud.gateways.turns import LONG_RUN, SHORT_RUN, Turns

pytestmark = pytest.mark.req("GW-10")


def key(link: str) -> LinkKey:
    return ("gw-1", "e1", link)


def test_a_link_that_just_got_something_goes_before_those_that_are_behind_and_these_take_turns() -> None:
    turns = Turns()
    for link in ("a", "b"):
        turns.touch(key(link))
    for link in ("a", "b"):
        assert turns.next() == (key(link), SHORT_RUN)
        turns.became(key(link), "more")
    seen = []
    for step in range(6):
        found = turns.next()
        assert found is not None
        seen.append(found[0][2])
        turns.became(found[0], "done" if found[0][2] == "live" else "more")
        if step == 2:
            turns.touch(key("live"))
    assert seen == ["a", "b", "a", "live", "b", "a"]


def test_a_link_that_is_behind_takes_long_runs_and_news_do_not_shorten_them() -> None:
    turns = Turns()
    turns.touch(key("a"))
    turns.next()
    turns.became(key("a"), "more")
    turns.touch(key("a"))
    assert turns.next() == (key("a"), LONG_RUN)
    turns.became(key("a"), "done")
    assert turns.next() is None


def test_a_link_at_a_gap_waits_until_it_gets_something_or_is_looked_at_again() -> None:
    turns = Turns()
    turns.touch(key("a"))
    turns.next()
    turns.became(key("a"), "waits")
    assert turns.next() is None
    turns.look_again()
    assert turns.next() is not None
    turns.became(key("a"), "waits")
    turns.touch(key("a"))
    assert turns.next() is not None


def test_a_link_that_gets_many_at_once_is_behind_from_the_beginning() -> None:
    turns = Turns()
    turns.touch(key("backlog"), SHORT_RUN + 1)
    turns.touch(key("live"))
    assert turns.next() == (key("live"), SHORT_RUN)
    assert turns.next() == (key("backlog"), LONG_RUN)
