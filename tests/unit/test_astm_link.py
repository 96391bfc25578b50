"""The ASTM link against every fault that is known to break its peers: bytes in, events and bytes out."""

from __future__ import annotations

import pytest

from protocols.errors import LocalProtocolError
from protocols.links.astm import TRANSITIONS, AstmLink, State
from protocols.links.astm_frames import AstmOptions, Checksum, FrameNumbers, checksum, cut_message
from protocols.links.contract import (
    FrameReceived,
    FrameRefused,
    MessageAbandoned,
    MessageReceived,
    SendCompleted,
    SendFailed,
)
from tests.support.wire import Bench, frame, session

ENQ, ACK, NAK, EOT = b"\x05", b"\x06", b"\x15", b"\x04"
H = b"H|\\^&|||XN-550\r"
L = b"L|1|N\r"
WHOLE = H + L

pytestmark = pytest.mark.req("GW-2")


def bench(**options: object) -> Bench:
    return Bench(AstmLink(AstmOptions(**options)))  # type: ignore[arg-type]


def test_frame_is_acknowledged_only_after_it_is_durable() -> None:
    line = Bench(AstmLink(), acknowledge=False)
    line.hear(ENQ)
    assert line.answer() == ACK
    received = line.hear(frame(1, WHOLE))
    assert isinstance(received[0], FrameReceived)
    assert line.answer() == b""
    line.link.acknowledge(received[0].frame_id, 0.0)
    assert line.answer() == ACK


def test_frame_that_cannot_be_stored_is_refused_and_comes_again() -> None:
    line = Bench(AstmLink(), acknowledge=False)
    first = line.hear(ENQ + frame(1, WHOLE))
    line.link.refuse(1, 0.0)
    assert line.answer() == ACK + NAK
    again = line.hear(frame(1, WHOLE))
    assert [type(each) for each in again] == [type(each) for each in first]
    line.link.acknowledge(2, 0.0)
    assert line.answer() == ACK


def test_message_of_one_record_per_frame_is_joined() -> None:
    line = bench()
    line.hear(session(H, b"P|1\r", L))
    assert line.messages == [H + b"P|1\r" + L]
    assert line.answer() == ACK * 4
    received = next(event for event in line.events if isinstance(event, MessageReceived))
    assert received.frame_ids == (1, 2, 3)


def test_middle_frames_may_cut_inside_a_record() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H + b"R|1|^^^8/1/no", last=False))
    line.hear(frame(2, b"t|9.6\rL|", last=False) + frame(3, b"1|N\r"))
    assert line.messages == [H + b"R|1|^^^8/1/not|9.6\rL|1|N\r"]


def test_message_is_handed_out_with_its_last_record_and_not_again_at_eot() -> None:
    line = bench()
    line.hear(ENQ + frame(1, WHOLE))
    assert line.messages == [WHOLE]
    line.hear(EOT)
    assert line.messages == [WHOLE]


def test_message_without_terminator_is_handed_out_at_eot() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H))
    assert line.messages == []
    line.hear(EOT)
    line.wait(1)
    assert line.messages == [H]


def test_two_messages_in_one_session_stay_apart() -> None:
    line = bench()
    line.hear(session(WHOLE, WHOLE))
    assert line.messages == [WHOLE, WHOLE]


@pytest.mark.parametrize("last", [True, False], ids=["end frame", "middle frame"])
def test_wrong_checksum_is_refused_and_the_repetition_taken(last: bool) -> None:
    good = frame(1, H, last=last)
    bad = good.replace(b"XN-550", b"XN-551")
    line = bench()
    line.hear(ENQ + bad)
    assert line.answer() == ACK + NAK
    assert [event.reason for event in line.events if isinstance(event, FrameRefused)] == ["wrong checksum"]
    line.hear(good)
    assert line.answer() == ACK


def test_checksum_in_lower_case_is_taken() -> None:
    line = bench()
    line.hear(ENQ + frame(1, WHOLE, lower=True))
    assert line.messages == [WHOLE]


def test_frame_repeated_after_lost_ack_is_stored_once() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H) + frame(1, H) + frame(2, L) + frame(2, L))
    assert line.kinds().count("FrameReceived") == 2
    assert line.answer() == ACK * 5
    assert line.messages == [WHOLE]


def test_same_number_with_other_content_is_no_repetition() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H) + frame(1, b"P|1\r"))
    assert line.answer() == ACK + ACK + NAK


def test_lost_frame_is_refused() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H) + frame(3, L))
    assert line.answer() == ACK + ACK + NAK
    assert line.messages == []


def test_frame_numbers_go_on_after_seven_with_zero() -> None:
    line = bench()
    records = [b"C|%d\r" % n for n in range(1, 20)]
    line.hear(session(H, *records, L))
    assert line.messages == [b"".join([H, *records, L])]


