"""Links of proprietary texts: what a text is, what is answered and when, what silence means."""

from __future__ import annotations

import pytest

from protocols.errors import LocalProtocolError
from protocols.links.contract import (
    FrameReceived,
    FrameRefused,
    LinkEvent,
    MessageAbandoned,
    MessageReceived,
    SendCompleted,
    SendFailed,
)
from protocols.links.text import TextLink, TextOptions
from protocols.links.text_framing import (
    BLANK_LINE,
    ETB,
    FORM_FEED,
    HITACHI_ENDINGS,
    LINE_CR,
    LINE_CRLF,
    SILENCE,
    STX_ETX,
    STX_ETX_BCC,
    STX_GS_CHECKSUM,
    Check,
    Framing,
    Method,
)
from protocols.links.text_polling import PollingLink
from tests.support.wire import Bench

pytestmark = pytest.mark.req("GW-5")

ONE_WAY = {"accept": b"", "refuse": b""}


def bcc(text: bytes) -> bytes:
    """STX, the text, ETX and the exclusive or of both, made here by hand."""
    check = 0
    for byte in text + b"\x03":
        check ^= byte
    return b"\x02" + text + b"\x03" + bytes([check])


def line(framing: Framing = STX_ETX_BCC, **options: object) -> Bench:
    return Bench(TextLink(TextOptions(framing, **options)))  # type: ignore[arg-type]


def test_a_text_is_acknowledged_when_it_is_durable_and_not_before() -> None:
    bench = Bench(TextLink(TextOptions(STX_ETX_BCC)), acknowledge=False)
    events = bench.hear(bcc(b"D 1"))
    assert [type(each) for each in events] == [FrameReceived, MessageReceived]
    assert bench.answer() == b""
    assert isinstance(events[0], FrameReceived)
    bench.link.acknowledge(events[0].frame_id, bench.now)
    assert bench.answer() == b"\x06"


def test_a_damaged_text_is_refused_and_its_repetition_is_taken() -> None:
    bench = line()
    good = bcc(b"D 12 5.6")
    bench.hear(good.replace(b"5.6", b"5.7"))
    assert bench.answer() == b"\x15"
    bench.hear(good)
    assert bench.answer() == b"\x06"
    assert bench.messages == [b"D 12 5.6"]


def test_a_check_character_may_be_any_byte_even_one_that_begins_a_text() -> None:
    found = set()
    for first in range(0x20, 0x7F):
        for second in range(0x20, 0x7F):
            body = bytes([0x44, first, second])
            check = bcc(body)[-1]
            if check in (0x02, 0x03, 0x05, 0x06, 0x0D) and check not in found:
                found.add(check)
                bench = line()
                bench.hear(bcc(body) + bcc(b"next"))
                assert bench.messages == [body, b"next"], body
    assert found == {0x02, 0x03, 0x05, 0x06, 0x0D}


def test_a_text_whose_end_was_lost_does_not_swallow_the_next() -> None:
    bench = line()
    bench.hear(b"\x02D lost its end" + bcc(b"D whole"))
    assert bench.messages == [b"D whole"]
    assert "FrameRefused" in bench.kinds()


def test_without_a_check_the_beginning_of_the_next_text_ends_the_one_before() -> None:
    bench = line(STX_ETX, **ONE_WAY)
    bench.hear(b"\x02half\x02whole\x03")
    assert bench.messages == [b"whole"]
    assert [each.raw for each in bench.events if isinstance(each, FrameRefused)] == [b"\x02half"]


def test_blocks_that_end_with_etb_are_one_message_of_several_texts() -> None:
    bench = Bench(TextLink(TextOptions(Framing("blocks", goes_on=ETB))))
    bench.hear(b"\x02first\x17")
    assert bench.messages == []
    assert bench.answer() == b"\x06", "each block is durable for itself"
    bench.hear(b"\x02last\x03")
    assert bench.messages == [b"first\nlast"]


def test_a_message_whose_last_block_never_comes_is_kept_and_not_applied() -> None:
    bench = Bench(TextLink(TextOptions(Framing("blocks", goes_on=ETB), end_timeout_s=15)))
    bench.hear(b"\x02first\x17")
    bench.wait(14)
    assert not any(isinstance(each, MessageAbandoned) for each in bench.events)
    bench.wait(2)
    assert [each for each in bench.events if isinstance(each, MessageAbandoned)] == [
        MessageAbandoned((1,), "the rest of the message did not come")
    ]


def test_a_refused_block_is_sent_again_and_the_message_is_whole() -> None:
    bench = Bench(TextLink(TextOptions(Framing("blocks", goes_on=ETB))), acknowledge=False)
    first = bench.hear(b"\x02first\x17")[0]
    assert isinstance(first, FrameReceived)
    bench.link.acknowledge(first.frame_id, 0.0)
    last = bench.hear(b"\x02last\x03")[0]
    assert isinstance(last, FrameReceived)
    bench.link.refuse(last.frame_id, 0.0)
    assert bench.answer() == b"\x06\x15"
    again = bench.hear(b"\x02last\x03")
    assert again[-1] == MessageReceived((1, 3), b"first\nlast")


