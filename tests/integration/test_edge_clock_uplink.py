"""The real box with a clock that is wrong, on a real broker: the cloud's time reaches it, and its times are put right.

The box believes that it has seen the year after next: for it, the machine's own (right) clock is as wrong as 1970.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.analyzer import over_tcp, xn_result
from tests.support.box import Box
from tests.support.broker import Broker
from tests.support.stand_in_cloud import StandInCloud
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("GW-9", "GW-10")
SEEN = datetime.now(UTC) + timedelta(days=700)
TRUE = SEEN + timedelta(days=1)
"""What the cloud's clock says."""


@pytest.fixture
def box(tmp_path: Path, broker: Broker) -> Iterator[Box]:
    made = Box(tmp_path, broker.port)
    (tmp_path / "box.db.clock").write_text(json.dumps({"at": SEEN.isoformat(), "confirmed": True}))
    yield made
    made.stop()


@pytest.fixture
def cloud(box: Box) -> Iterator[StandInCloud]:
    made = StandInCloud(box.broker_port, box.gateway, box.partition, receipts=False)
    yield made
    made.close()


def report(port: int, count: int) -> None:
    analyzer = over_tcp("127.0.0.1", port)
    for number in range(count):
        analyzer.report(xn_result(f"{number:08}"))
    analyzer.close()


def about(at: str) -> bool:
    return abs(datetime.fromisoformat(at) - TRUE) < timedelta(minutes=5)


class TellsTheTime(StandInCloud):
    """As the cloud does, to a box that says that it does not believe its clock."""

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        super()._on_message(client, userdata, message)
        if message.topic.endswith("/state") and not self.states[-1]["clock_sure"]:
            self.send("time", {"at": TRUE.isoformat()}, wait=False)


def test_a_box_without_a_clock_hears_the_time_before_it_sends_what_it_received(box: Box) -> None:
    cloud = TellsTheTime(box.broker_port, box.gateway, box.partition, receipts=False)
    broker_port, box.broker_port = box.broker_port, 1  # nobody there
    port = box.add_tcp("xn")
    box.start()
    report(port, 3)
    assert {each.clock_sure for each in box.read("xn")} == {False}
    box.stop()
    box.broker_port = broker_port
    box.start()
    state = eventually(lambda: cloud.states and cloud.states[0], what="the box says how it is")
    assert state["clock_sure"] is False
    assert "and it was" in state["clock_doubt"]
    report(port, 1)
    eventually(lambda: len(cloud.messages("xn")) == 4, what="all messages")
    assert [(each["clock_sure"], about(each["received_at"])) for each in cloud.messages("xn")] == [(True, True)] * 4
    eventually(lambda: cloud.states[-1]["clock_sure"], what="the box believes its clock")
    cloud.close()


def test_times_that_went_out_unsure_are_put_right_afterwards(box: Box, cloud: StandInCloud) -> None:
    port = box.add_tcp("xn")
    box.start()
    report(port, 2)
    eventually(lambda: len(cloud.messages("xn")) == 2, what="the messages, though nobody told the time")
    assert {each["clock_sure"] for each in cloud.messages("xn")} == {False}
    cloud.send("receipt", {"epoch": cloud.epoch("xn"), "link": "xn", "through": 2, "at": TRUE.isoformat()})
    eventually(lambda: box.waiting("xn") == 0, what="the receipt is stored")
    report(port, 1)
    eventually(lambda: len(cloud.messages("xn")) == 3, what="the third message")
    assert about(cloud.messages("xn")[2]["received_at"])
    state = eventually(lambda: cloud.states[-1]["corrections"] and cloud.states[-1], what="the box corrects itself")
    [(link, first, last, shift_us)] = state["corrections"]
    assert (link, first, last) == ("xn", 1, 2)
    at = datetime.fromisoformat(cloud.messages("xn")[0]["received_at"]) + timedelta(microseconds=shift_us)
    assert about(at.isoformat())