def test_a_new_session_may_repeat_frame_one() -> None:
    line = bench()
    line.hear(session(WHOLE) + session(WHOLE))
    assert line.messages == [WHOLE, WHOLE]


def test_eot_after_a_middle_frame_delivers_nothing() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H, last=False) + EOT)
    line.wait(1)
    assert line.messages == []
    assert [event.frame_ids for event in line.events if isinstance(event, MessageAbandoned)] == [(1,)]


def test_enq_inside_a_session_begins_again() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H))
    line.answer()
    line.hear(ENQ)
    line.wait(1)
    assert line.answer() == ACK
    assert any(isinstance(event, MessageAbandoned) for event in line.events)
    line.hear(frame(1, WHOLE))
    assert line.messages == [WHOLE]


def test_keep_alive_leaves_no_trace() -> None:
    line = bench()
    line.hear(ENQ + EOT + ENQ + EOT)
    assert line.events == []
    assert line.answer() == ACK + ACK
    assert line.link.wake_at is None


def test_garbage_before_enq_is_skipped_and_shown() -> None:
    line = bench()
    line.hear(b"\xff\xfenoise" + session(WHOLE))
    assert line.messages == [WHOLE]
    assert line.kinds()[0] == "FrameRefused"


def test_stray_acknowledgements_before_a_frame_are_skipped() -> None:
    line = bench()
    line.hear(ENQ + ACK + ACK + frame(1, WHOLE))
    assert line.messages == [WHOLE]


def test_eot_and_enq_in_one_segment_begin_the_next_session() -> None:
    line = bench()
    line.hear(ENQ + frame(1, WHOLE))
    line.hear(EOT + ENQ)
    line.hear(frame(1, WHOLE))
    assert line.messages == [WHOLE, WHOLE]


def test_frame_without_cr_lf_is_taken_after_a_short_wait() -> None:
    line = bench()
    line.hear(ENQ + frame(1, WHOLE)[:-2])
    assert line.messages == []
    line.wait(1)
    assert line.messages == [WHOLE]
    assert line.answer() == ACK + ACK


def test_end_frames_without_cr_do_not_run_together() -> None:
    line = bench()
    line.hear(session(b"H|\\^&", b"P|1", b"L|1|N"))
    assert line.messages == [b"H|\\^&\rP|1\rL|1|N\r"]


def test_silence_for_thirty_seconds_abandons_the_message_and_keeps_the_line() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H))
    assert line.wait(29) == []
    assert [type(event) for event in line.wait(2)] == [MessageAbandoned]
    line.hear(session(WHOLE))
    assert line.messages == [WHOLE]


def test_frame_broken_off_is_refused_before_the_sender_gives_up() -> None:
    line = bench()
    line.hear(ENQ + frame(1, WHOLE)[:10])
    line.answer()
    line.wait(14)
    assert line.answer() == NAK
    line.hear(frame(1, WHOLE))
    assert line.messages == [WHOLE]


def test_slow_bytes_inside_a_frame_do_not_time_out() -> None:
    line = bench()
    line.hear(ENQ)
    for byte in frame(1, WHOLE):
        line.wait(2)
        line.hear(bytes([byte]))
    line.wait(1)
    assert line.messages == [WHOLE]


def test_enq_of_a_sender_that_began_again_inside_a_frame_is_answered() -> None:
    line = bench()
    line.hear(ENQ + frame(1, WHOLE)[:10] + ENQ)
    line.answer()
    line.wait(6)
    assert line.answer() == ACK


def test_damaged_stx_that_looks_like_enq_draws_no_ack() -> None:
    line = bench()
    line.hear(ENQ)
    line.answer()
    line.hear(ENQ + frame(1, WHOLE)[1:])
    assert line.answer() == NAK
    assert line.messages == []


def test_late_commit_is_not_acknowledged_to_a_sender_that_gave_up() -> None:
    line = Bench(AstmLink(), acknowledge=False)
    line.hear(ENQ + frame(1, WHOLE))
    line.answer()
    line.now = 16.0
    line.hear(EOT + ENQ)
    line.link.acknowledge(1, 17.0)
    assert line.answer() == ACK, "one ACK only: the answer to the new ENQ"


@pytest.mark.req("GW-9")
def test_what_was_acknowledged_before_a_full_disk_is_no_whole_message() -> None:
    """The sender gives up with EOT and sends it whole later: taken now, its results would be there twice."""
    line = Bench(AstmLink(), acknowledge=False)
    line.hear(ENQ + frame(1, H))
    line.link.acknowledge(1, 0.0)
    line.hear(frame(2, b"P|1\r"))
    line.link.refuse(2, 0.0)
    assert line.answer() == ACK + ACK + NAK
    line.hear(EOT)
    line.wait(1)
    assert "MessageAbandoned" in line.kinds()
    assert line.messages == []


