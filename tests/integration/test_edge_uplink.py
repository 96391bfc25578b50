"""The real daemon, a real mosquitto, and the cloud's end played by hand: nothing is lost, whatever dies."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.analyzer import over_tcp, xn_query, xn_result
from tests.support.box import Box
from tests.support.broker import Broker, free_port, mosquitto_path
from tests.support.stand_in_cloud import StandInCloud
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("GW-10")


@pytest.fixture
def box(tmp_path: Path, broker: Broker) -> Iterator[Box]:
    made = Box(tmp_path, broker.port)
    yield made
    made.stop()


@contextmanager
def cloud_of(box: Box, *, receipts: bool = True) -> Iterator[StandInCloud]:
    cloud = StandInCloud(box.broker_port, box.gateway, box.partition, receipts=receipts)
    try:
        yield cloud
    finally:
        cloud.close()


def report(port: int, first: int, count: int) -> None:
    analyzer = over_tcp("127.0.0.1", port)
    for number in range(first, first + count):
        analyzer.report(xn_result(f"{number:08}"))
    analyzer.close()


def in_order(sequences: list[int]) -> list[int]:
    """First arrivals only, in the order they came."""
    return list(dict.fromkeys(sequences))


def test_results_reach_the_cloud_in_order_with_their_bytes_and_are_forgotten_on_its_receipt(box: Box) -> None:
    port = box.add_tcp("xn")
    with cloud_of(box) as cloud:
        box.start()
        report(port, 1, 30)
        eventually(lambda: box.waiting("xn") == 0, what="everything is confirmed")
        assert in_order(cloud.sequences("xn")) == list(range(1, 31))
        message = cloud.messages("xn")[0]
        assert base64.b64decode(message["raw"]) == b"".join(box.frames("xn")[:5])
        assert message["items"][0]["specimen"] == "00000001"
        assert message["state"] == "decoded"


def test_a_message_waits_for_its_receipt_however_often_the_broker_says_it_has_it(box: Box) -> None:
    port = box.add_tcp("xn")
    with cloud_of(box, receipts=False) as cloud:
        box.start()
        report(port, 1, 3)
        eventually(lambda: in_order(cloud.sequences("xn")) == [1, 2, 3], what="all arrived")
        assert box.waiting("xn") == 3
        cloud.confirm("xn")
        eventually(lambda: box.waiting("xn") == 0, what="the receipt is stored")


def test_a_single_receipt_out_of_turn_confirms_only_its_own_message(box: Box) -> None:
    port = box.add_tcp("xn")
    with cloud_of(box, receipts=False) as cloud:
        box.start()
        report(port, 1, 3)
        eventually(lambda: len(in_order(cloud.sequences("xn"))) == 3, what="all arrived")
        cloud.send("receipt", {"epoch": cloud.epoch("xn"), "link": "xn", "through": 0, "also": [2]})
        eventually(lambda: box.waiting("xn") == 2, what="one is confirmed")


def test_a_receipt_of_another_epoch_confirms_nothing(box: Box) -> None:
    port = box.add_tcp("xn")
    with cloud_of(box, receipts=False) as cloud:
        box.start()
        report(port, 1, 2)
        eventually(lambda: len(in_order(cloud.sequences("xn"))) == 2, what="all arrived")
        cloud.send("receipt", {"epoch": "0" * 16, "link": "xn", "through": 2})
        cloud.send("receipt", {"epoch": cloud.epoch("xn"), "link": "xn", "through": 1})
        eventually(lambda: box.waiting("xn") == 1, what="only the true receipt counts")


def test_messages_whose_receipt_was_lost_are_sent_again(box: Box) -> None:
    box.receipt_timeout_s = 0.5
    port = box.add_tcp("xn")
    with cloud_of(box, receipts=False) as cloud:
        box.start()
        report(port, 1, 3)
        eventually(lambda: cloud.sequences("xn").count(1) >= 2, what="the first message came twice")
        cloud.receipts = True
        eventually(lambda: box.waiting("xn") == 0, what="everything is confirmed")
        assert in_order(cloud.sequences("xn")) == [1, 2, 3]


def test_a_broker_killed_and_started_again_loses_nothing(box: Box, broker: Broker) -> None:
    box.receipt_timeout_s = 1.0  # a broker that died took what it had acknowledged with it
    port = box.add_tcp("xn")
    with cloud_of(box) as cloud:
        box.start()
        for round_ in range(3):
            report(port, round_ * 20, 10)
            broker.kill()
            report(port, round_ * 20 + 10, 10)  # the bench does not wait for a broker
            broker.start()
            cloud.wait_until_listening()
        eventually(lambda: box.waiting("xn") == 0, within_s=60, what="everything is confirmed")
        assert sorted(set(cloud.sequences("xn"))) == list(range(1, 61))


def test_a_broker_that_is_absent_at_the_start_is_found_when_it_comes(box: Box, broker: Broker) -> None:
    broker.kill()
    port = box.add_tcp("xn")
    box.start()
    report(port, 1, 5)
    assert box.waiting("xn") == 5
    broker.start()
    with cloud_of(box) as cloud:
        eventually(lambda: box.waiting("xn") == 0, within_s=60, what="everything is confirmed")
        assert in_order(cloud.sequences("xn")) == [1, 2, 3, 4, 5]


def test_a_box_killed_before_the_receipt_sends_again_under_the_same_identity(box: Box) -> None:
    port = box.add_tcp("xn")
    with cloud_of(box, receipts=False) as cloud:
        box.start()
        report(port, 1, 4)
        eventually(lambda: in_order(cloud.sequences("xn")) == [1, 2, 3, 4], what="all arrived")
        box.kill()
        box.start()
        eventually(lambda: cloud.sequences("xn").count(4) == 2, what="all arrived again")
        assert len({each["epoch"] for each in cloud.envelopes}) == 1
        by_sequence: dict[int, set[str]] = {}
        for message in cloud.messages("xn"):
            by_sequence.setdefault(message["sequence"], set()).add(message["sha256"])
        assert all(len(each) == 1 for each in by_sequence.values())


def test_what_the_cloud_misses_is_sent_again_also_when_it_was_confirmed(box: Box) -> None:
    port = box.add_tcp("xn")
    with cloud_of(box) as cloud:
        box.start()
        report(port, 1, 6)
        eventually(lambda: box.waiting("xn") == 0, what="everything is confirmed")
        cloud.send("gap", {"epoch": cloud.epoch("xn"), "link": "xn", "first": 2, "last": 4})
        eventually(lambda: len(cloud.sequences("xn")) == 9, what="the gap is filled")
        assert sorted(cloud.sequences("xn")) == [1, 2, 2, 3, 3, 4, 4, 5, 6]


def test_a_link_with_a_long_backlog_does_not_hold_the_others_up(box: Box) -> None:
    box.window = 10
    backlog, live = box.add_tcp("backlog"), box.add_tcp("live")
    with cloud_of(box, receipts=False) as cloud:
        box.start()
        report(backlog, 1, 40)
        eventually(lambda: len(cloud.sequences("backlog")) == 10, what="the window is full")
        report(live, 1, 1)
        cloud.confirm("backlog")
        eventually(lambda: cloud.sequences("live") == [1], what="the live result arrives")
        assert len(in_order(cloud.sequences("backlog"))) <= 20


def test_an_unreadable_message_from_the_cloud_is_counted_and_harms_nothing(box: Box) -> None:
    port = box.add_tcp("xn")
    with cloud_of(box) as cloud:
        box.start()
        cloud.send("receipt", {"nonsense": True})
        cloud.send("surprise", {})
        report(port, 1, 1)
        eventually(lambda: box.waiting("xn") == 0, what="the result is confirmed")
        eventually(lambda: (box.status() or {})["cloud"]["unreadable"] == 2, what="both are counted")


@pytest.mark.req("GW-7")
def test_a_host_query_is_answered_while_broker_and_cloud_are_gone(box: Box, broker: Broker) -> None:
    port = box.add_tcp("xn")
    with cloud_of(box) as cloud:
        box.start()
        cloud.send_worklist(box.gateway, [cloud.order(1, "26010001", "xn", ["WBC", "HGB"])], after=0)
        cloud.has_revision(1)
    broker.kill()
    box.kill()
    box.start()
    analyzer = over_tcp("127.0.0.1", port)
    analyzer.report(xn_query("26010001"))
    [order] = [each for each in analyzer.take_message() if b"O|" in each]
    assert b"WBC" in order
    assert b"HGB" in order
    analyzer.report(xn_query("26019999"))
    [order] = [each for each in analyzer.take_message() if b"O|" in each]
    assert b"WBC" not in order, "an unknown specimen must be answered with no order"
    analyzer.close()
    eventually(lambda: answered(box) == 2, what="both queries are counted")


def answered(box: Box) -> int:
    status = box.status()
    return 0 if status is None else int(status["links"][0]["answered_queries"])


@pytest.mark.req("GW-7")
def test_a_cancelled_order_is_no_longer_given_out(box: Box) -> None:
    port = box.add_tcp("xn")
    with cloud_of(box) as cloud:
        box.start()
        cloud.send_worklist(box.gateway, [cloud.order(1, "26010001", "xn", ["WBC"])], after=0)
        cloud.send_worklist(box.gateway, [cloud.order(2, "26010001", "xn", [])], after=1)
        cloud.has_revision(2)
        analyzer = over_tcp("127.0.0.1", port)
        analyzer.report(xn_query("26010001"))
        [order] = [each for each in analyzer.take_message() if b"O|" in each]
        assert b"WBC" not in order
        analyzer.close()


@pytest.mark.req("GW-7")
def test_a_box_that_missed_a_worklist_says_where_it_stands_instead_of_going_on(box: Box) -> None:
    box.add_tcp("xn")
    with cloud_of(box) as cloud:
        box.start()
        cloud.send_worklist(box.gateway, [cloud.order(1, "26010001", "xn", ["WBC"])], after=0)
        cloud.has_revision(1)
        said = len(cloud.states)
        cloud.send_worklist(box.gateway, [cloud.order(3, "26010003", "xn", ["WBC"])], after=2)
        eventually(lambda: len(cloud.states) > said, what="the box says where it stands")
        assert cloud.states[-1]["worklist_revision"] == 1
        entries = [cloud.order(2, "26010002", "xn", ["WBC"]), cloud.order(3, "26010003", "xn", ["WBC"])]
        cloud.send_worklist(box.gateway, entries, after=1)
        cloud.has_revision(3)


@pytest.mark.req("GW-7")
def test_revisions_that_no_longer_exist_do_not_stop_a_new_box(box: Box) -> None:
    """A cloud that says nothing of `after` and keeps only what is alive: its first revision is 41."""
    box.add_tcp("xn")
    with cloud_of(box) as cloud:
        box.start()
        alive = [cloud.order(41, "26010041", "xn", ["WBC"])]
        cloud.send_worklist(box.gateway, alive)
        eventually(lambda: len(cloud.states) >= 2, what="the box says that something is missing")
        cloud.send_worklist(box.gateway, alive)
        cloud.has_revision(41)


def test_the_box_says_how_it_is_when_it_connects(box: Box) -> None:
    box.add_tcp("xn")
    with cloud_of(box) as cloud:
        box.start()
        eventually(lambda: cloud.states, what="a state")
        state = cloud.states[0]
        assert state["gateway"] == box.gateway
        assert state["worklist_revision"] == 0
        assert [each["link"] for each in state["links"]] == ["xn"]


def test_a_wrong_password_is_told_and_the_bench_is_served(tmp_path: Path) -> None:
    program = mosquitto_path()
    if program is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    closed = Broker(program, tmp_path)
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(configuration.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    closed.start()
    box = Box(tmp_path, closed.port)
    port = box.add_tcp("xn")
    try:
        box.start()
        report(port, 1, 1)
        eventually(lambda: "uthorized" in (box.status() or {})["cloud"]["reason"], what="the reason is shown")
        assert box.waiting("xn") == 1
    finally:
        box.stop()
        closed.stop()


def test_the_box_leaves_no_port_open_when_it_is_told_to_stop(box: Box) -> None:
    port = box.add_tcp("xn")
    box.start()
    box.stop()
    with pytest.raises(OSError, match="refused"):
        over_tcp("127.0.0.1", port, within_s=0)
    assert free_port()


@pytest.mark.req("GW-9")
def test_results_go_out_although_no_line_of_the_log_can_be_written(box: Box, broker: Broker) -> None:
    """Its file lies on the disk that is full: losing a connection and finding it again has much to say."""
    port = box.add_tcp("xn")
    box.receipt_timeout_s = 1.0
    (box.folder / "edge.log").symlink_to("/dev/full")
    with cloud_of(box) as cloud:
        box.start()
        report(port, 1, 2)
        eventually(lambda: in_order(cloud.sequences("xn")) == [1, 2], what="the cloud is reached")
        broker.kill()
        report(port, 3, 2)
        broker.start()
        eventually(lambda: box.waiting("xn") == 0, what="everything is confirmed")
    status = box.status()
    assert status is not None
    assert status["log_lines_lost"] > 0
