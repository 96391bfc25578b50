"""The MLLP link and the deviations seen in the field."""

from __future__ import annotations

import pytest

from protocols.errors import LocalProtocolError
from protocols.links.contract import FrameReceived, FrameRefused, MessageAbandoned, SendCompleted, SendFailed
from protocols.links.mllp import MllpLink, MllpOptions
from tests.support.wire import Bench

ORU = b"MSH|^~\\&|Mindray|BS-480|||20261101080000||ORU^R01|1|P|2.3.1\rOBX|1|NM|2|GLU|5.1\r"

pytestmark = pytest.mark.req("GW-4")


def bench(**options: object) -> Bench:
    return Bench(MllpLink(MllpOptions(**options)))  # type: ignore[arg-type]


def block(message: bytes = ORU) -> bytes:
    return b"\x0b" + message + b"\x1c\r"


def test_message_is_taken_whole_and_acknowledging_writes_nothing() -> None:
    line = bench()
    line.hear(block())
    assert line.messages == [ORU]
    assert line.answer() == b""


def test_fragments_make_one_message() -> None:
    line = bench()
    line.hear_each(bytes([each]) for each in block())
    assert line.messages == [ORU]


def test_messages_back_to_back_in_one_segment() -> None:
    line = bench()
    line.hear(block() + block() + block()[:20])
    assert line.messages == [ORU, ORU]
    line.hear(block()[20:])
    assert line.messages == [ORU, ORU, ORU]


@pytest.mark.parametrize(
    "data",
    [b"\n" + block(), b"\x0b" + ORU + b"\x1c", b"\r\n\r\n" + block() + b"\n", b"\x0b\r\n" + ORU + b"\x1c\r"],
    ids=["LF before VT", "no CR behind FS", "line ends around", "line end behind VT"],
)
def test_deviation_is_tolerated(data: bytes) -> None:
    line = bench()
    line.hear(data + block())
    assert line.messages == [ORU, ORU]
    assert not [event for event in line.events if isinstance(event, FrameRefused)]


def test_vt_inside_the_text_is_text() -> None:
    message = ORU.replace(b"GLU", b"G\x0bLU")
    line = bench()
    line.hear(block(message))
    assert line.messages == [message]


def test_missing_fs_is_recovered_at_the_next_message() -> None:
    line = bench()
    line.hear(b"\x0b" + ORU + block())
    assert line.messages == [ORU, ORU]


def test_message_cut_off_in_a_segment_is_kept_and_not_applied() -> None:
    line = bench()
    line.hear(b"\x0b" + ORU[:-4] + block())
    assert line.messages == [ORU]
    assert line.kinds()[:2] == ["FrameReceived", "MessageAbandoned"]


def test_message_without_end_is_kept_after_the_time_out() -> None:
    line = bench()
    line.hear(b"\x0b" + ORU[:30])
    assert line.wait(29) == []
    assert [type(event) for event in line.wait(2)] == [FrameReceived, MessageAbandoned]
    line.hear(block())
    assert line.messages == [ORU]


def test_message_without_vt_where_the_driver_says_so() -> None:
    line = bench(vt_optional=True)
    line.hear_each([b"\r\nMS", ORU[2:40], ORU[40:] + b"\x1c\r", block()])
    assert line.messages == [ORU, ORU]


def test_bytes_outside_a_message_are_shown() -> None:
    line = bench()
    line.hear(b"HELLO" + block())
    assert [event.raw for event in line.events if isinstance(event, FrameRefused)] == [b"HELLO"]
    assert line.messages == [ORU]


def test_message_longer_than_the_limit_is_refused_and_memory_stays_bounded() -> None:
    line = bench(message_limit=10_000)
    for _ in range(100):
        line.hear(b"\x0bMSH|" + b"x" * 9_000 if _ == 0 else b"x" * 9_000)
    line.hear(b"\x1c\r" + block())
    assert [type(event) for event in line.events][:1] == [FrameRefused]
    assert line.messages == [ORU]


def test_reply_is_framed_and_reported_when_it_was_written() -> None:
    line = bench()
    token = line.link.send(ORU, 0.0)
    assert line.answer() == block()
    assert line.wait(0) == [SendCompleted(token)]


def test_reply_that_was_not_written_fails_when_the_connection_closes() -> None:
    line = bench()
    token = line.link.send(ORU, 0.0)
    assert line.link.disconnected(0.0) == [SendFailed(token, "the connection closed")]


def test_reply_with_a_block_character_is_our_error() -> None:
    with pytest.raises(LocalProtocolError):
        MllpLink().send(b"MSH|\x1c", 0.0)


def test_release_two_peer_gets_its_commit_acknowledgement() -> None:
    line = Bench(MllpLink(MllpOptions(commit_acknowledgement=True)), acknowledge=False)
    line.hear(block() + block())
    assert line.answer() == b""
    line.link.acknowledge(1, 0.0)
    line.link.refuse(2, 0.0)
    assert line.answer() == b"\x0b\x06\x1c\r\x0b\x15\x1c\r"


def test_messages_are_acknowledged_in_their_order() -> None:
    line = Bench(MllpLink(), acknowledge=False)
    line.hear(block() + block())
    with pytest.raises(LocalProtocolError):
        line.link.acknowledge(2, 0.0)


def test_commit_that_ends_after_the_connection_closed_is_no_error() -> None:
    line = Bench(MllpLink(), acknowledge=False)
    line.hear(block())
    line.link.disconnected(1.0)
    assert line.link.acknowledge(1, 2.0) == []
