"""Deviations of MLLP senders that open receivers fail at, the bounds, release 2; plain cases: `test_mllp_link.py`."""

from __future__ import annotations

import pytest

from protocols.links.contract import (
    FrameReceived,
    FrameRefused,
    MessageAbandoned,
    MessageReceived,
    SendCompleted,
    SendFailed,
)
from protocols.links.mllp import MllpLink, MllpOptions
from tests.support.wire import Bench

ORU = b"MSH|^~\\&|Mindray|BS-480|||20261101080000||ORU^R01|1|P|2.3.1\rOBX|1|NM|2|GLU|5.1\r"
OTHER = ORU.replace(b"|1|P|", b"|2|P|")
ACKED, REFUSED = b"\x0b\x06\x1c\r", b"\x0b\x15\x1c\r"

pytestmark = pytest.mark.req("GW-4")


def bench(**options: object) -> Bench:
    return Bench(MllpLink(MllpOptions(**options)))  # type: ignore[arg-type]


def block(message: bytes = ORU) -> bytes:
    return b"\x0b" + message + b"\x1c\r"


def refusals(line: Bench) -> list[str]:
    return [event.reason for event in line.events if isinstance(event, FrameRefused)]


def buffered(line: Bench) -> int:
    assert isinstance(line.link, MllpLink)
    return len(line.link._buffer)


# ---------------------------------------------------------------------- how the text stands


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CR LF"])
def test_segments_that_end_otherwise_come_as_they_are(end: bytes) -> None:
    message = ORU.replace(b"\r", end)
    line = bench()
    line.hear(block(message) + block(message))
    assert [each.rstrip(b"\r\n") for each in line.messages] == [message.rstrip(b"\r\n")] * 2


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CR LF", "CR"])
def test_next_message_ends_one_without_fs_whatever_its_segments_end_with(end: bytes) -> None:
    line = bench()
    line.hear(b"\x0b" + ORU.replace(b"\r", end) + block(OTHER))
    assert len(line.messages) == 2
    assert not line.kinds().count("MessageAbandoned")


def test_last_segment_may_stay_open() -> None:
    line = bench()
    line.hear(block(ORU[:-1]))
    assert line.messages == [ORU]


def test_doubled_vt_is_one() -> None:
    line = bench()
    line.hear(b"\x0b" + block())
    assert line.messages == [ORU]
    assert not line.kinds().count("MessageAbandoned")
    assert line.kinds().count("FrameReceived") == 1


def test_fs_and_cr_in_segments_of_their_own() -> None:
    line = bench()
    line.hear_each([b"\x0b", ORU, b"\x1c", b"\r", block(OTHER)])
    assert line.messages == [ORU, OTHER]


def test_vt_at_the_end_of_a_segment_of_text_is_text() -> None:
    message = ORU.replace(b"5.1\r", b"5.1\x0b\rNTE|1||MSH of the ward\r")
    line = bench()
    line.hear(block(message) + block())
    assert line.messages == [message, ORU]


def test_empty_block_is_shown_and_the_next_message_taken() -> None:
    line = bench()
    line.hear(b"\x0b\x1c\r" + block() + b"\x0b\r\x1c\r")
    assert line.messages == [ORU]
    assert refusals(line) == ["empty message", "empty message"]


def test_what_is_no_hl7_is_handed_on_and_never_dropped() -> None:
    """The driver says what it is; the bytes are kept."""
    line = bench()
    line.hear(block(b"hello") + block())
    assert line.messages == [b"hello\r", ORU]


def test_picture_of_a_megabyte_in_small_pieces() -> None:
    picture = ORU + b"OBX|2|ED|3|^Histogram||^Image^BMP^Base64^" + b"QUJD" * 300_000 + b"\r"
    data = block(picture)
    line = bench()
    line.hear_each(data[start : start + 1460] for start in range(0, len(data), 1460))
    assert line.messages == [picture]


# ---------------------------------------------------------------------- messages without an envelope


def test_messages_without_vt_and_fs_follow_one_another() -> None:
    line = bench(vt_optional=True, fs_optional=True)
    line.hear(ORU + OTHER)
    assert line.messages == [ORU]
    line.wait(3)
    assert line.messages == [ORU, OTHER]
    assert not line.kinds().count("MessageAbandoned")


def test_message_without_fs_ends_with_silence_where_the_driver_says_so() -> None:
    line = bench(fs_optional=True)
    line.hear(b"\x0b" + ORU)
    assert line.messages == []
    line.wait(3)
    assert line.messages == [ORU]


def test_silence_inside_a_segment_ends_no_message() -> None:
    line = bench(fs_optional=True)
    line.hear(b"\x0b" + ORU[:-3])
    line.wait(10)
    assert line.messages == []
    line.hear(ORU[-3:])
    line.wait(3)
    assert line.messages == [ORU]


