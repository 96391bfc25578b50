"""POCT1-A under any split and any damage: the same documents, no exception, nothing lost unsaid, bounded memory."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.driver import Driver, discover
from protocols.links.contract import FrameReceived, FrameRefused, LinkEvent, MessageReceived
from protocols.links.poct1a import Poct1aLink, Poct1aOptions
from protocols.links.xml_stream import FILLER, XmlStream
from protocols.messages.poct1a import ROOT_NAME
from tests.support.transcripts import cases_of, read_case

DRIVERS = [each for each in discover().values() if each.protocol == "poct1a"]
LINES = {
    f"{driver.id}/{folder.name}": read_case(folder).device_bytes()
    for driver in DRIVERS
    for folder in cases_of(driver.id)
}
MIXED = b"".join(
    [
        b"\x00noise<1>\r\n 2",
        b"<ACK.R01/>",
        '<?xml version="1.0" encoding="UTF-16"?><OBS.R01 V="é㰼"/>'.encode("utf-16"),
        b'\r\n<OBS.R01><a V="<3"/><OBS.R02><!-- </OBS.R02> --><![CDATA[]]]]></OBS.R02>',
        b"\x0b<KPA.R01></KPA.R01>\x1c\r<HEL.R01",
    ]
)
AT = datetime(2026, 11, 2, tzinfo=UTC)
pytestmark = pytest.mark.req("GW-4", "GW-9")


def heard(pieces: list[bytes]) -> list[tuple[str, bytes]]:
    """What a link makes of the bytes, each frame acknowledged at once; at the end the connection closes."""
    link, found = Poct1aLink(), []
    waiting: list[LinkEvent] = []
    for piece in [*pieces, None]:
        waiting += link.disconnected(2.0) if piece is None else link.receive(piece, 1.0)
        while waiting:
            event = waiting.pop(0)
            if isinstance(event, FrameReceived):
                waiting += link.acknowledge(event.frame_id, 1.0)
                found.append(("frame", event.raw))
            elif isinstance(event, MessageReceived):
                found.append(("message", event.payload))
            elif isinstance(event, FrameRefused):
                found.append((event.reason, event.raw))
        link.bytes_to_send()
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("line", [*LINES.values(), MIXED], ids=[*LINES, "mixed"])
@settings(max_examples=25, deadline=None)
@given(places=st.lists(st.integers(0, 20_000), max_size=15))
def test_any_split_of_a_poct1a_line_gives_the_same_events(line: bytes, places: list[int]) -> None:
    assert heard(cut(line, places)) == heard([line])


@pytest.mark.parametrize("line", [*LINES.values(), MIXED], ids=[*LINES, "mixed"])
def test_poct1a_line_byte_by_byte_gives_the_same_events(line: bytes) -> None:
    assert heard([bytes([each]) for each in line]) == heard([line])


def damaged(dice: random.Random, line: bytes) -> bytes:
    data = bytearray(line)
    for _ in range(dice.randrange(1, 6)):
        place = dice.randrange(len(data) + 1)
        what = dice.randrange(4)
        if what == 0:
            data[place : place + 1] = dice.randbytes(1)
        elif what == 1:
            del data[place : place + dice.randrange(1, 200)]
        elif what == 2:
            data[place:place] = dice.choice([b"<", b">", b'"', b"</OBS.R01>", b"<!--", b"<![CDATA[", b"\xff\xfe", b"&"])
        else:
            data[place:place] = data[dice.randrange(len(data) + 1) :][:50]
    return bytes(data)


def test_no_byte_of_a_damaged_line_vanishes_without_a_word() -> None:
    """Every byte is in a document, in noise that is told, or is filler between documents; however it was cut."""
    dice = random.Random("poct1a 2026")
    lines = [*LINES.values(), MIXED]
    for _ in range(1500):
        line = damaged(dice, dice.choice(lines))
        stream = XmlStream(ROOT_NAME, 1_000_000)
        places = [dice.randrange(len(line) + 1) for _ in range(dice.randrange(6))]
        pieces = [piece.raw for part in cut(line, places) for piece in stream.feed(part)]
        pieces += [piece.raw for piece in stream.clear() if piece is not None]
        at = 0
        for raw in pieces:
            found = line.find(raw, at)
            assert found >= 0
            assert not line[at:found].strip(FILLER), "passed over"
            at = found + len(raw)
        assert not line[at:].strip(FILLER)


def test_damaged_lines_raise_nothing_and_are_answered_within_bounds() -> None:
    dice = random.Random("poct1a link 2026")
    lines = [*LINES.values(), MIXED]
    drivers: list[Driver] = DRIVERS
    for _ in range(600):
        link = Poct1aLink(Poct1aOptions(message_limit=4000))
        driver = dice.choice(drivers)
        now = 0.0
        for _ in range(2):
            line = damaged(dice, dice.choice(lines))
            waiting: list[LinkEvent] = []
            for part in cut(line, [dice.randrange(len(line) + 1) for _ in range(3)]):
                now += dice.choice([0.1, 1, 40, 70])
                waiting += [*link.wake(now), *link.receive(part, now)]
                waiting = _serve(link, driver, waiting, now, dice)
            assert len(link._stream._raw) <= 9000
            assert len(link.bytes_to_send()) < 100_000
            if dice.random() < 0.5:
                _serve(link, driver, link.disconnected(now), now, dice)


def _serve(
    link: Poct1aLink, driver: Driver, events: list[LinkEvent], now: float, dice: random.Random
) -> list[LinkEvent]:
    while events:
        event = events.pop(0)
        if isinstance(event, FrameReceived):
            events += link.refuse(event.frame_id, now) if dice.random() < 0.1 else link.acknowledge(event.frame_id, now)
        elif isinstance(event, MessageReceived):
            for reply in driver.respond(event.payload, driver.decode(event.payload), {}, AT):
                link.send(reply, now)
    return []
