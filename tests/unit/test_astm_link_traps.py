"""Faults that open receivers are known to fail at, and the corners of LIS01-A2 that instruments really turn.

The list is that of a probe of three receivers over TCP (23 faults) and of what their sources get wrong; the plain cases
stand in `test_astm_link.py`.
"""

from __future__ import annotations

import pytest

from protocols.driver import discover
from protocols.errors import LocalProtocolError
from protocols.links.astm import AstmLink, State
from protocols.links.astm_frames import AstmOptions, Checksum, FrameNumbers
from protocols.links.contract import FrameReceived, FrameRefused, MessageAbandoned, SendCompleted, SendFailed
from protocols.model import Observation, Undecoded
from tests.support.wire import Bench, frame, session

ENQ, ACK, NAK, EOT = b"\x05", b"\x06", b"\x15", b"\x04"
H = b"H|\\^&|||XN-550\r"
P = b"P|1\r"
L = b"L|1|N\r"
WHOLE = H + L

pytestmark = pytest.mark.req("GW-2")


def bench(**options: object) -> Bench:
    return Bench(AstmLink(AstmOptions(**options)))  # type: ignore[arg-type]


def refusals(line: Bench) -> list[str]:
    return [event.reason for event in line.events if isinstance(event, FrameRefused)]


# ---------------------------------------------------------------------- what TCP does to the bytes


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([ENQ + frame(1, WHOLE)], id="ENQ and STX in one segment"),
        pytest.param([ENQ, frame(1, WHOLE)[:9], frame(1, WHOLE)[9:]], id="a frame in two segments"),
        pytest.param([bytes([each]) for each in ENQ + frame(1, WHOLE)], id="byte by byte"),
        pytest.param([ENQ, frame(1, H), frame(2, L)[:-2], b"\r", b"\n"], id="CR and LF alone"),
        pytest.param([ENQ, frame(1, H)[:-2], b"\r\n" + frame(2, L)], id="CR LF together with the next STX"),
        pytest.param([ENQ, frame(1, H)[:-1], b"\n" + frame(2, L)[:5], frame(2, L)[5:]], id="LF before the next STX"),
        pytest.param([b"\x06\r\n" + ENQ + ACK, ACK + frame(1, WHOLE)], id="stray acknowledgements and line ends"),
        pytest.param([EOT + EOT + ENQ, frame(1, WHOLE)], id="EOT before ENQ"),
        pytest.param([b"\x00\xff\x81" + ENQ, frame(1, WHOLE)], id="noise before ENQ"),
        pytest.param([ENQ + EOT, ENQ + EOT + ENQ, frame(1, WHOLE)], id="keep-alives of a Yumizen"),
    ],
)
def test_message_is_taken_once_however_the_stream_is_cut(pieces: list[bytes]) -> None:
    line = bench()
    line.hear_each(pieces)
    line.hear(EOT)
    line.wait(1)
    assert line.messages == [WHOLE]
    assert isinstance(line.link, AstmLink)
    assert line.link.state is State.NEUTRAL


def test_two_messages_of_one_second_are_both_kept() -> None:
    """A peer names its files by the second: the second message overwrites the first."""
    line = bench()
    line.hear(session(WHOLE) + session(WHOLE))
    line.hear(session(H + P + L))
    assert line.messages == [WHOLE, WHOLE, H + P + L]


# ---------------------------------------------------------------------- checks of one frame


@pytest.mark.parametrize("number", [0, 2, 3, 4, 5, 6, 7])
def test_only_the_next_number_is_taken(number: int) -> None:
    line = bench()
    line.hear(ENQ + frame(number, WHOLE))
    assert line.answer() == ACK + NAK
    assert line.messages == []


def test_frame_lost_after_seven_is_refused_where_zero_is_due() -> None:
    line = bench()
    records = [b"C|%d\r" % n for n in range(1, 7)]
    line.hear(ENQ + b"".join(frame(n, text) for n, text in enumerate([H, *records], start=1)))
    line.answer()
    line.hear(frame(9, L))
    assert line.answer() == NAK
    line.hear(frame(8, P) + frame(9, L))
    assert line.messages == [b"".join([H, *records, P, L])]


def test_every_middle_frame_is_checked_by_itself() -> None:
    """A checksum computed anew over the joined text always fits: two peers deliver the damaged frame."""
    texts = [H[:9], H[9:] + b"R|1|^^^GLU|5", b".1|mmol/L\r", L]
    for victim in range(3):
        line = bench()
        line.hear(ENQ)
        for number, text in enumerate(texts, start=1):
            good = frame(number, text, last=number == 4)
            if number - 1 == victim:
                line.answer()
                line.hear(good.replace(text[-1:], b"~", 1))
                assert line.answer() == NAK
            line.hear(good)
        assert line.messages == [b"".join(texts)]


