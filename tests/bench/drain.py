"""How quickly a box hands over a backlog, and what live instruments notice: ``python -m tests.bench.drain``.

The real daemon and a real mosquitto on loopback. A stand-in cloud counts what arrives and sends receipts at once (with
``--real``: the cloud's own ingest worker on PostgreSQL, without syncs). The backlog is put into the store beforehand as
a session would have kept it: unread, with its frames. While it drains, analyzers on links of their own send a message
every fifth of a second each; their ACKs are timed and their results are timed from the last ACK to the cloud. One live
analyzer stands on a link that has a backlog itself.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.clock import Clock
from edge.store.rows import unread
from edge.store.store import Store
from tests.bench.edge_process import cpu_seconds, memory_mb
from tests.support.analyzer import ACK, EOT, frame, over_tcp
from tests.support.box import Box
from tests.support.broker import Broker, mosquitto_path
from tests.support.waiting import eventually

_ROOT = Path(__file__).resolve().parents[2]
_FRAME_TEXT = 240
_MEASURED = "20261123080100"


@dataclass(frozen=True)
class Figures:
    """Times in seconds unless the name says milliseconds."""

    cloud: str
    messages: int
    results_each: int
    bytes_each: int
    links: int
    seconds: float
    messages_per_s: float
    lost: int
    arrived_twice: int
    live_messages: int
    live_latency_p50: float
    live_latency_p99: float
    live_latency_max: float
    live_applied_p99: float | None
    """Until the laboratory has taken it; only with the real worker, of those that it took meanwhile."""
    live_on_backlog_link: float
    """From the last ACK of the first live message on a link with a backlog to the cloud."""
    ack_p50_ms: float
    ack_p99_ms: float
    ack_max_ms: float
    ack_p99_idle_ms: float
    box_cpu_cores: float
    box_rss_mb: float


def records(specimen: str, results: int) -> bytes:
    lines = [
        b"H|\\^&|||XN-10^00-25^11001^^^^AP123456||||||||E1394-97",
        b"P|1",
        b"O|1||1^1^%22b^B|^^^^WBC|R||20261123080000||||N||||||||||||||F" % specimen.encode(),
        *(
            b"R|%d|^^^^C%02d^1|%d.%02d|10*9/L||N||F||||%b" % (n, n, n * 3, n, _MEASURED.encode())
            for n in range(1, results + 1)
        ),
        b"L|1|N",
    ]
    return b"\r".join(lines) + b"\r"


def frames_of(text: bytes) -> list[bytes]:
    pieces = [text[start : start + _FRAME_TEXT] for start in range(0, len(text), _FRAME_TEXT)]
    return [frame(number, piece, last=number == len(pieces)) for number, piece in enumerate(pieces, start=1)]


def fill(path: Path, links: list[str], messages: int, results: int) -> int:
    """Every link its share; the bytes of one message."""
    clock = Clock()
    with Store(path, max_bytes=64 * 1024**3) as store:
        for start in range(0, messages, 400):

            def work(ledger: Any, numbers: range = range(start, min(start + 400, messages))) -> None:
                for number in numbers:
                    text = records(f"{number:08}", results)
                    at = clock.now()
                    ledger.keep(links[number % len(links)], frames_of(text), at, (), unread(at, "sysmex_xn", text))

            store.write(work)
    return sum(map(len, frames_of(records("00000001", results))))


# ---------------------------------------------------------------------- the stand-in cloud, a process of its own


class _Seen(msgspec.Struct):
    sequence: int


class _Envelope(msgspec.Struct):
    epoch: str
    link: str
    messages: list[_Seen]


class StandIn:
    """Receipts for what has come, one for each envelope; what comes twice is counted."""

    def __init__(self, port: int, gateway: str, partition: int, live: list[str], report: Path) -> None:
        self._down = f"xinglin/v1/{partition}/{gateway}/down/receipt"
        self._decoder = msgspec.json.Decoder(_Envelope)
        self._through: dict[str, int] = {}
        self._beyond: dict[str, set[int]] = {}
        self._live = set(live)
        self._arrived: dict[str, float] = {}
        self._count = self._twice = 0
        self._report = report
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "bench-cloud", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(f"xinglin/v1/{partition}/{gateway}/up/+", 1)
        self._client.on_subscribe = lambda *_: report.with_suffix(".ready").touch()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)

    def run(self) -> None:
        told = time.monotonic()
        while True:
            self._client.loop(0.2)
            if time.monotonic() - told > 0.2:
                told = time.monotonic()
                self._tell()

    def _tell(self) -> None:
        found = {"count": self._count, "twice": self._twice, "through": self._through, "arrived": self._arrived}
        temporary = self._report.with_suffix(".new")
        temporary.write_text(json.dumps(found))
        temporary.replace(self._report)

    def _on_message(self, client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        envelope = self._decoder.decode(message.payload)
        link = envelope.link
        beyond = self._beyond.setdefault(link, set())
        through = self._through.get(link, 0)
        for each in envelope.messages:
            if each.sequence <= through or each.sequence in beyond:
                self._twice += 1
                continue
            self._count += 1
            beyond.add(each.sequence)
            if link in self._live:
                self._arrived[f"{link} {each.sequence}"] = time.time()
        while through + 1 in beyond:
            through += 1
            beyond.discard(through)
        self._through[link] = through
        receipt = {"v": 1, "epoch": envelope.epoch, "link": link, "through": through, "also": []}
        client.publish(self._down, json.dumps(receipt), qos=1)


# ---------------------------------------------------------------------- live analyzers, a process of their own


def play(ports: dict[str, int], results: int, until: Path, every_s: float = 0.2) -> dict[str, Any]:
    """A message of each analyzer every `every_s` until the file is there: when each was acknowledged, ACK times."""
    lines = {link: over_tcp("127.0.0.1", port) for link, port in ports.items()}
    acknowledged: dict[str, list[float]] = {link: [] for link in ports}
    times: list[float] = []
    number = 0
    while not until.exists():
        began = time.monotonic()
        number += 1
        for link, analyzer in lines.items():
            assert analyzer.begin() == ACK, "the box did not answer ENQ"
            for each in frames_of(records(f"{90000000 + number:08}", results)):
                sent = time.perf_counter()
                assert analyzer.put(each) == ACK, "the box did not take a frame"
                times.append(time.perf_counter() - sent)
            analyzer.send(EOT)
            acknowledged[link].append(time.time())
        time.sleep(max(0.0, began + every_s - time.monotonic()))
    return {"acknowledged": acknowledged, "times": times}


# ---------------------------------------------------------------------- the clouds as the bench sees them


class PlayedCloud:
    """The stand-in, seen through the file that it writes."""

    name = "stand-in"

    def __init__(self, folder: Path, box: Box, live: list[str]) -> None:
        self._report = folder / "cloud.json"
        given = {
            "port": box.broker_port,
            "gateway": box.gateway,
            "partition": box.partition,
            "live": live,
            "report": str(self._report),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.drain", "--play-cloud", json.dumps(given)], cwd=_ROOT, process_group=0
        )
        eventually(self._report.with_suffix(".ready").exists, within_s=30, what="the stand-in cloud listens")

    def _told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._report.read_text()) if self._report.exists() else {"count": 0}
        return found

    def count(self) -> int:
        return int(self._told()["count"])

    def twice(self) -> int:
        return int(self._told()["twice"])

    def arrivals(self) -> dict[tuple[str, int], float]:
        """When each message of the watched links came, seconds since 1970."""
        named = ((*key.split(" "), at) for key, at in self._told()["arrived"].items())
        return {(link, int(sequence)): at for link, sequence, at in named}

    def applied(self) -> dict[tuple[str, int], float]:
        """It applies nothing."""
        return {}

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


class RealCloud:
    """The cloud's ingest worker; arrival is the time of the database when the message was stored in the inbox."""

    name = "ingest worker on PostgreSQL"

    def __init__(self, folder: Path, box: Box, live: list[str]) -> None:
        from contextlib import ExitStack

        from cloud import config
        from cloud.kit import db
        from tests.support.databases import DatabaseServer
        from tests.support.gateways import registered

        self._box, self._live = box, live
        self._stack = ExitStack()
        url = self._stack.enter_context(DatabaseServer.start().clone())
        os.environ |= {
            "XINGLIN_ENVIRONMENT": "test",
            "XINGLIN_DATABASE_URL": url,
            "XINGLIN_MQTT_HOST": "127.0.0.1",
            "XINGLIN_MQTT_PORT": str(box.broker_port),
            "XINGLIN_PARTITIONS": "4",
        }
        for cached in (config.settings, db.engine, db._sessions):
            cached.cache_clear()
        registered((box.gateway, box.partition))
        written = folder / "ingest.log"
        with written.open("ab") as log:
            command = [sys.executable, "-m", "cloud", "ingest", "--worker-id", "bench"]
            self._process = subprocess.Popen(command, cwd=_ROOT, stderr=log, stdout=log, process_group=0)
        eventually(
            lambda: written.read_text().count("partition_connected") == 4, within_s=60, what="the worker has connected"
        )

    def _scalar(self, sql: str) -> int:
        from sqlalchemy import text

        from cloud.kit.db import begin

        with begin() as session:
            return int(session.execute(text(sql)).scalar() or 0)

    def count(self) -> int:
        return self._scalar("SELECT count(*) FROM gateway_inbox")

    def twice(self) -> int:
        """Stored twice; the unique key leaves none."""
        return self._scalar("SELECT count(*) - count(DISTINCT (gateway, epoch, link, sequence)) FROM gateway_inbox")

    def _times(self, column: str) -> dict[tuple[str, int], float]:
        from sqlalchemy import text

        from cloud.kit.db import begin

        sql = text(f"SELECT link, sequence, {column} AS at FROM gateway_inbox WHERE link = ANY(:live)")
        with begin() as session:
            rows = session.execute(sql, {"live": self._live}).all()
        return {(row.link, row.sequence): row.at.timestamp() for row in rows if row.at is not None}

    def arrivals(self) -> dict[tuple[str, int], float]:
        return self._times("stored_at")

    def applied(self) -> dict[tuple[str, int], float]:
        """When the laboratory took (or refused) each message of the watched links, as far as it has."""
        return self._times("applied_at")

    def close(self) -> None:
        from cloud.kit import db

        self._process.terminate()
        self._process.wait(60)
        db.engine().dispose()
        self._stack.close()


