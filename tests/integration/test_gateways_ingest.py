"""Ingest workers as operating-system processes on a real broker: killed, taken over, in sequence, once."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from cloud.gateways.model import PartitionLease, Quarantine
from cloud.kit.db import begin
from protocols.uplink.envelope import Envelope
from tests.support.broker import Broker
from tests.support.gateways import EPOCH, applied_sequences, envelope, ledger, make_ledger, message, registered
from tests.support.uplink_box import Box
from tests.support.waiting import eventually
from tests.support.web_server import free_port

ROOT = Path(__file__).resolve().parents[2]
BOXES = (("box-a", 0), ("box-b", 1), ("box-c", 2))
LEASE_S = 3.0
StartWorker = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def laboratory(database: str, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloud.config import settings

    monkeypatch.setenv("XINGLIN_MQTT_HOST", broker.host)
    monkeypatch.setenv("XINGLIN_MQTT_PORT", str(broker.port))
    monkeypatch.setenv("XINGLIN_PARTITIONS", "3")
    settings.cache_clear()
    registered(*BOXES)
    make_ledger()


@pytest.fixture
def start_worker(laboratory: None, tmp_path: Path) -> Iterator[StartWorker]:
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.ingest_worker", name, str(LEASE_S)],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(20)


@pytest.fixture
def boxes(laboratory: None, broker: Broker) -> Iterator[dict[str, Box]]:
    found = {name: Box(name, partition, host=broker.host, port=broker.port) for name, partition in BOXES}
    yield found
    for each in found.values():
        each.close()


def holders() -> dict[int, str]:
    """Partition to the process id of its holder."""
    with begin() as session:
        rows = session.execute(select(PartitionLease.partition, PartitionLease.holder))
        return {row.partition: row.holder.split(":")[1] for row in rows if row.holder}


def shared_by(*workers: subprocess.Popen[bytes]) -> bool:
    return set(holders().values()) == {str(each.pid) for each in workers} and len(holders()) == len(BOXES)


def heard(*boxes: Box) -> None:
    """Send one message on a link of its own, again and again like a box without a receipt, until one comes."""
    for box in boxes:

        def answered(box: Box = box) -> bool:
            box.publish([envelope(box.gateway, "probe", [1])])
            return box.covered(EPOCH, "probe", [1])

        eventually(answered, within_s=60, what=f"{box.gateway} is heard")


def results() -> list[Any]:
    return [each for each in ledger() if each.link != "probe"]


def morning(gateway: str, links: tuple[str, ...], count: int, chance: random.Random) -> list[Envelope]:
    """`count` messages a link in envelopes of 1 to 8, links mixed, some repeated and some neighbours swapped."""
    sent: list[Envelope] = []
    for link in links:
        first = 1
        while first <= count:
            last = min(count, first + chance.randrange(8))
            sent.append(envelope(gateway, link, range(first, last + 1)))
            first = last + 1
    sent.sort(key=lambda each: (each.messages[0].sequence, each.link))
    for place in range(len(sent) - 1):
        if chance.random() < 0.05:
            sent[place], sent[place + 1] = sent[place + 1], sent[place]
    return [each for one in sent for each in ([one, one] if chance.random() < 0.05 else [one])]


def run_the_morning(boxes: dict[str, Box], start_worker: StartWorker, total: int) -> dict[str, object]:
    """Send `total` messages over three boxes with two links each; kill -9 one of two workers while they arrive."""
    per_link = -(-total // (len(BOXES) * 2))
    links = ("xn", "bs")
    first, second = start_worker("one"), start_worker("two")
    eventually(lambda: shared_by(first, second), within_s=60, what="two workers share the partitions")
    heard(*boxes.values())
    chance = random.Random(20260302)
    batches = {name: morning(name, links, per_link, chance) for name in boxes}
    began = time.monotonic()
    middle = {name: len(sent) // 2 for name, sent in batches.items()}
    for name, box in boxes.items():
        box.publish(batches[name][: middle[name]])
    eventually(
        lambda: len(found := results()) > total // 10 and first.pid in {each.worker for each in found},
        within_s=120,
        what="a tenth of the messages is applied, some by the worker that is to die",
    )
    first.kill()
    first.wait()
    killed_at, applied_at_kill = time.monotonic(), len(results())
    for name, box in boxes.items():
        box.publish(batches[name][middle[name] :])
    eventually(lambda: shared_by(second), within_s=60, what="the survivor holds every partition")
    takeover_s = time.monotonic() - killed_at
    everything = per_link * len(links) * len(BOXES)
    eventually(lambda: len(results()) >= everything, within_s=240, what="every message is applied")
    seconds = time.monotonic() - began
    eventually(
        lambda: all(box.covered(EPOCH, link, range(1, per_link + 1)) for box in boxes.values() for link in links),
        within_s=60,
        what="receipts cover every message",
    )
    for name in boxes:
        for link in links:
            assert applied_sequences(name, link) == list(range(1, per_link + 1)), f"{name}/{link} in sequence, once"
    workers = Counter(each.worker for each in results())
    assert set(workers) == {first.pid, second.pid}, "both workers had their part"
    return {
        "messages": everything,
        "applied": len(results()),
        "applied_at_kill": applied_at_kill,
        "by_killed_worker": workers[first.pid],
        "by_survivor": workers[second.pid],
        "takeover_s": round(takeover_s, 1),
        "lease_s": LEASE_S,
        "seconds": round(seconds, 1),
        "messages_per_s": round(everything / seconds),
    }


@pytest.mark.req("GW-10")
def test_a_killed_workers_partitions_are_taken_over_and_every_message_is_applied_in_sequence_once(
    boxes: dict[str, Box], start_worker: StartWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = run_the_morning(boxes, start_worker, 1200)
    with capsys.disabled():
        print("\ningest, one of two workers killed -9:", json.dumps(figures))


@pytest.mark.slow
@pytest.mark.req("GW-10")
def test_ten_thousand_messages_of_three_boxes_survive_a_killed_worker(
    boxes: dict[str, Box], start_worker: StartWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = run_the_morning(boxes, start_worker, 10_000)
    with capsys.disabled():
        print("\ningest, one of two workers killed -9:", json.dumps(figures))


@pytest.mark.req("GW-10")
def test_a_gap_is_asked_for_at_the_box_and_filled(boxes: dict[str, Box], start_worker: StartWorker) -> None:
    box = boxes["box-a"]
    start_worker("one")
    heard(box)
    box.publish([envelope("box-a", "xn", [1, 2]), envelope("box-a", "xn", [5])])
    eventually(lambda: box.gaps, what="the box is asked for the gap")
    assert [(each.epoch, each.link, each.first, each.last) for each in box.gaps] == [(EPOCH, "xn", 3, 4)]
    assert applied_sequences("box-a", "xn") == [1, 2]
    box.publish([envelope("box-a", "xn", [3, 4])])
    eventually(lambda: applied_sequences("box-a", "xn") == [1, 2, 3, 4, 5], what="the link goes on")


def test_a_frozen_worker_that_wakes_up_neither_applies_nor_throws_out_its_successor(
    boxes: dict[str, Box], start_worker: StartWorker
) -> None:
    box = boxes["box-a"]
    frozen = start_worker("one")
    eventually(lambda: set(holders().values()) == {str(frozen.pid)}, what="the first worker holds the partitions")
    heard(box)
    box.publish([envelope("box-a", "xn", [1])])
    eventually(lambda: applied_sequences("box-a", "xn") == [1], what="it applies")
    frozen.send_signal(signal.SIGSTOP)
    successor = start_worker("two")
    eventually(lambda: set(holders().values()) == {str(successor.pid)}, within_s=60, what="the second takes over")
    box.publish([envelope("box-a", "xn", [2])])
    eventually(lambda: applied_sequences("box-a", "xn") == [1, 2], what="the second applies")
    frozen.send_signal(signal.SIGCONT)
    eventually(lambda: shared_by(frozen, successor), within_s=60, what="they share again")
    box.publish([envelope("box-a", "xn", [each]) for each in range(3, 60)])
    eventually(lambda: len(applied_sequences("box-a", "xn")) == 59, what="all are applied")
    assert applied_sequences("box-a", "xn") == list(range(1, 60))


@pytest.mark.req("GW-10")
def test_what_was_sent_while_no_worker_lived_waits_at_the_broker(
    boxes: dict[str, Box], start_worker: StartWorker
) -> None:
    worker = start_worker("one")
    heard(boxes["box-a"])
    boxes["box-a"].publish([envelope("box-a", "xn", [1])])
    eventually(lambda: applied_sequences("box-a", "xn") == [1], what="the subscription exists")
    worker.terminate()
    assert worker.wait(20) == 0
    assert holders() == {}, "a worker that ends gives its leases back"
    boxes["box-a"].publish([envelope("box-a", "xn", [2, 3])])
    start_worker("two")
    eventually(lambda: applied_sequences("box-a", "xn") == [1, 2, 3], what="they are delivered and applied")


def test_a_broker_killed_in_the_middle_costs_nothing_that_the_box_sends_again(
    boxes: dict[str, Box], broker: Broker, start_worker: StartWorker
) -> None:
    start_worker("one")
    box = boxes["box-a"]
    heard(box)
    box.publish([envelope("box-a", "xn", [1, 2])])
    eventually(lambda: box.covered(EPOCH, "xn", [1, 2]), what="the first receipt")
    broker.kill()
    broker.start()
    eventually(lambda: box.connected, what="the box is connected again")

    def sent_again() -> bool:
        # A box sends again what no receipt covers, after every reconnect.
        box.publish([envelope("box-a", "xn", [3]), envelope("box-a", "xn", [4, 5])])
        return box.covered(EPOCH, "xn", [3, 4, 5])

    eventually(sent_again, within_s=60, what="receipts after the broker's restart")
    eventually(lambda: len(applied_sequences("box-a", "xn")) == 5, what="all are applied")
    assert applied_sequences("box-a", "xn") == [1, 2, 3, 4, 5]


def test_malformed_and_unknown_payloads_on_the_wire_are_quarantined_and_the_partition_goes_on(
    boxes: dict[str, Box], start_worker: StartWorker
) -> None:
    start_worker("one")
    box = boxes["box-a"]
    heard(box)
    box.publish([envelope("box-a", "xn", [1])])
    box.publish_raw("xinglin/v1/0/box-a/up/xn", b"{]")
    box.publish_raw("xinglin/v1/0/stranger/up/xn", envelope("stranger", "xn", [1]).to_bytes())
    box.publish([envelope("box-a", "xn", [message(2)])])
    eventually(lambda: applied_sequences("box-a", "xn") == [1, 2], what="the link goes on")
    with begin() as session:
        reasons = list(session.scalars(select(Quarantine.reason).order_by(Quarantine.topic)))
    assert len(reasons) == 2
    assert reasons[0].startswith("not JSON")
    assert reasons[1].startswith("unknown gateway stranger")


@pytest.mark.req("OPS-1")
def test_a_worker_tells_a_monitor_what_it_stored_applied_quarantined_and_missed(boxes: dict[str, Box]) -> None:
    port, box = free_port(), boxes["box-a"]
    command = [sys.executable, "-m", "cloud", "ingest", "--worker-id", "one", "--metrics-port", str(port)]
    worker = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        heard(box)
        box.publish([envelope("box-a", "xn", [1, 2]), envelope("box-a", "xn", [1, 5])])
        box.publish_raw("xinglin/v1/0/box-a/up/xn", b"{]")
        eventually(lambda: box.gaps, what="the box is asked for the gap")

        def told() -> dict[str, float]:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith("xinglin_ingest"))
            return {name: float(value) for name, _, value in lines}

        expected = {
            "xinglin_ingest_messages_stored_total": 4,
            "xinglin_ingest_messages_applied_total": 3,
            'xinglin_ingest_quarantined_total{what="payload"}': 1,
            "xinglin_ingest_gap_requests_total": 1,
            'xinglin_ingest_inbox{what="messages_pending"}': 1,
            'xinglin_ingest_inbox{what="links_at_a_gap"}': 1,
        }
        eventually(lambda: expected.items() <= told().items(), what="the numbers")
        assert told()["xinglin_ingest_messages_repeated_total"] >= 1
    finally:
        worker.terminate()
        assert worker.wait(20) == 0


def test_a_port_for_the_monitor_that_is_taken_is_named(laboratory: None) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "cloud", "jobs", "--metrics-port", port]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert f"127.0.0.1:{port}" in ended.stderr.splitlines()[-1]


def test_a_broker_that_is_absent_at_the_start_is_named(laboratory: None, broker: Broker) -> None:
    broker.stop()
    command = [sys.executable, "-m", "cloud", "ingest", "--worker-id", "one"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert "XINGLIN_MQTT_PORT" in ended.stderr


def test_a_database_that_breaks_every_connection_for_a_moment_costs_nothing(
    boxes: dict[str, Box], start_worker: StartWorker
) -> None:
    start_worker("one")
    box = boxes["box-a"]
    heard(box)
    box.publish([envelope("box-a", "xn", [1])])
    eventually(lambda: applied_sequences("box-a", "xn") == [1], what="it runs")
    with begin() as session:
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    box.publish([envelope("box-a", "xn", [2, 3])])
    eventually(lambda: applied_sequences("box-a", "xn") == [1, 2, 3], what="it goes on")
    assert os.getpid() not in {each.worker for each in ledger()}
