"""Links under any split, any damaged byte and any nonsense: same events, nothing false accepted, no exception."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.links.astm import TRANSITIONS, AstmLink, State
from protocols.links.astm_frames import AstmOptions, Checksum, FrameNumbers, cut_message
from protocols.links.contract import FrameReceived, Link, LinkEvent, MessageReceived, SendCompleted
from protocols.links.mllp import MllpLink, MllpOptions
from tests.support.wire import Bench, frame, session

H = b"H|\\^&|||XN-550\r"
L = b"L|1|N\r"
RESULT = b"R|1|^^^^WBC^1|8.13|10*3/uL||N||F||||20240627135407\r"
ORU = b"MSH|^~\\&|Mindray|BS-480|||20261101080000||ORU^R01|1|P|2.3.1\rOBX|1|NM|2|GLU|5.1\r"

ASTM_LINES = [
    session(H, RESULT, L),
    b"\x05" + b"".join(cut_message(H + RESULT * 20 + L, AstmOptions(one_record_per_frame=False))) + b"\x04",
    b"\xff" + session(H + L) + session(H + RESULT + L) + b"\x05\x04",
    b"\x05" + frame(1, H) + frame(1, H) + frame(2, RESULT + L) + b"\x04",
    b"\x05" + frame(1, H) + frame(3, L) + frame(2, L) + b"\x04",
]
MLLP_LINES = [
    b"\x0b" + ORU + b"\x1c\r" + b"\n\x0b" + ORU + b"\x1c",
    b"noise\x0b" + ORU + b"\x0b" + ORU + b"\x1c\r\x1c",
]
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60)


def heard(link: Link, pieces: list[bytes]) -> tuple[list[LinkEvent], bytes]:
    """Events and answer; afterwards time passes, so that everything that waits is settled."""
    line = Bench(link)
    line.hear_each(pieces)
    line.wait(100)
    return line.events, line.answer()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.mark.req("GW-2")
@pytest.mark.parametrize("line", ASTM_LINES)
@settings(max_examples=60, deadline=None)
@given(places=st.lists(st.integers(0, 5000), max_size=12))
def test_any_split_of_an_astm_line_gives_the_same_events(line: bytes, places: list[int]) -> None:
    assert heard(AstmLink(), cut(line, places)) == heard(AstmLink(), [line])


@pytest.mark.req("GW-2")
@pytest.mark.parametrize("line", ASTM_LINES)
def test_astm_line_byte_by_byte_gives_the_same_events(line: bytes) -> None:
    assert heard(AstmLink(), [bytes([each]) for each in line]) == heard(AstmLink(), [line])


@pytest.mark.req("GW-4")
@pytest.mark.parametrize("line", MLLP_LINES)
@settings(max_examples=60, deadline=None)
@given(places=st.lists(st.integers(0, 5000), max_size=12))
def test_any_split_of_an_mllp_line_gives_the_same_messages(line: bytes, places: list[int]) -> None:
    def messages(pieces: list[bytes]) -> list[bytes]:
        return [event.payload for event in heard(MllpLink(), pieces)[0] if isinstance(event, MessageReceived)]

    assert messages(cut(line, places)) == messages([line])


@pytest.mark.req("GW-2")
def test_every_single_damaged_byte_of_a_frame_is_refused() -> None:
    """Each byte of a frame becomes each other byte. No damaged text is accepted, and nothing damaged draws an ACK.

    The two letters of the checksum may change their case and CR LF may be anything: neither touches the text.
    """
    good = frame(1, H + RESULT + L)
    text = H + RESULT + L
    accepted = 0
    for place in range(len(good)):
        for value in range(256):
            if value == good[place]:
                continue
            damaged = good[:place] + bytes([value]) + good[place + 1 :]
            line = Bench(AstmLink())
            line.hear(b"\x05")
            line.answer()
            line.hear(damaged)
            line.wait(14)
            answer = line.answer()
            if line.messages:
                accepted += 1
                assert line.messages == [text]
                assert place >= len(good) - 4, "only the case of the checksum and CR LF may differ"
            else:
                assert b"\x06" not in answer, f"byte {place} as {value:#04x} drew a false ACK"
    assert accepted > 0


@pytest.mark.req("GW-2")
def test_damaged_byte_in_a_frame_of_many_never_delivers_damaged_text() -> None:
    frames = [frame(1, H), frame(2, RESULT, last=False), frame(3, RESULT), frame(4, L)]
    whole = H + RESULT + RESULT + L
    dice = random.Random(20261101)
    for _ in range(6000):
        index = dice.randrange(len(frames))
        victim = bytearray(frames[index])
        place = dice.randrange(len(victim))
        victim[place] = (victim[place] + dice.randrange(1, 256)) % 256
        line = Bench(AstmLink())
        line.hear(b"\x05")
        position = 0
        damaged: bytes | None = bytes(victim)
        for _attempt in range(12):
            if position == len(frames):
                break
            line.answer()
            line.hear(damaged if position == index and damaged is not None else frames[position])
            if position == index:
                damaged = None
            line.wait(7)
            reply = line.answer()
            if reply.endswith(b"\x06"):
                position += 1
            elif not reply.endswith(b"\x15"):
                break  # silence: the sender gives up with EOT and sends the message again later
        line.hear(b"\x04")
        line.wait(100)
        if position == len(frames):
            assert line.messages == [whole]
        else:
            assert line.messages == [], (place, bytes(victim), line.events)


@pytest.mark.req("GW-2")
@settings(max_examples=80, deadline=None)
@given(records=st.lists(TEXT, min_size=1, max_size=30), limit=st.integers(7, 300), one=st.booleans())
def test_what_one_link_sends_the_other_receives(records: list[str], limit: int, one: bool) -> None:
    payload = "".join(f"C|{record}\r" for record in records).encode() + L
    instrument = AstmLink(AstmOptions(sent_text_limit=limit, one_record_per_frame=one, right_of_way=True))
    host = Bench(AstmLink())
    token = instrument.send(payload, 0.0)
    events: list[LinkEvent] = []
    while out := instrument.bytes_to_send():
        host.hear(out)
        events += instrument.receive(host.answer(), 0.0)
    assert host.messages == [payload]
    assert events == [SendCompleted(token)]


OPTIONS = [
    AstmOptions(),
    AstmOptions(enq_optional=True, unframed=True, received_text_limit=300, message_limit=2000),
    AstmOptions(checksum=Checksum.IGNORED, frame_numbers=FrameNumbers.IGNORED),
    AstmOptions(checksum=Checksum.ABSENT, frame_numbers=FrameNumbers.RESTARTING),
]


def nonsense(dice: random.Random, lines: list[bytes]) -> bytes:
    """A line with a few bytes changed, taken away, doubled or put in."""
    data = bytearray(dice.choice(lines))
    for _ in range(dice.randrange(1, 6)):
        place = dice.randrange(len(data))
        what = dice.randrange(4)
        if what == 0:
            data[place] = dice.randrange(256)
        elif what == 1:
            del data[place : place + dice.randrange(1, 8)]
        elif what == 2:
            data[place:place] = bytes([dice.choice([2, 3, 4, 5, 6, 11, 13, 21, 23, 28])])
        else:
            data[place:place] = data[max(0, place - 40) : place]
        if not data:
            data = bytearray(b"\x05")
    return bytes(data)


def soak(make: Callable[[int], Link], lines: list[bytes], count: int, seed: int) -> None:
    dice = random.Random(seed)
    line = Bench(make(0))
    for number in range(count):
        if number % 50 == 0:
            line = Bench(make(number // 50))
        line.hear(nonsense(dice, lines))
        if dice.random() < 0.3:
            line.wait(dice.choice([0.1, 1, 6, 20, 40]))
        if dice.random() < 0.1:
            line.link.send(H + L if isinstance(line.link, AstmLink) else ORU, line.now)
        if dice.random() < 0.02:
            line.link.disconnected(line.now)
        line.answer()
        line.events.clear()
        if isinstance(line.link, AstmLink):
            assert line.link.state in TRANSITIONS
            assert len(line.link._buffer) <= 400_000


@pytest.mark.req("GW-2", "GW-4")
def test_a_hundred_thousand_mutated_lines_raise_nothing() -> None:
    soak(lambda n: AstmLink(OPTIONS[n % len(OPTIONS)]), ASTM_LINES[:1] + ASTM_LINES[2:], 50_000, seed=7)
    soak(
        lambda n: MllpLink(MllpOptions(vt_optional=n % 2 == 0, commit_acknowledgement=n % 3 == 0)),
        MLLP_LINES,
        50_000,
        seed=8,
    )


@pytest.mark.req("GW-2")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.one_of(
            st.sampled_from([b"\x05", b"\x04", b"\x06", b"\x15", frame(1, H), frame(2, L), frame(1, H + L), b"\x02"]),
            st.floats(0.0, 40.0),
            st.just("send"),
        ),
        max_size=40,
    )
)
def test_any_order_of_what_happens_keeps_to_the_state_table(steps: list[bytes | float | str]) -> None:
    """`_move_to` raises for a step that the table lacks; no order of bytes, time and sending makes one."""
    line = Bench(AstmLink())
    open_tokens: set[int] = set()
    for step in steps:
        if isinstance(step, bytes):
            line.hear(step)
        elif isinstance(step, float):
            line.wait(step)
        else:
            open_tokens.add(line.link.send(H + L, line.now))
    line.wait(10_000)
    assert isinstance(line.link, AstmLink)
    assert line.link.state is State.NEUTRAL
    done = {event.token for event in line.events if not isinstance(event, FrameReceived) and hasattr(event, "token")}
    assert done == open_tokens, "each message was either accepted or given back"
