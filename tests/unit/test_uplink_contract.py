"""The contract between box and cloud: what the version before sends is read, what a newer one adds is ignored."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from protocols.uplink.counts import CountRequest
from protocols.uplink.down import Receipt, TimeNotice
from protocols.uplink.envelope import Envelope
from protocols.uplink.parts import Part, cut, join
from protocols.uplink.states import ClockCorrection, GatewayState
from protocols.uplink.topics import Topic, UplinkError, parse_topic, partition_filters, up_topic

pytestmark = pytest.mark.req("GW-10")
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def raw(data: dict[str, Any]) -> bytes:
    return json.dumps({"v": 1, **data}).encode()


def test_a_receipt_of_a_cloud_that_does_not_tell_the_time_is_read() -> None:
    assert Receipt.from_bytes(raw({"epoch": "e1", "link": "xn", "through": 5})) == Receipt("e1", "xn", 5)


@pytest.mark.parametrize("at", ["nonsense", 5, None, "2026-11-23T08:00:00"])
def test_a_time_that_cannot_be_read_costs_no_receipt(at: object) -> None:
    receipt = Receipt.from_bytes(raw({"epoch": "e1", "link": "xn", "through": 5, "also": [7], "at": at}))
    assert receipt == Receipt("e1", "xn", 5, (7,))
    with pytest.raises(UplinkError):
        TimeNotice.from_bytes(raw({"at": at}))


def test_the_time_of_a_receipt_travels() -> None:
    receipt = Receipt("e1", "xn", 5, (7,), NOW)
    assert Receipt.from_bytes(receipt.to_bytes()) == receipt
    assert TimeNotice.from_bytes(TimeNotice(NOW).to_bytes()) == TimeNotice(NOW)


def test_a_state_of_the_box_before_is_read_and_a_new_one_travels_whole() -> None:
    old = {"gateway": "gw-1", "epoch": "e1", "at": NOW.isoformat(), "links": []}
    state = GatewayState.from_bytes(raw(old))
    assert (state.certificate_days, state.clock_doubt, state.corrections) == (None, "", ())
    new = GatewayState(
        "gw-1",
        "e1",
        NOW,
        False,
        "0.1.0",
        7,
        (),
        certificate_days=31,
        clock_doubt="the clock says 1970",
        corrections=(ClockCorrection("xn", 1, 9, -5_000_000),),
    )
    assert GatewayState.from_bytes(new.to_bytes()) == new


def test_what_a_newer_side_adds_is_ignored() -> None:
    request = raw({"epoch": "e1", "link": "xn", "run": "r1", "ranges": [[1, 5]], "more": {"to": "come"}})
    assert CountRequest.from_bytes(request) == CountRequest("e1", "xn", "r1", ((1, 5),))


def test_what_is_said_beside_messages_has_a_topic_that_the_cloud_before_does_not_hear() -> None:
    topic = up_topic(3, "gw-1", "xn", "counts")
    assert parse_topic(topic) == Topic(3, "gw-1", "up", "xn", "counts")
    assert parse_topic(up_topic(3, "gw-1", "xn")) == Topic(3, "gw-1", "up", "xn")
    before = ("xinglin/v1/3/+/up/+", "xinglin/v1/3/+/state")
    assert set(before) <= set(partition_filters(3))
    assert topic.count("/") > before[0].count("/")


def test_parts_make_the_envelope_again_and_a_changed_one_is_noticed() -> None:
    envelope = b'{"v":1}' + bytes(range(256)) * 90
    parts = [Part.from_bytes(each.to_bytes()) for each in cut("gw-1", "e1", "xn", 7, envelope, 1024)]
    assert join([each.content for each in parts], parts[0].sha256) == envelope
    with pytest.raises(UplinkError, match="sha256"):
        join([each.content for each in parts[:-1]], parts[0].sha256)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{]",
        b"[]",
        raw({"v": 2}),
        raw({}),
        b'{"v":1,"gateway":"g","epoch":"e","link":"l","messages":' + b"[" * 100_000,
    ],
)
def test_what_is_no_envelope_is_refused_with_a_reason(payload: bytes) -> None:
    with pytest.raises(UplinkError, match=r"."):
        Envelope.salvage(payload)


def test_a_lone_half_character_in_one_message_does_not_cost_its_neighbour() -> None:
    good = {
        "sequence": 1,
        "received_at": NOW.isoformat(),
        "driver": "x",
        "state": "incomplete",
        "raw": "",
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    bad = {**good, "sequence": 2, "reason": "\ud800"}
    payload = raw({"gateway": "g", "epoch": "e", "link": "l", "messages": [good, bad]})
    envelope, refused = Envelope.salvage(payload)
    assert [each.sequence for each in envelope.messages] + [each.sequence for each in refused] == [1, 2]