def test_frame_longer_than_the_limit_is_refused_and_memory_stays_bounded() -> None:
    line = bench(received_text_limit=240)
    line.hear(ENQ)
    line.hear_each([b"\x021" + b"x" * 100_000, b"y" * 100_000, b"\x0300\r\n"])
    assert [event.reason for event in line.events if isinstance(event, FrameRefused)] == ["frame longer than the limit"]
    assert line.answer() == ACK + NAK
    line.hear(frame(1, WHOLE))
    assert line.messages == [WHOLE]


def test_message_longer_than_the_limit_is_abandoned() -> None:
    line = bench(message_limit=100)
    line.hear(ENQ + frame(1, H) + frame(2, b"C|" + b"x" * 90 + b"\r"))
    assert line.answer() == ACK + ACK + NAK
    assert "MessageAbandoned" in line.kinds()


def test_bytes_behind_a_frame_that_is_being_stored_are_bounded() -> None:
    line = Bench(AstmLink(), acknowledge=False)
    line.hear(ENQ + frame(1, H))
    refused = line.hear(b"z" * 5_000_000)
    assert [type(event) for event in refused] == [FrameRefused]


def test_connection_that_closes_abandons_and_can_be_used_again() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H))
    assert [type(event) for event in line.link.disconnected(1.0)] == [MessageAbandoned]
    line.hear(session(WHOLE))
    assert line.messages == [WHOLE]


def test_commit_that_ends_after_the_connection_closed_is_no_error() -> None:
    line = Bench(AstmLink(), acknowledge=False)
    line.hear(ENQ + frame(1, WHOLE))
    line.link.disconnected(1.0)
    assert line.link.acknowledge(1, 2.0) == []


def test_frame_acknowledged_twice_is_our_own_error() -> None:
    line = bench()
    line.hear(ENQ + frame(1, WHOLE))
    with pytest.raises(LocalProtocolError):
        line.link.acknowledge(1, 0.0)


# ---------------------------------------------------------------------- deviations


def test_sender_without_enq_is_taken_where_the_driver_says_so() -> None:
    line = bench(enq_optional=True)
    line.hear(frame(1, WHOLE))
    assert line.messages == [WHOLE]
    assert line.answer() == ACK


def test_sender_without_frames_is_taken_and_not_answered() -> None:
    line = bench(unframed=True)
    line.hear(b"H|\\^&\rR|1|^^^GLU|5\r")
    line.hear(b"L|1|N\r\n")
    assert line.messages == [b"H|\\^&\rR|1|^^^GLU|5\rL|1|N\r\n"]
    assert line.answer() == b""


def test_sender_that_counts_from_one_in_every_frame() -> None:
    line = bench(frame_numbers=FrameNumbers.RESTARTING)
    line.hear(ENQ + frame(1, H) + frame(1, b"P|1\r") + frame(1, L))
    assert line.messages == [H + b"P|1\r" + L]


def test_instrument_without_checksum() -> None:
    line = bench(checksum=Checksum.ABSENT)
    line.hear(ENQ + b"\x021" + WHOLE + b"\x03\r\n")
    assert line.messages == [WHOLE]


def test_instrument_with_a_broken_checksum() -> None:
    line = bench(checksum=Checksum.IGNORED)
    line.hear(ENQ + b"\x021" + WHOLE + b"\x0300\r\n")
    assert line.messages == [WHOLE]


# ---------------------------------------------------------------------- sending


def test_message_is_sent_frame_by_frame() -> None:
    line = bench()
    token = line.link.send(H + b"P|1\r" + L, 0.0)
    assert line.answer() == ENQ
    for number, record in enumerate((H, b"P|1\r", L), start=1):
        line.hear(ACK)
        assert line.answer() == frame(number, record)
    assert line.hear(ACK) == [SendCompleted(token)]
    assert line.answer() == EOT


def test_long_record_is_cut_at_the_limit() -> None:
    long = b"O|1|" + b"x" * 500 + b"\r"
    frames = cut_message(H + long, AstmOptions())
    assert [each[-5:-4] for each in frames] == [b"\x03", b"\x17", b"\x17", b"\x03"]
    assert b"".join(each[2:-5] for each in frames) == H + long
    assert max(len(each) for each in frames) == 247


def test_refused_frame_is_sent_again_and_given_up_after_six() -> None:
    line = bench()
    token = line.link.send(WHOLE, 0.0)
    line.hear(ACK)
    line.answer()
    for _ in range(5):
        line.hear(NAK)
        assert line.answer() == frame(1, H)
    assert line.hear(NAK) == [SendFailed(token, "a frame was refused six times")]
    assert line.answer() == EOT


