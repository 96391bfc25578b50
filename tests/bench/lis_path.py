"""``./xinglin bench lis-path``: results a second from the broker to judged by the rules, sustained.

A real mosquitto and the cloud's own ingest worker (``python -m cloud ingest``) on PostgreSQL with syncs as in
production (``--no-durable``: without). Blood counts of 24 results each, every tube ordered and received beforehand, are
published in envelopes as boxes send them, QoS 1, faster than the worker takes them; after a warm-up the results stored
in the span are counted. Processor seconds are those of the worker and of its database sessions; ``--shares`` is another
run, with a watch on the worker's steps: waiting for the database, decoding, rules, the rest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import psycopg
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from cloud import config
from cloud.app import load_slices
from cloud.gateways.service import register_gateway
from cloud.hospital.service import ensure_department, main_campus
from cloud.kit import db, embedded
from cloud.kit.db import begin
from cloud.kit.live import libpq_url
from cloud.lis.instruments.model import Instrument, InstrumentChannel
from cloud.lis.orders.service import place_order
from cloud.lis.specimens import service as specimens
from protocols.model import Observation
from protocols.uplink.envelope import Envelope, Message, MessageState
from protocols.uplink.topics import up_topic
from tests.bench.ingest import COUNT
from tests.support.bench import set_up
from tests.support.broker import start_mosquitto

ROOT = Path(__file__).resolve().parents[2]
BOXES = 4
EPOCH = "5f3a9c0e11d2b744"
PER_ENVELOPE = 10


@dataclass(slots=True)
class Cpu:
    """Processor seconds so far."""

    worker: float
    database: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--warm-up", type=float, default=10.0)
    parser.add_argument("--tubes", type=int, default=8000, help="ordered beforehand; more than the span can take")
    parser.add_argument("--no-durable", action="store_true", help="PostgreSQL without syncs")
    parser.add_argument("--shares", action="store_true", help="watch where the worker's time goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _database(Path(folder), durable=not arguments.no_durable) as pid:
        barcodes = _order(arguments.tubes)
        broker = start_mosquitto(Path(folder))
        os.environ |= {"XINGLIN_MQTT_HOST": "127.0.0.1", "XINGLIN_MQTT_PORT": str(broker.port)}
        try:
            with _worker(Path(folder), shares=arguments.shares) as worker:
                return _run(arguments, worker, pid, broker.port, barcodes)
        finally:
            broker.stop()


@contextmanager
def _database(folder: Path, *, durable: bool) -> Iterator[int]:
    os.environ |= {"XINGLIN_ENVIRONMENT": "test", "XINGLIN_STATE_DIR": str(folder), "XINGLIN_HASHING": "least"}
    os.environ["XINGLIN_PARTITIONS"] = "1"
    config.settings.cache_clear()
    server = embedded.start(config.settings(), durable=durable)
    os.environ["XINGLIN_DATABASE_URL"] = server.url
    config.settings.cache_clear()
    load_slices()
    subprocess.run([sys.executable, "-m", "cloud", "migrate"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    try:
        yield server.pid
    finally:
        db.engine().dispose()
        server.stop()


def _order(tubes: int) -> list[list[str]]:
    """Boxes with an analyzer each, and so many received tubes; the barcodes by box."""
    found: list[list[str]] = [[] for _ in range(BOXES)]
    with begin() as session:
        bench = set_up(session)
        department = ensure_department(session, code="RESP", name="呼吸内科门诊").id
        campus = main_campus(session).id
        for box in range(BOXES):
            register_gateway(session, id=f"bench-{box}", name=f"bench-{box}", campus_id=campus, partition=0)
            made = Instrument(code=f"B{box}", name=f"B{box}", gateway=f"bench-{box}", link="xn", driver="sysmex_xn")
            session.add(made)
            session.flush()
            for code in COUNT:
                test = bench.tests[code]
                session.add(InstrumentChannel(instrument_id=made.id, code=code, test_id=test.id, unit=test.unit))
        person = bench.person_id
    say(f"ordering {tubes} tubes ...")
    for first in range(0, tubes, 50):
        with begin() as session:
            for number in range(first, min(first + 50, tubes)):
                order = place_order(
                    session, person_id=person, department_id=department, items=list(COUNT), source="manual",
                    ordered_by="李医生",
                )  # fmt: skip
                tube = specimens.print_labels(session, order.id, by="staff:bench")[0]
                specimens.receive(session, tube.accession, by="staff:bench")
                found[number % BOXES].append(tube.accession)
    return found


@contextmanager
def _worker(folder: Path, *, shares: bool) -> Iterator[subprocess.Popen[bytes]]:
    program = ["-m", "tests.bench.lis_path_shares"] if shares else ["-m", "cloud"]
    with open(folder / "worker.log", "wb") as log:
        worker = subprocess.Popen(
            [sys.executable, *program, "ingest", "--worker-id", "bench"], cwd=ROOT, stdout=log, stderr=log
        )
        try:
            # What is published before the worker subscribed has no session to wait in.
            _until(lambda: b"partition_connected" in (folder / "worker.log").read_bytes(), 60)
            yield worker
        finally:
            worker.terminate()
            worker.wait(30)
            if shares:
                print((folder / "worker.log").read_text(errors="replace").partition("== shares ==")[2])


def _run(
    arguments: argparse.Namespace,
    worker: subprocess.Popen[bytes],
    postmaster: int,
    port: int,
    barcodes: list[list[str]],
) -> int:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "bench-boxes", protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(100)
    client.connect("127.0.0.1", port)
    client.loop_start()
    count = sum(_publish(client, box, mine) for box, mine in enumerate(barcodes))
    say(f"{count} messages of {len(COUNT)} results published; warming up {arguments.warm_up:.0f} s")
    with psycopg.connect(libpq_url(config.settings().database_url), autocommit=True) as connection:
        _until(lambda: _stored(connection) > 0, 60)
        time.sleep(arguments.warm_up)
        before, cpu, started = _stored(connection), _cpu(worker.pid, postmaster), time.monotonic()
        marks = [(started, before)]
        while time.monotonic() - started < arguments.seconds and worker.poll() is None:
            time.sleep(min(10.0, arguments.seconds / 4))
            marks.append((time.monotonic(), _stored(connection)))
            if marks[-1][1] >= count * len(COUNT):
                say("every tube was taken before the time was over: give more --tubes")
                break
        after, spent = _stored(connection), _cpu(worker.pid, postmaster)
        left = connection.execute("SELECT count(*) FROM gateway_inbox WHERE state = 'quarantined'").fetchone()
    took = marks[-1][0] - started
    pieces = [(b - a) / (t - s) for (s, a), (t, b) in pairwise(marks)]
    results = after - before
    rate = results / took
    say(f"{results} results judged in {took:.0f} s: {rate:.0f} results/s, {rate / len(COUNT):.1f} messages/s")
    say(f"in pieces of it: least {min(pieces):.0f}, most {max(pieces):.0f} results/s; quarantined: {left and left[0]}")
    in_worker, in_database = spent.worker - cpu.worker, spent.database - cpu.database
    whole = in_worker + in_database
    per_thousand = 1000 / max(1, results)
    say(
        f"processor: worker {in_worker:.1f} s ({in_worker / took:.2f} cores, {100 * in_worker / whole:.0f} %),"
        f" database {in_database:.1f} s ({in_database / took:.2f} cores, {100 * in_database / whole:.0f} %);"
        f" {whole * per_thousand:.2f} s for 1,000 results: two free cores: at most {2 * results / whole:.0f}/s"
    )
    client.loop_stop()
    return 0


def _publish(client: mqtt.Client, box: int, barcodes: list[str]) -> int:
    gateway = f"bench-{box}"
    topic = up_topic(0, gateway, "xn")
    at = datetime.now(UTC)
    for first in range(0, len(barcodes), PER_ENVELOPE):
        messages = tuple(
            Message(
                sequence=first + offset + 1, received_at=at, clock_sure=True, driver="sysmex_xn", driver_version="1",
                state=MessageState.DECODED, raw=b"R|" * 700,
                items=tuple(
                    Observation(specimen=barcode, code=code, value=value, observed_at="2026-11-23T09:00:00")
                    for code, value in COUNT.items()
                ),
            )
            for offset, barcode in enumerate(barcodes[first : first + PER_ENVELOPE])
        )  # fmt: skip
        client.publish(topic, Envelope(gateway, EPOCH, "xn", messages).to_bytes(), qos=1)
    return len(barcodes)


def _stored(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    row = connection.execute("SELECT count(*) FROM lab_result").fetchone()
    return int(str(row[0])) if row else 0


def _cpu(worker: int, postmaster: int) -> Cpu:
    return Cpu(_seconds(worker), sum(map(_seconds, _children(postmaster))) + _seconds(postmaster))


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(each) for each in file.read().split()]


def _seconds(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _until(holds: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit("the worker took nothing: see its log")
        time.sleep(0.1)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
