"""Links of proprietary texts and dropped files under any split, any damaged byte and any nonsense."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.driver import Driver, discover
from protocols.links.contract import FrameReceived, Link, MessageReceived
from protocols.links.file_drop import LARGEST, FileLink, announce
from protocols.links.text import TextLink, TextOptions
from protocols.links.text_framing import HITACHI_ENDINGS, SILENCE, STX_ETX_BCC, STX_GS_CHECKSUM, Framing
from protocols.links.text_polling import PollingLink
from tests.support.transcripts import cases_of, read_case
from tests.support.wire import Bench

pytestmark = pytest.mark.req("GW-5")

TEXTS = {each.id: each for each in discover().values() if each.protocol in ("text", "file")}
BODY = st.binary(min_size=1, max_size=60).filter(lambda body: not set(body) & {0, 2, 3, 5, 4, 6, 10, 13, 21, 23, 29})
CHECKED = {
    "BCC": STX_ETX_BCC,
    "checksum": HITACHI_ENDINGS["ETX+CHECKSUM+CR"],
    "GS checksum": STX_GS_CHECKSUM,
}


def messages(link: Link, pieces: list[bytes]) -> list[bytes]:
    bench = Bench(link)
    bench.hear_each(pieces)
    bench.wait(700)
    return bench.messages


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def lines(driver: Driver) -> list[bytes]:
    return [read_case(folder).device_bytes() for folder in cases_of(driver.id)]


@pytest.mark.parametrize("name", TEXTS)
@settings(max_examples=40, deadline=None)
@given(places=st.lists(st.integers(0, 5000), max_size=12))
def test_any_split_of_a_transcript_gives_the_same_messages(name: str, places: list[int]) -> None:
    driver = TEXTS[name]
    for line in lines(driver):
        assert messages(driver.new_link(), cut(line, places)) == messages(driver.new_link(), [line])


@pytest.mark.parametrize("name", CHECKED)
@settings(max_examples=60, deadline=None)
@given(bodies=st.lists(BODY, min_size=1, max_size=6), places=st.lists(st.integers(0, 500), max_size=8))
def test_what_one_side_frames_the_other_reads_however_it_is_split(
    name: str, bodies: list[bytes], places: list[int]
) -> None:
    framing = CHECKED[name]
    sent = b"".join(framing.wrap(body) for body in bodies)
    assert messages(TextLink(TextOptions(framing)), cut(sent, places)) == bodies


@pytest.mark.parametrize("name", CHECKED)
def test_every_single_damaged_byte_of_a_checked_text_is_refused(name: str) -> None:
    """Every byte becomes every other byte. A one-byte check lets a false end pass once in 256: counted apart."""
    framing: Framing = CHECKED[name]
    body = b":A     7  12  261100020001  1  45.2   2 132.0H"
    good = framing.wrap(body)
    false, early = 0, 0
    for place in range(len(good) - len(framing.trailer)):
        for value in range(256):
            if value == good[place]:
                continue
            damaged = good[:place] + bytes([value]) + good[place + 1 :]
            bench = Bench(TextLink(TextOptions(framing)))
            bench.hear(damaged)
            bench.wait(100)
            heard = bench.messages
            if not heard:
                assert b"\x06" not in bench.answer(), (place, value)
            elif value in b"\x02\x03":  # the damage itself looks like the code that begins or ends a text
                early += 1
            elif heard != [body]:
                false += 1
            else:
                assert good[place : place + 1].lower() == bytes([value]).lower(), "the case of a hex digit"
    assert false == 0
    assert early <= 2 * len(good) / 256 + 1


def nonsense(dice: random.Random, sources: list[bytes]) -> bytes:
    data = bytearray(dice.choice(sources))
    for _ in range(dice.randrange(1, 6)):
        place = dice.randrange(len(data) + 1)
        what = dice.randrange(4)
        if what == 0 and place < len(data):
            data[place] = dice.randrange(256)
        elif what == 1:
            del data[place : place + dice.randrange(1, 8)]
        elif what == 2:
            data[place:place] = bytes([dice.choice([1, 2, 3, 4, 5, 6, 10, 12, 13, 21, 23, 28, 29, 30])])
        else:
            data[place:place] = data[max(0, place - 40) : place]
    return bytes(data)


@pytest.mark.parametrize("name", TEXTS)
def test_mutated_lines_raise_nothing_in_link_or_driver_and_memory_stays_bounded(name: str) -> None:
    driver = TEXTS[name]
    dice = random.Random(f"{name} 2026")
    sources = lines(driver)
    bench = Bench(driver.new_link())
    for number in range(3000):
        if number % 100 == 0:
            bench = Bench(driver.new_link(), acknowledge=dice.random() < 0.8)
        events = bench.hear(nonsense(dice, sources))
        if dice.random() < 0.3:
            events += bench.wait(dice.choice([0.1, 1, 6, 20, 40]))
        if dice.random() < 0.05:
            events += bench.link.disconnected(bench.now)
        for event in events:
            if isinstance(event, MessageReceived):
                driver.decode(event.payload)
                driver.fingerprint(event.payload)
            if isinstance(event, FrameReceived) and not bench._acknowledge and dice.random() < 0.5:
                bench.link.refuse(event.frame_id, bench.now)
                bench = Bench(driver.new_link())
                break
        bench.answer()
        bench.events.clear()
        assert len(bench.link._buffer) <= LARGEST  # type: ignore[attr-defined]


def test_a_hundred_thousand_mutated_texts_raise_nothing() -> None:
    dice = random.Random(20261102)
    bodies = [b"D 001203 0007261100020001     E021 95.20  ", b">", b"1A     7  12", b":A     7", b";A     7"]
    links: list[Link] = [
        TextLink(TextOptions(STX_ETX_BCC)),
        TextLink(TextOptions(SILENCE, accept=b"", refuse=b"", idle_end_s=2.0)),
        PollingLink(TextOptions(STX_ETX_BCC)),
    ]
    sources = [STX_ETX_BCC.wrap(body) for body in bodies]
    for link in links:
        bench = Bench(link)
        for _ in range(34_000):
            bench.hear(nonsense(dice, sources))
            if dice.random() < 0.2:
                bench.wait(dice.choice([0.1, 3, 20]))
            bench.answer()
            bench.events.clear()


@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(max_size=2000),
    name=st.text(max_size=40),
    places=st.lists(st.integers(0, 3000), max_size=10),
)
def test_a_dropped_file_arrives_whole_however_it_is_read(content: bytes, name: str, places: list[int]) -> None:
    head = announce(name.encode("utf-8", "replace").decode("utf-8"), content)
    bench = Bench(FileLink())
    bench.hear_each(cut(head + content, places))
    assert bench.messages == [head + content]
    assert bench.answer() == b"\x06"


def test_a_file_that_is_not_the_one_announced_is_refused() -> None:
    content = b"a;b;c\n1;2;3\n"
    sent = announce("x.csv", content) + content
    dice = random.Random(3)
    for _ in range(300):
        place = dice.randrange(len(sent) - len(content), len(sent))
        damaged = sent[:place] + bytes([sent[place] ^ (1 << dice.randrange(8))]) + sent[place + 1 :]
        bench = Bench(FileLink())
        bench.hear(damaged)
        assert bench.messages == []
        assert bench.answer() == b"\x15"
