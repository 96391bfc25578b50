"""Frames that were kept are read again: which of them make which message."""

from __future__ import annotations

import pytest

from edge.interpreter import interpreter_of
from edge.rereading import only_message, reread
from tests.bench.edge_process import message_frames

pytestmark = pytest.mark.req("GW-9", "GW-12")
XN = "sysmex_xn"


def test_each_of_several_messages_is_found_although_nobody_kept_where_a_session_ended() -> None:
    """A bad page took their rows, and their frames are there: each begins with frame 1 again."""
    messages = [message_frames(f"{number:04}") for number in range(4)]
    length = len(messages[0])
    found = reread(interpreter_of(XN), [frame for each in messages for frame in each])
    assert [each.positions for each in found] == [tuple(range(n * length, (n + 1) * length)) for n in range(4)]
    assert all(each.reading is not None for each in found)


def test_a_message_that_never_ended_between_two_whole_ones_takes_none_of_their_frames() -> None:
    first, cut, last = (message_frames(f"{number:04}") for number in range(3))
    found = reread(interpreter_of(XN), [*first, *cut[:2], *last])
    whole = sorted(each.positions for each in found if each.reading is not None)
    length = len(first)
    assert whole == [tuple(range(length)), tuple(range(length + 2, 2 * length + 2))]
    assert [each.positions for each in found if each.reading is None] == [(length, length + 1)]


def test_frames_of_two_messages_are_not_taken_for_one() -> None:
    one, other = message_frames("0001"), message_frames("0002")
    assert only_message(XN, one) is not None
    assert only_message(XN, [*one, *other]) is None