@pytest.mark.parametrize("digits", [b"ZZ", b"  ", b"0", b"\r\n", b"\x03\x03"])
def test_what_is_no_checksum_is_refused(digits: bytes) -> None:
    line = bench()
    line.hear(ENQ + frame(1, WHOLE)[:-4] + digits + b"\r\n")
    line.wait(10)
    assert line.messages == []
    assert line.answer() == ACK + NAK


def test_repetition_must_be_equal_byte_by_byte() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H) + frame(2, b"R|1|^^^GLU|5.1\r"))
    line.answer()
    line.hear(frame(2, b"R|1|^^^GLU|5.2\r"))
    assert line.answer() == NAK
    line.hear(frame(2, b"R|1|^^^GLU|5.1\r") + frame(3, L))
    assert line.messages == [H + b"R|1|^^^GLU|5.1\r" + L]


def test_repetition_of_the_last_frame_is_answered_and_the_message_not_doubled() -> None:
    line = bench()
    line.hear(ENQ + frame(1, WHOLE))
    line.answer()
    for _ in range(5):
        line.hear(frame(1, WHOLE))
        assert line.answer() == ACK
    line.hear(EOT)
    assert line.messages == [WHOLE]
    assert line.kinds().count("FrameReceived") == 1


def test_frame_refused_six_times_leaves_the_line_ready_for_the_next_session() -> None:
    line = bench()
    line.hear(ENQ)
    bad = frame(1, WHOLE).replace(b"XN", b"YN")
    for _ in range(6):
        line.answer()
        line.hear(bad)
        assert line.answer() == NAK
    line.hear(EOT)
    line.wait(1)
    line.hear(session(WHOLE))
    assert line.messages == [WHOLE]


def test_text_of_an_older_sender_and_of_a_newer_one_fit() -> None:
    """240 characters (E1381-95), 26 647 (seen on a Yumizen), 64 000 (LIS01-A2 8.3.1); one more is refused whole."""
    for size in (240, 26_647, 64_000):
        text = H + b"M|1|" + b"x" * (size - len(H) - len(L) - 5) + b"\r" + L
        assert len(text) == size
        line = bench()
        line.hear(ENQ + frame(1, text))
        assert line.messages == [text]
    line = bench()
    line.hear(ENQ + frame(1, WHOLE.ljust(64_001, b"x")))
    assert refusals(line) == ["frame longer than the limit"]
    assert line.messages == []


def test_refused_frame_is_shown_by_its_head() -> None:
    line = bench(received_text_limit=1000)
    line.hear(ENQ)
    line.hear_each([b"\x021H|\\^&|||XN-550|" + b"x" * 5000, b"y" * 5000, b"\x0300\r\n"])
    shown = [event.raw for event in line.events if isinstance(event, FrameRefused)]
    assert shown[0].startswith(b"\x021H|\\^&|||XN-550|")
    assert len(shown[0]) == 512


# ---------------------------------------------------------------------- text that is not plain


def test_line_ends_and_tabs_inside_the_text_stay_as_they_came() -> None:
    text = H + b"C|1|I|first\r\nsecond\tthird\n|G\r\n" + L
    line = bench()
    line.hear(ENQ + frame(1, text))
    assert line.messages == [text]


def test_cut_inside_an_escape_and_inside_a_character_is_joined_before_it_is_read() -> None:
    comment = "C|1|I|细胞形态&F&异常|G\r".encode("gb18030")
    text = H + P + b"O|1|2026||^^^WBC\rR|1|^^^WBC|5.1|10*9/L\r" + comment + L
    half = text.index(comment)
    for cut in range(half, half + len(comment)):
        line = Bench(discover()["generic_astm"].new_link())
        line.hear(ENQ + frame(1, text[:cut], last=False) + frame(2, text[cut:]))
        assert line.messages == [text]
        found = discover()["generic_astm"].decode(line.messages[0])
        result = next(item for item in found.items if isinstance(item, Observation))
        assert any("细胞形态" in each and "异常" in each for each in result.comments), cut


def test_second_bytes_of_gbk_that_look_like_delimiters_pass_the_line() -> None:
    """GBK's second byte may be 5C, 5E or 7C, never a control byte."""
    text = H + b"C|1|I|\x81\x5c\x81\x5e\x81\x7c|G\r" + L
    line = bench()
    line.hear(ENQ + frame(1, text))
    assert line.messages == [text]
    sender = bench()
    token = sender.link.send(text, 0.0)
    sender.hear(ACK)
    sender.hear_each([ACK, ACK])
    assert sender.hear(ACK) == [SendCompleted(token)]


