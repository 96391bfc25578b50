"""Messages of several texts: what follows a refused text is joined with the rest only if it repeats it."""

from __future__ import annotations

import pytest

from protocols.driver import discover
from protocols.links.contract import MessageAbandoned
from protocols.links.text import TextLink, TextOptions
from protocols.links.text_framing import ACK, ETB, SILENCE, STX_ETX, STX_ETX_BCC
from tests.support.wire import Bench

pytestmark = pytest.mark.req("GW-2", "GW-5")

ONE, TWO = "261100020001", "261100020002"


def au(block: str, tests: str, specimen: str = ONE, number: str = "0007") -> bytes:
    """A result of an AU480: rack 0012, cup 03."""
    return f"D 001203 {number}{specimen:<13}    {block}{tests}".encode()


def hitachi(frame: str, tests: str, specimen: str = ONE) -> bytes:
    """A result of a 7180."""
    return f"{frame}A     70 12  {specimen}".ljust(50).encode() + tests.encode()


FIRST, MIDDLE, LAST = au("0", "001  5.20H "), au("1", "002 140.1  "), au("E", "003  4.10  ")
OTHER = au("E", "001  6.60  ", TWO, "0008")
H_FIRST, H_MIDDLE, H_LAST = hitachi("1", "  1  45.2 "), hitachi("2", "  2 132.0H"), hitachi(":", "  3   0.9 ")
H_OTHER = hitachi(":", "  1  38.0 ", TWO)


def damaged(body: bytes, place: int = -3) -> bytes:
    """A text whose check does not fit: one byte became another on the way."""
    text = bytearray(STX_ETX_BCC.wrap(body))
    text[place - 2] ^= 0x01
    return bytes(text)


def heard(driver: str, *texts: bytes) -> Bench:
    bench = Bench(discover()[driver].new_link())
    for text in texts:
        bench.hear(text if text.startswith(b"\x02") else STX_ETX_BCC.wrap(text))
    bench.wait(60)
    return bench


def abandoned(bench: Bench) -> list[int]:
    return [frame_id for each in bench.events if isinstance(each, MessageAbandoned) for frame_id in each.frame_ids]


MESSAGES = [
    pytest.param("beckman_au", (FIRST, MIDDLE, LAST), OTHER, id="beckman_au"),
    pytest.param("hitachi_7xxx", (H_FIRST, H_MIDDLE, H_LAST), H_OTHER, id="hitachi_7xxx"),
]
each_message = pytest.mark.parametrize(("driver", "texts", "other"), MESSAGES)


@each_message
def test_blocks_of_one_sample_are_one_message(driver: str, texts: tuple[bytes, ...], other: bytes) -> None:
    bench = heard(driver, *texts, other)
    assert bench.messages == [b"\n".join(texts), other]


@each_message
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_refused_block_that_is_repeated_leaves_no_trace(
    driver: str, texts: tuple[bytes, ...], other: bytes, lost: int
) -> None:
    for place in range(2, len(texts[lost]) + 1):
        bench = heard(driver, *texts[:lost], damaged(texts[lost], -place), *texts[lost:], other)
        assert bench.messages == [b"\n".join(texts), other], place
        assert not abandoned(bench)


@each_message
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_message_with_a_hole_is_kept_and_never_joined_with_what_follows(
    driver: str, texts: tuple[bytes, ...], other: bytes, lost: int
) -> None:
    rest = texts[lost + 1 :]
    bench = heard(driver, *texts[:lost], damaged(texts[lost]), *rest, other)
    assert bench.messages == [other]
    assert len(abandoned(bench)) == len(texts) - 1, "every block that arrived whole is kept"


@each_message
@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_block_whose_beginning_was_lost_counts_as_refused(
    driver: str, texts: tuple[bytes, ...], other: bytes, lost: int
) -> None:
    headless = b"x" + STX_ETX_BCC.wrap(texts[lost])[1:]
    bench = Bench(discover()[driver].new_link())
    for text in (*texts[:lost], None, *texts[lost + 1 :], other):
        bench.hear(headless if text is None else STX_ETX_BCC.wrap(text))
    assert bench.messages == [other]


@each_message
def test_the_blocks_of_two_samples_are_never_joined(driver: str, texts: tuple[bytes, ...], other: bytes) -> None:
    """The last block was lost without a trace: no byte of it arrived."""
    bench = heard(driver, texts[0], other)
    assert bench.messages == [other]
    assert abandoned(bench) == [1]


@each_message
def test_a_message_that_begins_anew_after_a_hole_is_whole(driver: str, texts: tuple[bytes, ...], other: bytes) -> None:
    bench = heard(driver, texts[0], damaged(texts[1]), texts[2], *texts)
    assert bench.messages == [b"\n".join(texts)]


def test_a_refused_text_of_its_own_does_not_touch_the_next_sample() -> None:
    assert heard("beckman_au", damaged(OTHER), LAST).messages == [LAST]


def test_a_hole_is_forgotten_with_the_line() -> None:
    bench = heard("beckman_au", FIRST, damaged(MIDDLE))
    bench.link.disconnected(bench.now)
    bench.hear(STX_ETX_BCC.wrap(LAST))
    assert bench.messages == [LAST]


def test_blocks_without_a_number_are_abandoned_after_a_hole_to_the_end_of_their_message() -> None:
    framing = STX_ETX_BCC.__class__("blocks", check=STX_ETX_BCC.check, goes_on=ETB)

    def text(body: bytes, end: bytes = b"\x03") -> bytes:
        check = 0
        for byte in body + end:
            check ^= byte
        return b"\x02" + body + end + bytes([check])

    bench = Bench(TextLink(TextOptions(framing)))
    lost = bytearray(text(b"the second block", ETB))
    lost[5] ^= 1
    for each in (text(b"the first block", ETB), bytes(lost), text(b"something else"), text(b"another message")):
        bench.hear(each)
    assert bench.messages == [b"another message"]
    assert bench.answer().count(ACK) == 3, "what is kept is acknowledged"


@pytest.mark.parametrize(
    ("options", "checked"),
    [
        (TextOptions(STX_ETX_BCC), True),
        (TextOptions(STX_ETX), False),
        (TextOptions(SILENCE, accept=b"", refuse=b"", idle_end_s=2.0), False),
        (TextOptions(STX_ETX_BCC, idle_end_s=2.0), False),
    ],
    ids=["bcc", "no_check", "silence", "bcc_or_silence"],
)
def test_a_link_says_whether_a_check_stands_behind_its_texts(options: TextOptions, checked: bool) -> None:
    assert TextLink(options).checked is checked