def test_a_repeated_result_is_stored_once_and_a_repeated_question_is_answered_again() -> None:
    bench = line(repeats=lambda body: body[:1] == b"D")
    bench.hear(bcc(b"D 1") + bcc(b"D 1"))
    assert bench.messages == [b"D 1"]
    assert bench.answer() == b"\x06\x06"
    bench.hear(bcc(b"R 1") + bcc(b"R 1"))
    assert bench.messages == [b"D 1", b"R 1", b"R 1"]


def test_the_same_result_an_hour_later_is_another_one() -> None:
    bench = line(repeats=lambda body: True)
    bench.hear(bcc(b"D 1"))
    bench.wait(3600)
    bench.hear(bcc(b"D 1"))
    assert bench.messages == [b"D 1", b"D 1"]


@pytest.mark.parametrize(
    ("framing", "sent", "texts"),
    [
        (LINE_CR, b"a,1\rb,2\r", [b"a,1", b"b,2"]),
        (LINE_CRLF, b"a,1\r\nb\r2\r\n", [b"a,1", b"b\r2"]),
        (BLANK_LINE, b"a\r\nb\r\n\r\nc\r\n\r\n", [b"a\r\nb", b"c"]),
        (FORM_FEED, b"page 1\r\n\x0cpage 2\x0c", [b"page 1\r\n", b"page 2"]),
    ],
    ids=lambda each: each.name if isinstance(each, Framing) else "",
)
def test_lines_and_forms_end_as_their_instrument_ends_them(framing: Framing, sent: bytes, texts: list[bytes]) -> None:
    bench = line(framing, **ONE_WAY)
    bench.hear(sent)
    assert bench.messages == texts
    assert bench.answer() == b""


def test_a_printout_ends_with_silence_and_not_with_a_pause_of_the_printer() -> None:
    bench = line(SILENCE, **ONE_WAY, idle_end_s=2.0)
    bench.hear(b"pH 7.40\r\n")
    bench.wait(1.9)
    bench.hear(b"pO2 90\r\n")
    bench.wait(1.9)
    assert bench.messages == []
    bench.wait(0.2)
    assert bench.messages == [b"pH 7.40\r\npO2 90"]


def test_a_printout_is_whole_when_its_printer_hangs_up() -> None:
    bench = line(SILENCE, **ONE_WAY, idle_end_s=2.0)
    bench.hear(b"pH 7.40\r\n")
    events = bench.link.disconnected(bench.now)
    assert MessageReceived((1,), b"pH 7.40") in events
    assert bench.link.acknowledge(1, bench.now) == []


def test_what_a_printer_sends_while_the_disk_is_full_is_offered_until_it_is_kept() -> None:
    bench = Bench(TextLink(TextOptions(SILENCE, **ONE_WAY, idle_end_s=2.0, offer_again_s=5.0)), acknowledge=False)  # type: ignore[arg-type]
    bench.hear(b"pH 7.40\r\n")
    first = bench.wait(2)
    assert isinstance(first[0], FrameReceived)
    bench.link.refuse(first[0].frame_id, bench.now)
    bench.hear(b"next page\r\n")
    again = bench.wait(5)
    assert [each for each in again if isinstance(each, MessageReceived)] == [MessageReceived((2,), b"pH 7.40")]
    bench.link.acknowledge(2, bench.now)
    after = bench.wait(2)
    assert [each.payload for each in after if isinstance(each, MessageReceived)] == [b"next page"]


def test_also_when_the_printer_hung_up_meanwhile() -> None:
    bench = Bench(TextLink(TextOptions(SILENCE, **ONE_WAY, idle_end_s=2.0, offer_again_s=5.0)), acknowledge=False)  # type: ignore[arg-type]
    bench.hear(b"pH 7.40\r\n")
    frame = bench.link.disconnected(bench.now)[0]
    assert isinstance(frame, FrameReceived)
    bench.link.refuse(frame.frame_id, bench.now)
    assert [type(each) for each in bench.wait(5)] == [FrameReceived, MessageReceived]


def test_behind_a_text_that_waits_for_its_commit_nothing_is_read_and_nothing_lost() -> None:
    bench = Bench(TextLink(TextOptions(STX_ETX)), acknowledge=False)
    assert len(bench.hear(b"\x02one\x03\x02two\x03")) == 2
    events = bench.link.acknowledge(1, 0.0)
    assert events[-1] == MessageReceived((2,), b"two")