@pytest.mark.parametrize(
    "header",
    [
        b"H|\\^&|||Nobody^Knows^This|||||||P|E 1394-97|20261101080000\r",
        b"H|`^&|||EM200^SN001|||||||P|1|20261101\r",
        b"H|@^\\|abc||GeneXpert^6.2|||||x||P|1394-97|20261101080000\r",
    ],
    ids=["unknown sender with fourteen fields", "backtick as repeat delimiter", "repeat @ and escape backslash"],
)
def test_acknowledged_message_is_never_lost_to_its_header(header: bytes) -> None:
    """A peer acknowledges six frames and then drops the message whose header it cannot place."""
    text = header + P + b"O|1|S1||^^^GLU\rR|1|^^^GLU|5.1|mmol/L||N||F\r" + L
    driver = discover()["generic_astm"]
    line = Bench(driver.new_link())
    line.hear(session(*[record + b"\r" for record in text.split(b"\r")[:-1]]))
    items = driver.decode(line.messages[0]).items
    assert [(item.code, item.value) for item in items if isinstance(item, Observation)] == [("GLU", "5.1")]
    assert not [item for item in items if isinstance(item, Undecoded)]


# ---------------------------------------------------------------------- time


def test_padding_does_not_prolong_the_thirty_seconds() -> None:
    """6.5.2.4 counts from our last reply; a line that drips line ends or acknowledgements is silent all the same."""
    line = bench()
    line.hear(ENQ + frame(1, H))
    for _ in range(5):
        line.wait(5.5)
        line.hear(b"\r\n\x00\x06")
    assert not line.kinds().count("MessageAbandoned")
    line.wait(3)
    assert line.kinds()[-1] == "MessageAbandoned"


def test_time_out_keeps_the_frames_of_the_message_by_name() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H) + frame(2, P))
    line.wait(31)
    assert [event.frame_ids for event in line.events if isinstance(event, MessageAbandoned)] == [(1, 2)]


def test_instrument_that_was_switched_off_in_a_session_is_served_when_it_comes_back() -> None:
    line = bench()
    line.hear(ENQ + frame(1, H))
    line.answer()
    line.wait(600)
    line.hear(ENQ)
    line.hear(frame(1, WHOLE) + EOT)
    assert line.answer() == ACK + ACK
    assert line.messages == [WHOLE]


def test_order_waits_until_the_instrument_that_made_us_yield_had_its_session_and_broke_it_off() -> None:
    line = bench()
    line.link.send(WHOLE, 0.0)
    line.hear(ENQ)
    line.wait(2)
    line.hear(ENQ)
    line.answer()
    line.hear(frame(1, H))
    line.wait(40)
    assert line.answer() == ACK + ENQ


# ---------------------------------------------------------------------- the instrument answers strangely


@pytest.mark.parametrize("reply", [b"A", b"\x02", b"\x7f", b"\xff", ENQ], ids=["letter", "STX", "DEL", "0xff", "ENQ"])
def test_reply_that_is_none_counts_as_a_refusal(reply: bytes) -> None:
    """6.5.1.2: any byte but ACK and EOT."""
    line = bench()
    token = line.link.send(WHOLE, 0.0)
    line.hear(ACK)
    assert line.answer() == ENQ + frame(1, H)
    for _ in range(5):
        line.hear(reply)
        assert line.answer() == frame(1, H)
    assert line.hear(reply) == [SendFailed(token, "a frame was refused six times")]
    assert line.answer() == EOT


def test_burst_of_noise_counts_as_one_refusal() -> None:
    line = bench()
    token = line.link.send(WHOLE, 0.0)
    line.hear(ACK)
    line.answer()
    line.hear(b"\x7f\x7e\xff\x00\x81noise and more noise")
    assert line.answer() == frame(1, H)
    line.hear(ACK)
    assert line.hear(ACK) == [SendCompleted(token)]


def test_doubled_ack_does_not_pass_a_frame_that_was_not_sent_yet() -> None:
    line = bench()
    token = line.link.send(H + P + L, 0.0)
    line.hear(ACK + ACK)
    assert line.answer() == ENQ + frame(1, H), "the second ACK came before the frame: it is not its answer"
    line.hear(NAK)
    assert line.answer() == frame(1, H)
    line.hear_each([ACK, ACK])
    assert line.hear(ACK) == [SendCompleted(token)]