def test_busy_instrument_is_asked_again_after_ten_seconds() -> None:
    line = bench()
    line.link.send(WHOLE, 0.0)
    line.answer()
    line.hear(NAK)
    line.wait(9)
    assert line.answer() == b""
    line.wait(2)
    assert line.answer() == ENQ


def test_instrument_that_stays_busy_is_given_up_after_six_attempts() -> None:
    line = bench()
    token = line.link.send(WHOLE, 0.0)
    for _ in range(5):
        line.hear(NAK)
        line.wait(11)
    assert line.hear(NAK) == [SendFailed(token, "the instrument is busy (NAK to ENQ)")]


def test_no_answer_to_enq_for_fifteen_seconds_ends_the_session() -> None:
    line = bench()
    line.link.send(WHOLE, 0.0)
    line.answer()
    line.wait(14)
    assert line.answer() == b""
    line.wait(2)
    assert line.answer() == EOT


def test_no_answer_to_a_frame_for_fifteen_seconds_fails_the_message() -> None:
    line = bench()
    token = line.link.send(WHOLE, 0.0)
    line.hear(ACK)
    assert line.wait(16) == [SendFailed(token, "no answer to a frame")]
    assert line.answer().endswith(EOT)


def test_contention_gives_the_instrument_the_right_of_way() -> None:
    line = bench()
    token = line.link.send(WHOLE, 0.0)
    assert line.answer() == ENQ
    line.hear(ENQ)
    assert line.answer() == b"", "the host stops and waits for the instrument's next ENQ"
    line.wait(1)
    line.hear(session(WHOLE))
    assert line.messages == [WHOLE]
    assert line.answer() == ACK + ACK + ENQ, "after the instrument's session the host asks again"
    line.hear(ACK)
    line.hear(ACK)
    assert line.hear(ACK) == [SendCompleted(token)]


def test_contention_without_a_following_session_ends_after_twenty_seconds() -> None:
    line = bench()
    line.link.send(WHOLE, 0.0)
    line.hear(ENQ)
    line.answer()
    line.wait(19)
    assert line.answer() == b""
    line.wait(2)
    assert line.answer() == ENQ


def test_instrument_side_asks_again_after_one_second_on_contention() -> None:
    line = bench(right_of_way=True)
    line.link.send(WHOLE, 0.0)
    line.hear(ENQ)
    line.answer()
    line.wait(1.5)
    assert line.answer() == ENQ


def test_receiver_interrupt_at_the_last_frame_is_an_acceptance() -> None:
    line = bench()
    token = line.link.send(WHOLE, 0.0)
    line.hear(ACK)
    line.hear(ACK)
    assert line.hear(EOT) == [SendCompleted(token)]
    line.link.send(WHOLE, line.now)
    line.answer()
    line.wait(14)
    assert line.answer() == b"", "no ENQ for 15 s after an interrupt"
    line.wait(2)
    assert line.answer() == ENQ


def test_receiver_interrupt_in_the_middle_sends_the_message_again_later() -> None:
    line = bench()
    token = line.link.send(WHOLE, 0.0)
    line.hear(ACK)
    line.answer()
    line.hear(EOT)
    assert line.answer() == EOT
    line.wait(16)
    assert line.answer() == ENQ
    line.hear(ACK)
    line.hear(ACK)
    assert line.hear(ACK) == [SendCompleted(token)]


def test_messages_wait_while_the_instrument_sends() -> None:
    line = bench()
    line.hear(ENQ)
    line.answer()
    line.link.send(WHOLE, 0.0)
    assert line.answer() == b""
    line.hear(frame(1, WHOLE) + EOT)
    assert line.answer() == ACK + ENQ


def test_sending_fails_when_the_connection_closes() -> None:
    line = bench()
    token = line.link.send(WHOLE, 0.0)
    assert line.link.disconnected(1.0) == [SendFailed(token, "the connection closed")]
    assert line.link.wake_at is None


def test_restricted_byte_in_our_own_message_is_our_error() -> None:
    with pytest.raises(LocalProtocolError):
        AstmLink().send(b"H|\x03\r", 0.0)


def test_checksum_equals_the_plain_sum_at_every_length() -> None:
    for length in (1, 2, 255, 256, 257, 511, 512, 513, 64_000):
        data = bytes((n * 7 + 255) % 256 for n in range(length))
        assert checksum(data) == sum(data) % 256
    for value in (b"\xff", b"\x7f", b"\x80", b"\x00"):  # the largest sums of each kind of text
        for length in range(250, 1100):
            assert checksum(value * length) == value[0] * length % 256


def test_every_state_is_in_the_table_and_can_be_left() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(TRANSITIONS.values())
