"""Worklists on their way to a box over a real broker: in order, and again when the box misses some."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from cloud.gateways import downlink
from cloud.gateways.arrivals import Arrival
from cloud.gateways.inbox import Inbox
from cloud.gateways.model import Gateway
from cloud.kit import clock
from cloud.kit.db import begin
from cloud.lis.worklists.model import WorklistCounter
from protocols.model import Order
from protocols.uplink.envelope import GatewayState, WorklistEntry, state_topic
from tests.support.broker import Broker
from tests.support.gateways import EPOCH, MORNING, registered
from tests.support.uplink_box import Box
from tests.support.waiting import eventually


@pytest.fixture
def laboratory(database: str, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloud.config import settings

    monkeypatch.setenv("XINGLIN_MQTT_HOST", broker.host)
    monkeypatch.setenv("XINGLIN_MQTT_PORT", str(broker.port))
    settings.cache_clear()
    registered(("box-a", 0))


@pytest.fixture
def box(laboratory: None, broker: Broker) -> Iterator[Box]:
    found = Box("box-a", 0, host=broker.host, port=broker.port)
    yield found
    found.close()


@pytest.fixture
def worklist(laboratory: None, monkeypatch: pytest.MonkeyPatch) -> list[WorklistEntry]:
    """The worklist of box-a as the laboratory keeps it; what is appended is on it."""
    entries: list[WorklistEntry] = []

    def entries_after(session: Session, gateway: str, revision: int, limit: int = 500) -> list[WorklistEntry]:
        return [each for each in entries if each.revision > revision][:limit] if gateway == "box-a" else []

    monkeypatch.setattr(downlink.worklists, "entries_after", entries_after)
    return entries


def put(worklist: list[WorklistEntry], revision: int) -> None:
    order = Order(specimen=f"26{revision:06d}", codes=("WBC",))
    worklist.append(WorklistEntry(revision, order.specimen, {"xn": order}, clock.now() + timedelta(days=3)))
    with begin() as session:
        session.merge(WorklistCounter(gateway="box-a", revision=revision))


def sent_revision() -> int:
    with begin() as session:
        return session.get_one(Gateway, "box-a").worklist_revision_sent


def waiting_jobs() -> list[dict[str, object]]:
    with begin() as session:
        rows = session.execute(text("SELECT args -> 'args' AS args FROM procrastinate_jobs WHERE status = 'todo'"))
        return [row.args for row in rows]


def the_box_says(revision: int) -> None:
    state = GatewayState("box-a", EPOCH, clock.now(), True, "1.0", revision, ())
    Inbox(begin, 0).store([Arrival(state_topic(0, "box-a"), state.to_bytes())])


@pytest.mark.req("GW-7")
def test_a_changed_worklist_goes_to_its_box_and_only_what_is_new_goes_the_next_time(
    box: Box, worklist: list[WorklistEntry]
) -> None:
    put(worklist, 1)
    put(worklist, 2)
    assert downlink.send(begin, "box-a", again=False) == 2
    put(worklist, 4)
    assert downlink.send(begin, "box-a", again=False) == 1
    assert downlink.send(begin, "box-a", again=False) == 0
    eventually(lambda: len(box.worklists) == 2, what="two publishes")
    assert [(each.after, [entry.revision for entry in each.entries]) for each in box.worklists] == [
        (0, [1, 2]),
        (2, [4]),
    ]
    assert sent_revision() == 4


@pytest.mark.req("GW-7")
def test_a_long_worklist_goes_in_several_publishes_that_follow_on_one_another(
    box: Box, worklist: list[WorklistEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downlink, "ENTRIES_PER_PUBLISH", 2)
    for revision in (1, 2, 5):
        put(worklist, revision)
    downlink.send(begin, "box-a", again=False)
    eventually(lambda: len(box.worklists) == 2, what="two publishes")
    assert [each.after for each in box.worklists] == [0, 2]


@pytest.mark.req("GW-7")
def test_a_box_that_says_it_has_less_is_told_again(box: Box, worklist: list[WorklistEntry]) -> None:
    for revision in (1, 2, 3):
        put(worklist, revision)
    downlink.send(begin, "box-a", again=False)
    the_box_says(1)
    assert waiting_jobs() == [], "what was published a moment ago is still on its way"
    with begin() as session:
        session.get_one(Gateway, "box-a").worklist_sent_at = MORNING
    the_box_says(1)
    assert waiting_jobs() == [{"gateway": "box-a", "again": True}]
    assert downlink.send(begin, "box-a", again=True) == 2
    eventually(lambda: len(box.worklists) == 2, what="it is told again")
    assert box.worklists[1].after == 1


def test_a_box_that_is_level_is_left_alone(worklist: list[WorklistEntry]) -> None:
    put(worklist, 1)
    the_box_says(1)
    assert waiting_jobs() == []


def test_a_broker_that_is_away_fails_no_job_and_the_boxes_next_word_sends_it(
    broker: Broker, worklist: list[WorklistEntry]
) -> None:
    put(worklist, 1)
    broker.stop()
    assert downlink.send(begin, "box-a", again=False) == 0
    assert sent_revision() == 0
    broker.start()
    the_box_says(0)
    assert waiting_jobs() == [{"gateway": "box-a", "again": True}]
    box = Box("box-a", 0, host=broker.host, port=broker.port)
    assert downlink.send(begin, "box-a", again=True) == 1
    eventually(lambda: box.worklists, what="the box has it")
    box.close()


def test_a_worklist_of_an_unregistered_box_is_no_failure(laboratory: None) -> None:
    assert downlink.send(begin, str(uuid.uuid4()), again=False) == 0


@pytest.mark.req("GW-7")
def test_a_box_that_is_ahead_of_a_restored_laboratory_gets_its_orders_again(laboratory: None) -> None:
    with begin() as session:
        session.merge(WorklistCounter(gateway="box-a", revision=3))
    the_box_says(40)
    with begin() as session:
        assert session.get_one(WorklistCounter, "box-a").revision == 43
    assert waiting_jobs() == [{"gateway": "box-a", "again": True}]