def test_refusals_are_counted_for_each_frame_by_itself() -> None:
    line = bench()
    token = line.link.send(H + P + L, 0.0)
    line.hear(ACK)
    for _ in range(3):
        line.hear_each([NAK] * 5)
        last = line.hear(ACK)
    assert last == [SendCompleted(token)]


def test_instrument_that_gives_up_after_three_has_a_name() -> None:
    """cobas c111 ends after three refusals instead of six."""
    line = bench(attempts=3)
    token = line.link.send(WHOLE, 0.0)
    line.hear(ACK)
    line.hear_each([NAK, NAK])
    assert line.hear(NAK) == [SendFailed(token, "a frame was refused six times")]


def test_line_is_usable_after_a_message_was_given_up() -> None:
    line = bench()
    line.link.send(WHOLE, 0.0)
    line.hear(ACK)
    line.hear_each([NAK] * 6)
    line.answer()
    line.hear(session(WHOLE))
    assert line.messages == [WHOLE]
    token = line.link.send(WHOLE, line.now)
    assert line.answer().endswith(ENQ)
    line.hear_each([ACK, ACK])
    assert line.hear(ACK) == [SendCompleted(token)]


def test_interrupt_during_a_bid_does_not_end_it() -> None:
    line = bench()
    token = line.link.send(WHOLE, 0.0)
    line.hear(EOT + b"\r\n")
    line.hear_each([ACK, ACK])
    assert line.hear(ACK) == [SendCompleted(token)]


# ---------------------------------------------------------------------- deviations by name


def test_sender_without_frames_in_a_session_is_answered() -> None:
    line = bench(unframed=True)
    line.hear(ENQ)
    line.hear_each([b"H|\\^&\rR|1|^^^GLU|5\r", b"L|1|N\r"])
    line.hear(EOT)
    assert line.messages == [b"H|\\^&\rR|1|^^^GLU|5\rL|1|N\r"]
    assert line.answer() == ACK + ACK


def test_sender_without_frames_whose_last_record_ends_with_eot() -> None:
    line = bench(unframed=True)
    line.hear(ENQ + b"H|\\^&\rR|1|^^^GLU|5\rL|1|N" + EOT)
    assert line.messages == [b"H|\\^&\rR|1|^^^GLU|5\rL|1|N"]


def test_sender_without_session_and_frames_is_answered_where_the_driver_says_so() -> None:
    line = bench(unframed=True, bare_acknowledged=True)
    line.hear(WHOLE + WHOLE)
    assert line.messages == [WHOLE, WHOLE]
    assert line.answer() == ACK + ACK


def test_sender_without_frames_is_noise_where_no_driver_says_so() -> None:
    line = bench()
    line.hear(WHOLE)
    line.wait(60)
    assert line.messages == []
    assert refusals(line) == ["bytes outside a session"]


def test_unframed_line_still_takes_frames() -> None:
    line = bench(unframed=True)
    line.hear(session(H, P, L) + WHOLE)
    assert line.messages == [H + P + L, WHOLE]


def test_frames_without_numbers() -> None:
    line = bench(frame_numbers=FrameNumbers.ABSENT)
    parts = [H, P, L]
    line.hear(ENQ)
    for text in parts:
        body = text + b"\x03"
        line.hear(b"\x02" + body + b"%02X\r\n" % (sum(body) % 256))
    assert line.messages == [H + P + L]


def test_frames_with_numbers_that_mean_nothing() -> None:
    line = bench(frame_numbers=FrameNumbers.IGNORED)
    line.hear(ENQ + frame(5, H) + frame(5, P) + frame(2, L))
    assert line.messages == [H + P + L]


def test_unchecked_text_may_hold_what_looks_like_a_checksum() -> None:
    line = bench(checksum=Checksum.ABSENT)
    line.hear_each([ENQ, b"\x021" + H + b"\x03\r\n", b"\x022" + b"R|1|^^^X|FF\r" + L + b"\x03\r\n"])
    assert line.messages == [H + b"R|1|^^^X|FF\r" + L]


def test_frames_without_checksum_and_without_line_end() -> None:
    line = bench(checksum=Checksum.ABSENT)
    line.hear(ENQ + b"\x021" + H + b"\x03")
    line.wait(1)
    line.hear(b"\x022" + L + b"\x03")
    line.wait(1)
    assert line.messages == [WHOLE]


# ---------------------------------------------------------------------- bounds and the end of a connection


def test_message_of_very_many_tiny_frames_is_abandoned_at_the_bound() -> None:
    line = bench(message_frames_limit=100)
    line.hear(ENQ)
    for number in range(1, 102):
        line.hear(frame(number, b"C", last=False))
    assert refusals(line) == ["message longer than the limit"]
    assert [len(event.frame_ids) for event in line.events if isinstance(event, MessageAbandoned)] == [100]