@contextmanager
def broker_at(folder: Path) -> Iterator[Broker]:
    program = mosquitto_path()
    if program is None:
        sys.exit("mosquitto is not installed: apt-get install mosquitto")
    broker = Broker(program, folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def measure(messages: int, results: int, links: int, live: int, real: bool, window: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="bench-drain-", dir=Path.cwd()) as made, broker_at(Path(made)) as broker:
        folder = Path(made)
        box = Box(folder, broker.port, max_megabytes=64 * 1024, window=window)
        backlog = [f"old{number}" for number in range(links)]
        ports = {link: box.add_tcp(link) for link in (*backlog, *(f"live{number}" for number in range(live)))}
        watched = [*(f"live{number}" for number in range(live)), backlog[0]]
        size = fill(box.store, backlog, messages, results)
        own_backlog = messages // links + (1 if messages % links else 0)
        cloud = (RealCloud if real else PlayedCloud)(folder, box, watched)
        stop = folder / "stop"
        began = time.monotonic()
        box.start()
        cpu = cpu_seconds(box.pid)
        try:
            analyzers = _analyzers({link: ports[link] for link in watched}, results, stop)
            eventually(lambda: cloud.count() >= messages, within_s=3600, what="the backlog is stored")
            seconds = time.monotonic() - began
            rss = memory_mb(box.pid)[0]
            cpu = (cpu_seconds(box.pid) - cpu) / seconds
            stop.touch()
            played = json.loads(analyzers.communicate(timeout=120)[0])
            sent = sum(map(len, played["acknowledged"].values()))
            eventually(lambda: cloud.count() >= messages + sent, within_s=600, what="the live messages are stored")
            lost = messages + sent - cloud.count()
            twice, arrived, applied = cloud.twice(), cloud.arrivals(), cloud.applied()
            idle = _idle_times(folder, {link: ports[link] for link in watched}, results)
        finally:
            box.stop()
            cloud.close()
    at = {
        (link, number): at
        for link, times in played["acknowledged"].items()
        if link != backlog[0]
        for number, at in enumerate(times, start=1)
    }
    latency = sorted(arrived[each] - at[each] for each in at)
    taken = sorted(applied[each] - at[each] for each in at if each in applied)
    acks, idle = sorted(played["times"]), sorted(idle)
    return Figures(
        cloud=cloud.name,
        messages=messages,
        results_each=results,
        bytes_each=size,
        links=links,
        seconds=round(seconds, 1),
        messages_per_s=round(messages / seconds),
        lost=lost,
        arrived_twice=twice,
        live_messages=sent,
        live_latency_p50=round(_at(latency, 0.5), 3),
        live_latency_p99=round(_at(latency, 0.99), 3),
        live_latency_max=round(latency[-1], 3),
        live_applied_p99=round(_at(taken, 0.99), 3) if taken else None,
        live_on_backlog_link=round(arrived[backlog[0], own_backlog + 1] - played["acknowledged"][backlog[0]][0], 1),
        ack_p50_ms=round(_at(acks, 0.5) * 1000, 2),
        ack_p99_ms=round(_at(acks, 0.99) * 1000, 2),
        ack_max_ms=round(acks[-1] * 1000, 1),
        ack_p99_idle_ms=round(_at(idle, 0.99) * 1000, 2),
        box_cpu_cores=round(cpu, 2),
        box_rss_mb=round(rss, 1),
    )


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def _analyzers(ports: dict[str, int], results: int, stop: Path) -> subprocess.Popen[str]:
    given = json.dumps({"ports": ports, "results": results, "until": str(stop)})
    command = [sys.executable, "-m", "tests.bench.drain", "--play-analyzers", given]
    return subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)