def test_message_without_fs_stays_incomplete_where_no_driver_says_so() -> None:
    line = bench()
    line.hear(b"\x0b" + ORU)
    line.wait(31)
    assert line.messages == []
    assert [type(event) for event in line.events] == [FrameReceived, MessageAbandoned]


def test_batch_of_a_sender_without_vt_is_one_payload() -> None:
    batch = b"FHS|^~\\&|LAB\rBHS|^~\\&|LAB\r" + ORU + OTHER + b"BTS|2\rFTS|1\r"
    line = bench(vt_optional=True)
    line.hear(batch + b"\x1c\r")
    assert line.messages == [batch]


# ---------------------------------------------------------------------- bounds of size and time


@pytest.mark.parametrize("piece", [100, 7_000, 1_000_000])
def test_message_beyond_the_limit_is_refused_by_name_and_the_next_one_taken(piece: int) -> None:
    data = block(ORU + b"NTE|1||" + b"x" * 500_000 + b"\r") + block()
    line = bench(message_limit=20_000)
    for start in range(0, len(data), piece):
        line.hear(data[start : start + piece])
        assert buffered(line) <= 20_000 + piece
    assert refusals(line) == ["message longer than the limit"]
    shown = next(event.raw for event in line.events if isinstance(event, FrameRefused))
    assert shown.startswith(b"\x0bMSH|^~\\&|Mindray")
    assert len(shown) == 512
    assert line.messages == [ORU]


def test_message_of_exactly_the_limit_is_taken() -> None:
    text = ORU + b"NTE|1||" + b"x" * 500 + b"\r"
    line = bench(message_limit=len(text) + 2)
    line.hear(block(text))
    assert line.messages == [text]


def test_endless_noise_keeps_no_memory() -> None:
    for options in ({}, {"vt_optional": True}):
        line = bench(**options)
        for _ in range(100):
            line.hear(b"noise " * 3000)
        assert buffered(line) < 64
        assert refusals(line)[0] == "bytes outside a message"
        assert all(len(event.raw) <= 512 for event in line.events if isinstance(event, FrameRefused))


def test_message_whose_bytes_drip_for_ever_is_broken_off() -> None:
    """Silence never lasts the 30 s, but no message takes a quarter of an hour."""
    line = bench()
    line.hear(b"\x0b" + ORU[:20])
    for _ in range(60):
        line.wait(20)
        line.hear(b"x")
        if line.kinds().count("MessageAbandoned"):
            break
    assert line.now == pytest.approx(900, abs=20)
    line.hear(b"\x1c\r" + block())
    assert line.messages == [ORU]


def test_time_out_leaves_the_line_usable() -> None:
    line = bench()
    line.hear(b"\x0b" + ORU[:20])
    line.wait(31)
    line.hear(ORU[20:] + b"\x1c\r" + block(OTHER))
    assert line.messages == [OTHER]
    assert refusals(line) == ["bytes outside a message"], "the late rest is shown, not applied"


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_connection_lost_in_a_message_keeps_it_and_leaves_a_fresh_line(cut: int) -> None:
    line = bench()
    line.hear(block()[:cut])
    assert [type(event) for event in line.link.disconnected(1.0)] == [FrameReceived, MessageAbandoned]
    assert line.link.wake_at is None
    line.hear(block())
    assert line.messages == [ORU]


def test_commits_of_two_lost_connections_are_no_error() -> None:
    line = Bench(MllpLink(), acknowledge=False)
    line.hear(block() + block())
    line.link.disconnected(1.0)
    line.hear(block())
    line.link.disconnected(2.0)
    line.hear(block())
    for old in (1, 2, 3):
        assert line.link.acknowledge(old, 3.0) == []
    line.link.acknowledge(4, 3.0)


# ---------------------------------------------------------------------- release 2


def test_message_to_a_release_two_peer_is_sent_when_its_commit_came() -> None:
    line = bench(commit_acknowledgement=True)
    first, second = line.link.send(ORU, 0.0), line.link.send(OTHER, 0.0)
    assert line.answer() == block() + block(OTHER)
    assert line.wait(1) == []
    assert line.hear(ACKED) == [SendCompleted(first)]
    assert line.hear(REFUSED) == [SendFailed(second, "the other side could not store it")]


def test_message_whose_commit_stays_away_failed() -> None:
    line = bench(commit_acknowledgement=True)
    token = line.link.send(ORU, 0.0)
    line.answer()
    assert line.wait(29) == []
    assert line.wait(3) == [SendFailed(token, "no commit acknowledgement")]
    assert line.link.wake_at is None


def test_message_without_commit_fails_when_the_connection_closes() -> None:
    line = bench(commit_acknowledgement=True)
    token = line.link.send(ORU, 0.0)
    line.answer()
    line.wait(1)
    assert line.link.disconnected(2.0) == [SendFailed(token, "the connection closed")]


def test_commit_that_nobody_waits_for_is_no_message() -> None:
    line = bench()
    line.hear(ACKED + block() + REFUSED)
    assert [event.payload for event in line.events if isinstance(event, MessageReceived)] == [ORU]