def test_an_enquiry_is_answered_where_the_instrument_makes_one() -> None:
    bench = line(STX_GS_CHECKSUM, handshake=True)
    bench.hear(b"\x05")
    assert bench.answer() == b"\x06"
    body = b"\x1emtrsl|\x1d"
    bench.hear(b"\x02" + body + b"%02x" % (sum(body) % 256) + b"\x03\x04")
    assert bench.messages == [b"\x1emtrsl|"]
    assert bench.answer() == b"\x06"


def test_our_text_is_written_again_when_refused_and_given_up_after_three_times() -> None:
    bench = line(STX_ETX_BCC)
    token = bench.link.send(b"S 1", bench.now)
    assert bench.answer() == bcc(b"S 1")
    bench.hear(b"\x15")
    assert bench.answer() == bcc(b"S 1")
    bench.hear(b"\x06")
    assert bench.events[-1] == SendCompleted(token)
    token = bench.link.send(b"S 2", bench.now)
    for _ in range(3):
        assert bench.answer() == bcc(b"S 2")
        bench.wait(10)
    assert [each for each in bench.events if isinstance(each, SendFailed)] == [
        SendFailed(token, "the instrument did not answer (3 times)")
    ]
    assert bench.answer() == b""


def test_a_text_of_ours_never_holds_the_codes_that_frame_it() -> None:
    with pytest.raises(LocalProtocolError):
        line().link.send(b"S \x03 1", 0.0)


def test_endless_garbage_stays_within_its_bound() -> None:
    link = TextLink(TextOptions(STX_ETX_BCC, message_limit=10_000))
    refused = 0
    for number in range(200):
        events: list[LinkEvent] = link.receive(b"\x02" + b"x" * 999, float(number) / 100)
        refused += sum(isinstance(each, FrameRefused) for each in events)
        assert len(link._buffer) <= 11_000
    assert refused > 10
    assert link.bytes_to_send().count(b"\x15") >= 1


@pytest.mark.parametrize("name", HITACHI_ENDINGS)
def test_a_hitachi_is_answered_in_the_ending_it_was_set_to(name: str) -> None:
    framing = HITACHI_ENDINGS[name]
    bench = Bench(PollingLink(TextOptions(framing)))
    bench.hear(framing.wrap(b">"))
    assert bench.answer() == framing.wrap(b">")
    bench.hear(framing.wrap(b":A data"))
    assert bench.messages == [b":A data"]
    assert bench.answer() == framing.wrap(b">")


def test_the_five_endings_are_those_of_the_manual() -> None:
    """Hitachi 902 service manual p. 16-2; MOR as two open drivers write it."""
    assert HITACHI_ENDINGS["ETX+BCC"].wrap(b">") == b"\x02>\x03="
    assert HITACHI_ENDINGS["CR+LF+ETX"].wrap(b">") == b"\x02>\r\n\x03"
    assert HITACHI_ENDINGS["ETX"].wrap(b">") == b"\x02>\x03"
    assert HITACHI_ENDINGS["ETX+CR+LF"].wrap(b">") == b"\x02>\x03\r\n"
    assert HITACHI_ENDINGS["ETX+CHECKSUM+CR"].wrap(b">") == b"\x02>\x033E\r"


def test_a_hitachi_that_the_disk_is_too_full_for_hears_sus_and_sends_the_text_again() -> None:
    bench = Bench(PollingLink(TextOptions(STX_ETX_BCC)), acknowledge=False)
    frame = bench.hear(bcc(b":A 1"))[0]
    assert isinstance(frame, FrameReceived)
    bench.link.refuse(frame.frame_id, 0.0)
    assert bench.answer() == bcc(b"@")
    assert isinstance(bench.hear(bcc(b":A 1"))[1], MessageReceived)


def test_a_hitachi_that_begins_again_leaves_its_half_sample_kept_and_not_applied() -> None:
    bench = Bench(PollingLink(TextOptions(STX_ETX_BCC)))
    bench.hear(bcc(b"1A first"))
    bench.hear(bcc(b">"))
    assert [each for each in bench.events if isinstance(each, MessageAbandoned)] == [
        MessageAbandoned((1,), "the analyzer began again")
    ]


def test_a_hitachi_that_polls_for_ever_fills_nothing() -> None:
    bench = Bench(PollingLink(TextOptions(STX_ETX_BCC)))
    for _ in range(1000):
        bench.hear(bcc(b">"))
    assert bench.events == []
    assert bench.answer() == bcc(b">") * 1000


def test_which_bytes_a_check_counts_is_the_vendors_choice() -> None:
    assert Check(Method.XOR).of(b"ABC") == b"@"
    assert Check(Method.SUM, hex_digits=True).of(b"ABC") == b"C6"
    counted = Framing("start counted", check=Check(Method.SUM, hex_digits=True, counts_start=True))
    assert counted.wrap(b"\x06") == b"\x02\x06\x030B", "the acknowledgement of a RAPIDLab"