def _idle_times(folder: Path, ports: dict[str, int], results: int) -> list[float]:
    """ACK times of the same analyzers when nothing drains."""
    stop = folder / "stop-idle"
    analyzers = _analyzers(ports, results, stop)
    time.sleep(5)
    stop.touch()
    found: list[float] = json.loads(analyzers.communicate(timeout=60)[0])["times"]
    return found


def show(figures: Figures) -> None:
    f = figures
    print(f"{f.messages:,} messages of {f.results_each} results ({f.bytes_each} bytes) on {f.links} links, {f.cloud}")
    print(f"  stored in the cloud after     {f.seconds:>9,} s   ({f.messages_per_s:,} messages/s)")
    print(f"  lost / arrived twice          {f.lost} / {f.arrived_twice}")
    print(f"  525,000 would take            {525_000 / f.messages_per_s / 60:>9.1f} minutes")
    latencies = f"p50 {f.live_latency_p50} / p99 {f.live_latency_p99} / max {f.live_latency_max} s"
    print(f"  live results on other links   {latencies}")
    if f.live_applied_p99 is not None:
        print(f"  ... taken by the laboratory   p99 {f.live_applied_p99} s")
    print(f"  live result behind a backlog  {f.live_on_backlog_link} s")
    acks = f"{f.ack_p50_ms} / {f.ack_p99_ms} / {f.ack_max_ms} ms; p99 idle {f.ack_p99_idle_ms} ms"
    print(f"  ACK meanwhile p50 / p99 / max {acks}")
    print(f"  the box                       {f.box_cpu_cores} cores, {f.box_rss_mb} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=525_000)
    parser.add_argument("--results", type=int, default=1, help="results in each message")
    parser.add_argument("--links", type=int, default=16, help="links with a backlog")
    parser.add_argument("--live", type=int, default=4, help="live links without one")
    parser.add_argument("--window", type=int, default=200)
    parser.add_argument("--real", action="store_true", help="the cloud's own ingest worker on PostgreSQL")
    parser.add_argument("--play-cloud", help=argparse.SUPPRESS)
    parser.add_argument("--play-analyzers", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play_cloud:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        given = json.loads(arguments.play_cloud)
        StandIn(given["port"], given["gateway"], given["partition"], given["live"], Path(given["report"])).run()
    if arguments.play_analyzers:
        given = json.loads(arguments.play_analyzers)
        print(json.dumps(play(given["ports"], given["results"], Path(given["until"]))))
        return 0
    figures = measure(
        arguments.messages, arguments.results, arguments.links, arguments.live, arguments.real, arguments.window
    )
    show(figures)
    print(json.dumps({"bench": "drain", **asdict(figures)}))
    return 1 if figures.lost or (figures.arrived_twice and arguments.real) else 0


if __name__ == "__main__":
    sys.exit(main())
