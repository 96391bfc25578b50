"""The real box, a real mosquitto and the real inbox: nothing lost, nothing twice, whatever lies between them."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from cloud.gateways.model import Comparison, Gateway, InboxMessage, Reconciliation
from cloud.gateways.reconciliation import ask_reconciliation, reconciliations, send_request
from cloud.kit.db import begin
from tests.support.analyzer import frame, over_tcp, xn_result
from tests.support.box import Box
from tests.support.broker import Broker, start_mosquitto
from tests.support.gateways import make_ledger, registered
from tests.support.relay import Relay
from tests.support.waiting import eventually

pytestmark = pytest.mark.req("GW-10")
ROOT = Path(__file__).resolve().parents[2]
StartCloud = Callable[[Broker], None]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path, broker_port=0, receipt_timeout_s=2.0)
    yield made
    made.stop()


@pytest.fixture
def start_cloud(database: str, box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartCloud]:
    """The ingest worker on a broker; its laboratory keeps a ledger."""
    from cloud.config import settings

    running: list[subprocess.Popen[bytes]] = []

    def start(broker: Broker) -> None:
        monkeypatch.setenv("XINGLIN_MQTT_HOST", broker.host)
        monkeypatch.setenv("XINGLIN_MQTT_PORT", str(broker.port))
        monkeypatch.setenv("XINGLIN_PARTITIONS", "4")
        settings.cache_clear()
        registered((box.gateway, box.partition))
        make_ledger()
        written = tmp_path / "ingest.log"
        with written.open("ab") as log:
            command = [sys.executable, "-m", "tests.support.ingest_worker", "one", "3"]
            running.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log))
        eventually(lambda: written.read_text().count("partition_connected") == 4, what="the worker has connected")

    yield start
    for process in running:
        process.terminate()
        process.wait(20)


def large_result(specimen: str, kilobytes: int, seed: int) -> list[bytes]:
    """A result with comments that do not shrink much."""
    chance = random.Random(seed)
    records = xn_result(specimen)
    comments = [b"C|%d|I|%b|G" % (number, chance.randbytes(450).hex().encode()) for number in range(1, kilobytes + 1)]
    return [*records[:-1], *comments, records[-1]]


def report(port: int, *messages: list[bytes]) -> list[bytes]:
    """What the instrument sent of each message, as the box keeps it."""
    analyzer = over_tcp("127.0.0.1", port)
    for each in messages:
        analyzer.report(each)
    analyzer.close()
    return [b"".join(frame(number, record + b"\r") for number, record in enumerate(each, start=1)) for each in messages]


def inbox(link: str) -> list[InboxMessage]:
    with begin() as session:
        statement = select(InboxMessage).where(InboxMessage.link == link).order_by(InboxMessage.sequence)
        return list(session.scalars(statement))


def all_confirmed(box: Box, *links: str) -> None:
    eventually(lambda: all(box.waiting(link) == 0 for link in links), within_s=60, what="everything has its receipt")


@pytest.mark.req("GW-11")
def test_messages_larger_than_the_broker_takes_arrive_whole_and_hold_nobody_up(
    box: Box, start_cloud: StartCloud, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broker = start_mosquitto(tmp_path_factory.mktemp("small"), "max_packet_size 20000")
    try:
        box.broker_port = broker.port
        start_cloud(broker)
        port = box.add_tcp("xn")
        box.start()
        messages = [xn_result("1"), large_result("2", 60, 2), xn_result("3"), large_result("4", 12, 4), xn_result("5")]
        sent = report(port, *messages)
        all_confirmed(box, "xn")
        assert [each.raw for each in inbox("xn")] == sent
        assert len(inbox("xn")[1].items[0]["comments"]) == 60
        status = box.status() or {}
        assert (status["cloud"]["connections"], status["cloud"]["payload_limit"] < 20_000) == (1, True)
    finally:
        box.stop()
        broker.stop()


def test_a_broker_that_hangs_up_on_a_large_message_without_a_word_gets_it_in_parts(
    box: Box, start_cloud: StartCloud, tmp_path_factory: pytest.TempPathFactory
) -> None:
    broker = start_mosquitto(tmp_path_factory.mktemp("rude"), "message_size_limit 30000")
    try:
        box.broker_port = broker.port
        start_cloud(broker)
        port = box.add_tcp("xn")
        box.start()
        sent = report(port, xn_result("1"), large_result("2", 50, 2), xn_result("3"))
        all_confirmed(box, "xn")
        assert [each.raw for each in inbox("xn")] == sent
    finally:
        box.stop()
        broker.stop()


def test_what_was_deleted_or_changed_in_the_cloud_is_found_by_comparing_with_the_box(
    box: Box, broker: Broker, start_cloud: StartCloud
) -> None:
    box.broker_port = broker.port
    start_cloud(broker)
    port = box.add_tcp("xn")
    box.start()
    sent = report(port, *(xn_result(f"{number:08}") for number in range(1, 41)))
    all_confirmed(box, "xn")
    eventually(lambda: gateway_epoch(box.gateway), what="the box has described itself")
    assert compared(box).state == Comparison.EQUAL
    with begin() as session:
        session.execute(delete(InboxMessage).where(InboxMessage.sequence == 11))
        session.execute(update(InboxMessage).where(InboxMessage.sequence == 23).values(raw=b"forged"))
    row = compared(box)
    assert row.state == Comparison.DIFFERENT
    found = {each["first"]: (each["what"], bool(each["repaired_at"])) for each in row.findings}
    assert found == {11: ("missing_here", True), 23: ("altered", False)}
    raws = [each.raw for each in inbox("xn") if each.epoch == row.epoch]
    assert raws == [*sent[:22], b"forged", *sent[23:]]
    [beside] = eventually(lambda: [each for each in inbox("xn") if each.epoch != row.epoch], what="the box's own copy")
    assert beside.raw == sent[22]


def gateway_epoch(gateway: str) -> str | None:
    with begin() as session:
        return session.get_one(Gateway, gateway).epoch


def compared(box: Box) -> Reconciliation:
    """Ask the box, and wait until the comparison is over."""
    with begin() as session:
        run = ask_reconciliation(session, box.gateway, "xn", by="staff:zhao").run
    send_request(begin, box.gateway, run)

    def over() -> Reconciliation | None:
        with begin() as session:
            [row] = [each for each in reconciliations(session, box.gateway, "xn") if each.run == run]
            return row if row.state in (Comparison.EQUAL, Comparison.REPAIRED, Comparison.DIFFERENT) else None

    return eventually(over, what="the comparison is over")


def test_behind_a_broker_that_loses_repeats_and_reorders_everything_is_stored_once(
    box: Box, broker: Broker, start_cloud: StartCloud, tmp_path_factory: pytest.TempPathFactory
) -> None:
    near = start_mosquitto(tmp_path_factory.mktemp("near"))
    relay = Relay(near, broker, f"xinglin/v1/{box.partition}/{box.gateway}", seed=20261123)
    try:
        start_cloud(broker)
        box.broker_port = near.port
        ports = {link: box.add_tcp(link) for link in ("xn", "bs", "cs")}
        box.start()
        sent: dict[str, list[bytes]] = {link: [] for link in ports}
        for round_ in range(4):
            for link, port in ports.items():
                sent[link] += report(port, *(xn_result(f"{round_}{number:07}") for number in range(30)))
        eventually(
            lambda: relay.lost and relay.repeated and relay.swapped and relay.receipts_lost, what="all of the mischief"
        )
        relay.behave()  # what was lost is tried again until it gets through; the test need not wait for luck
        all_confirmed(box, *ports)
        for link, raws in sent.items():
            rows = inbox(link)
            assert [each.sequence for each in rows] == list(range(1, len(raws) + 1)), f"{link}: each once"
            assert [each.sha256 for each in rows] == [hashlib.sha256(raw).hexdigest() for raw in raws]
    finally:
        box.stop()
        relay.close()
        near.stop()
