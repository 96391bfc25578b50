"""An envelope in parts is stored once, when all are there, whoever received them and however often they came."""

from __future__ import annotations

import os
import random

import pytest
from sqlalchemy import func, select

from cloud.gateways.arrivals import Arrival
from cloud.gateways.inbox import Inbox
from cloud.gateways.model import InboxMessage, MessagePart, Quarantine
from cloud.kit.db import begin
from protocols.uplink.envelope import Message, up_topic
from protocols.uplink.parts import KIND, Part, cut
from tests.support.gateways import EPOCH, envelope, message, registered

pytestmark = [pytest.mark.req("GW-10", "GW-11"), pytest.mark.usefixtures("laboratory")]
TOPIC = up_topic(0, "box-a", "xn", KIND)


@pytest.fixture
def laboratory(database: str) -> None:
    registered(("box-a", 0))


def picture(sequence: int = 1) -> Message:
    return message(sequence, raw=os.urandom(50_000))


def parts_of(sent: Message, largest: int = 4096) -> list[Part]:
    return cut("box-a", EPOCH, "xn", sent.sequence, envelope("box-a", "xn", [sent]).to_bytes(), largest)


def arrive(*parts: Part) -> list[Arrival]:
    return [Arrival(TOPIC, each.to_bytes()) for each in parts]


def stored() -> list[tuple[int, bytes]]:
    with begin() as session:
        return [(each.sequence, each.raw) for each in session.scalars(select(InboxMessage))]


def kept_parts() -> int:
    with begin() as session:
        return session.scalar(select(func.count()).select_from(MessagePart)) or 0


def test_no_part_is_larger_than_the_broker_takes() -> None:
    parts = parts_of(picture())
    assert len(parts) > 10
    assert max(len(each.to_bytes()) for each in parts) <= 4096


def test_parts_in_any_order_and_some_twice_over_two_workers_make_the_message_once() -> None:
    sent = picture()
    parts = parts_of(sent)
    mixed = parts + parts[:5]
    random.Random(7).shuffle(mixed)
    half = len(mixed) // 2
    first = Inbox(begin, 0).store(arrive(*mixed[:half]))
    assert first.receipts == []
    second = Inbox(begin, 0).store(arrive(*mixed[half:]))
    [(_, receipt)] = second.receipts
    assert receipt.covers(1)
    assert stored() == [(1, sent.raw)]
    assert kept_parts() == 0


def test_parts_that_are_sent_again_after_the_receipt_was_lost_get_it_again() -> None:
    parts = parts_of(picture())
    inbox = Inbox(begin, 0)
    once, again = inbox.store(arrive(*parts)), inbox.store(arrive(*parts))
    assert again.receipts == once.receipts
    assert (again.stored, again.repeated) == (0, 1)


def test_a_missing_part_keeps_the_message_open_and_its_neighbours_go_on() -> None:
    parts = parts_of(picture())
    inbox = Inbox(begin, 0)
    inbox.store(arrive(*parts[:-1]))
    result = inbox.store([Arrival(up_topic(0, "box-a", "xn"), envelope("box-a", "xn", [2]).to_bytes())])
    [(_, receipt)] = result.receipts
    assert receipt.covers(2)
    assert not receipt.covers(1)
    [(_, receipt)] = inbox.store(arrive(parts[-1])).receipts
    assert receipt.through == 2


def test_parts_that_make_no_envelope_are_quarantined_whole() -> None:
    broken = cut("box-a", EPOCH, "xn", 1, b"{]" + os.urandom(20_000), 4096)
    assert Inbox(begin, 0).store(arrive(*broken)).quarantined == 1
    with begin() as session:
        [row] = session.scalars(select(Quarantine))
        assert row.payload.startswith(b"{]")
        assert "in parts" in row.reason
    assert kept_parts() == 0


def test_a_part_on_the_topic_of_another_box_is_quarantined() -> None:
    registered(("box-b", 0))
    [one, *_] = parts_of(picture())
    result = Inbox(begin, 0).store([Arrival(up_topic(0, "box-b", "xn", KIND), one.to_bytes())])
    assert result.quarantined == 1
    assert kept_parts() == 0
