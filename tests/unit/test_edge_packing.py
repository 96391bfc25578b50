"""What goes to the broker: everything, in order, in pieces that it takes."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.packing import UNLIMITED, Packet, SizeLimit, pack
from protocols.model import Observation
from protocols.uplink import parts
from protocols.uplink.envelope import Envelope, Message, MessageState
from protocols.uplink.parts import Part

pytestmark = pytest.mark.req("GW-10")


def message(sequence: int, raw: bytes, value: str = "6.5", **more: str) -> Message:
    items = (Observation(specimen="26010001", code="WBC", value=value),)
    now = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
    return Message(sequence, now, True, "sysmex_xn", "1", MessageState.DECODED, raw, items, **more)


def unpacked(packets: list[Packet]) -> list[Message]:
    """As the cloud reads them."""
    found: list[Message] = []
    for packet in packets:
        if packet.kind == parts.KIND:
            pieces = [Part.from_bytes(each) for each in packet.payloads]
            assert [each.number for each in pieces] == list(range(1, pieces[0].of + 1))
            envelope = parts.join([each.content for each in pieces], pieces[0].sha256)
        else:
            [envelope] = packet.payloads
        found += Envelope.from_bytes(envelope).messages
    return found


@given(st.lists(st.integers(0, 9000), min_size=1, max_size=8), st.integers(2048, 20_000), st.integers(0, 2**32))
def test_whatever_the_limit_all_messages_arrive_as_they_were_and_no_payload_is_larger(
    sizes: list[int], limit: int, seed: int
) -> None:
    chance = random.Random(seed)
    sent = [message(number, chance.randbytes(size)) for number, size in enumerate(sizes, start=1)]
    packets = pack("gw-1", "5f3a9c0e11d2b744", "xn", sent, limit)
    assert unpacked(packets) == sent
    assert [each for packet in packets for each in packet.sequences] == [each.sequence for each in sent]
    assert all(len(each) <= limit for packet in packets for each in packet.payloads)


def test_a_batch_that_fits_is_one_publish() -> None:
    [packet] = pack("gw-1", "e1", "xn", [message(each, b"R|1|") for each in range(1, 21)], UNLIMITED)
    assert (packet.kind, packet.sequences) == ("", tuple(range(1, 21)))


def test_half_a_character_in_one_value_costs_that_messages_values_and_nothing_else() -> None:
    broken = message(2, b"raw of two", value="\ud800", message_id="A1")
    packets = pack("gw-1", "e1", "xn", [message(1, b"one"), broken, message(3, b"three")], UNLIMITED)
    one, two, three = unpacked(packets)
    assert (one.state, three.state) == (MessageState.DECODED, MessageState.DECODED)
    assert two.state == MessageState.UNDECODED
    assert two.raw == b"raw of two"
    assert "decode again" in (two.reason or "")


def test_an_envelope_reads_the_same_however_its_items_were_written() -> None:
    sent = message(1, b"\x02R|1", value="")  # an empty value travels as none
    [packet] = pack("gw-1", "e1", "xn", [sent], UNLIMITED)
    item = json.loads(packet.payloads[0])["messages"][0]["items"][0]
    assert item == {"kind": "observation", "specimen": "26010001", "code": "WBC"}


def test_the_limit_is_what_the_broker_told_for_this_connection() -> None:
    limit = SizeLimit()
    assert limit.payload_bytes == UNLIMITED
    limit.told(20_000)
    assert limit.payload_bytes < 20_000
    limit.told(None)
    assert limit.payload_bytes == UNLIMITED


def test_a_refused_size_is_learned_for_good_and_halved_until_it_fits() -> None:
    limit = SizeLimit()
    for size in (100_000, 50_000):
        limit.refused(size)
        limit.told(None)
    assert limit.payload_bytes == 25_000


def test_a_broker_that_hangs_up_on_a_large_publish_again_and_again_is_understood() -> None:
    limit = SizeLimit()
    limit.broke(90_000, 0)
    limit.broke(0, 1000)  # a connection that ended for another reason
    for _ in range(2):
        limit.broke(90_000, 500)
    assert limit.payload_bytes == UNLIMITED
    limit.broke(80_000, 500)
    assert limit.payload_bytes == 40_000


def test_a_bad_network_teaches_nothing_about_sizes_that_went_through() -> None:
    limit = SizeLimit()
    for _ in range(10):
        limit.broke(90_000, 120_000)
    assert limit.payload_bytes == UNLIMITED