def test_message_without_frames_is_bounded() -> None:
    line = bench(unframed=True, message_limit=10_000)
    for _ in range(50):
        line.hear(b"H|\\^&\r" if _ == 0 else b"R|1|^^^X|5\r" * 100)
        assert isinstance(line.link, AstmLink)
        assert len(line.link._buffer) < 12_000
    assert refusals(line)[0] == "message longer than the limit"
    assert all(len(event.raw) <= 512 for event in line.events if isinstance(event, FrameRefused))


def test_text_without_end_in_a_session_is_bounded() -> None:
    line = bench()
    line.hear(ENQ)
    for _ in range(200):
        line.hear(b"x" * 10_000)
    assert isinstance(line.link, AstmLink)
    assert len(line.link._buffer) <= 64_000 + 10_000
    line.wait(10)
    line.hear(EOT)
    line.wait(1)
    line.hear(session(WHOLE))
    assert line.messages == [WHOLE]


@pytest.mark.parametrize("when", ["before", "in a frame", "holding", "asking", "sending"])
def test_connection_lost_at_any_moment_leaves_a_fresh_line(when: str) -> None:
    line = Bench(AstmLink(), acknowledge=False)
    if when == "in a frame":
        line.hear(ENQ + frame(1, WHOLE)[:12])
    elif when == "holding":
        line.hear(ENQ + frame(1, WHOLE) + EOT)
    elif when in ("asking", "sending"):
        line.link.send(WHOLE, 0.0)
        line.hear(ACK if when == "sending" else b"")
    lost = line.link.disconnected(1.0)
    assert line.link.bytes_to_send() == b"", "nothing is said to the next connection that was meant for the last"
    assert line.link.wake_at is None
    assert all(isinstance(event, SendFailed) for event in lost)
    line.answer()
    line.events.clear()
    again = Bench(line.link)
    again.hear(session(WHOLE))
    assert again.messages == [WHOLE]
    assert again.answer() == ACK + ACK


def test_commit_of_an_old_connection_is_not_taken_for_one_of_the_new() -> None:
    line = Bench(AstmLink(), acknowledge=False)
    line.hear(ENQ + frame(1, WHOLE))
    line.link.disconnected(1.0)
    line.answer()
    received = line.hear(ENQ + frame(1, WHOLE))
    assert line.answer() == ACK
    assert line.link.acknowledge(1, 2.0) == []
    assert line.answer() == b"", "the new frame is not durable yet"
    assert isinstance(received[0], FrameReceived)
    line.link.acknowledge(received[0].frame_id, 2.0)
    assert line.answer() == ACK
    with pytest.raises(LocalProtocolError):
        line.link.acknowledge(received[0].frame_id, 2.0)


def test_sender_that_goes_on_after_a_refusal_never_has_its_message_joined_with_a_hole() -> None:
    """Eight frames later the number fits again, and what lies between is lost (the frame loop of one peer does so)."""
    records = [b"C|%d\r" % n for n in range(1, 20)]
    frames = [frame(number, text) for number, text in enumerate([H, *records, L], start=1)]
    for lost in range(len(frames)):
        line = bench()
        line.hear(ENQ)
        for number, each in enumerate(frames):
            line.hear(each.replace(b"|", b"~", 1) if number == lost else each)
        line.hear(EOT)
        line.wait(1)
        assert line.messages == []
    line.hear(session(WHOLE))
    assert line.messages == [WHOLE]


def test_last_frame_that_lost_its_end_is_no_part_that_may_be_missing() -> None:
    """The rest would look like a whole message without terminator."""
    line = bench()
    line.hear(ENQ + frame(1, H) + frame(2, P))
    line.hear(frame(3, b"R|1|^^^GLU|5\r").replace(b"\x03", b"\x83") + EOT)
    line.wait(60)
    assert line.messages == []
    assert [event.frame_ids for event in line.events if isinstance(event, MessageAbandoned)] == [(1, 2)]


def test_silence_behind_text_that_was_cut_at_the_bound_is_only_silence() -> None:
    """Nothing is left in the buffer then: the session goes on until its own time-out."""
    line = bench(received_text_limit=1000)
    line.hear(ENQ + frame(1, H))
    line.hear(b"x" * 1001)
    line.wait(20)
    assert line.kinds().count("MessageAbandoned") == 0
    line.wait(15)
    assert line.kinds().count("MessageAbandoned") == 1
    line.hear(session(WHOLE))
    assert line.messages == [WHOLE]
