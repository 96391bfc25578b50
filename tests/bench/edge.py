"""How quickly one edge process keeps what analyzers send: ``python -m tests.bench.edge``.

The real daemon on real TCP with the real driver; the analyzers are another process, written by hand (no encoder of
ours), unpaced: each sends its next frame when it has the ACK of the last. Beside it stands this disk's own rate of
durable single-row commits, measured in the same folder just before and just after, since disks differ more than
programs. Every ACKed frame is counted in the store afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.analyzer import ACK, ENQ, EOT, frame
from tests.support.box import Box
from tests.support.broker import free_port

_RESULTS = 20
_FRAME_TEXT = 240
_BASELINE_ROW = 247
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Figures:
    """`frames_per_s` durable and acknowledged; times in milliseconds from the frame's first byte to its ACK."""

    links: int
    seconds: float
    frames: int
    frames_per_s: float
    messages_per_s: float
    ack_p50_ms: float
    ack_p99_ms: float
    ack_max_ms: float
    disk_commits_per_s: float
    ratio: float
    cpu_cores: float
    rss_mb: float
    rss_peak_mb: float
    frames_per_commit: float
    acknowledged_missing: int


def message_frames(specimen: str) -> list[bytes]:
    """A message of 20 results, about 1.6 kB, cut into frames of 240 characters (ETB ... ETX)."""
    records = [
        b"H|\\^&|||XN-10^00-25^11001^^^^AP123456||||||||E1394-97",
        b"P|1",
        b"O|1||1^1^%22b^B|^^^^WBC|R||20261123080000||||N||||||||||||||F" % specimen.encode(),
        *(
            b"R|%d|^^^^C%02d^1|%d.%02d|10*9/L||N||F||||20261123080100" % (number, number, number * 3, number)
            for number in range(1, _RESULTS + 1)
        ),
        b"L|1|N",
    ]
    text = b"\r".join(records) + b"\r"
    pieces = [text[start : start + _FRAME_TEXT] for start in range(0, len(text), _FRAME_TEXT)]
    return [frame(number, piece, last=number == len(pieces)) for number, piece in enumerate(pieces, start=1)]


class Instrument:
    """Sends message after message; the clock runs from a frame's first byte to its ACK.

    Blocking sockets under one epoll, as lean as Python allows: the sender must not be what is measured.
    """

    def __init__(self, number: int, port: int) -> None:
        self._frames = message_frames(f"{number:04}")
        self._position = -1
        self._sent_at = 0.0
        self.times: list[float] = []
        self.messages = 0
        self.refused = 0
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.send(ENQ)

    def heard(self, until: float) -> bool:
        """One answer of the box came; False when this instrument has finished."""
        data = self.socket.recv(64)
        now = time.perf_counter()
        if data != ACK:
            if not data:
                raise ConnectionError("the box closed the connection")
            self.refused += 1
        elif self._position >= 0:
            self.times.append(now - self._sent_at)
        self._position += 1
        if self._position < len(self._frames):
            self._sent_at = time.perf_counter()
            self.socket.send(self._frames[self._position])
            return True
        self.messages += 1
        self._position = -1
        if now < until:
            self.socket.send(EOT + ENQ)
            return True
        self.socket.send(EOT)
        return False


def play(ports: list[int], seconds: float) -> dict[str, object]:
    """The analyzers' process."""
    began = time.perf_counter()
    until = began + seconds
    instruments = [Instrument(number, port) for number, port in enumerate(ports)]
    waiting = select.epoll()
    by_descriptor = {each.socket.fileno(): each for each in instruments}
    for descriptor in by_descriptor:
        waiting.register(descriptor, select.EPOLLIN)
    running = len(instruments)
    while running:
        for descriptor, _ in waiting.poll(30):
            if not by_descriptor[descriptor].heard(until):
                waiting.unregister(descriptor)
                running -= 1
    elapsed = time.perf_counter() - began
    times = sorted(each for instrument in instruments for each in instrument.times)
    return {
        "elapsed": elapsed,
        "frames": [len(each.times) for each in instruments],
        "messages": sum(each.messages for each in instruments),
        "refused": sum(each.refused for each in instruments),
        "p50": times[len(times) // 2] * 1000,
        "p99": times[int(len(times) * 0.99)] * 1000,
        "max": times[-1] * 1000,
    }


def disk_commits_per_s(folder: Path, seconds: float = 1.5) -> float:
    """One row of a frame's size in a commit, WAL and synchronous=FULL: what this disk gives to anybody."""
    path = folder / "baseline.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS frame (id INTEGER PRIMARY KEY, raw BLOB)")
    row = os.urandom(_BASELINE_ROW)
    commits, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        connection.execute("INSERT INTO frame (raw) VALUES (?)", [row])
        commits += 1
    rate = commits / (time.perf_counter() - began)
    connection.close()
    return rate


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident now and at its highest."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = {line.split(":")[0]: line for line in status.splitlines()}
    now, peak = (int(found[key].split()[1]) / 1024 for key in ("VmRSS", "VmHWM"))
    return now, peak


def measure(links: int, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="bench-edge-", dir=Path.cwd()) as folder:
        before = disk_commits_per_s(Path(folder))
        box = Box(Path(folder), broker_port=free_port(), max_megabytes=8192, reconnect_longest_s=60)
        ports = [box.add_tcp(f"xn{number}") for number in range(links)]
        box.start()
        pid = box.pid
        try:
            cpu = cpu_seconds(pid)
            played = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "tests.bench.edge",
                    "--instruments",
                    json.dumps(ports),
                    "--seconds",
                    str(seconds),
                ],
                capture_output=True,
                text=True,
                check=True,
                cwd=_ROOT,
            )
            cpu = cpu_seconds(pid) - cpu
            rss, peak = memory_mb(pid)
            report = json.loads(played.stdout)
            groups = commits_of(box)
        finally:
            box.stop()
        missing = sum(max(0, sent - len(box.frames(f"xn{number}"))) for number, sent in enumerate(report["frames"]))
        after = disk_commits_per_s(Path(folder))
    assert report["refused"] == 0, f"{report['refused']} frames were refused"
    frames = sum(report["frames"])
    commits = statistics.mean((before, after))
    return Figures(
        links=links,
        seconds=round(report["elapsed"], 1),
        frames=frames,
        frames_per_s=round(frames / report["elapsed"]),
        messages_per_s=round(report["messages"] / report["elapsed"]),
        ack_p50_ms=round(report["p50"], 2),
        ack_p99_ms=round(report["p99"], 2),
        ack_max_ms=round(report["max"], 1),
        disk_commits_per_s=round(commits),
        ratio=round(frames / report["elapsed"] / commits, 2),
        cpu_cores=round(cpu / report["elapsed"], 2),
        rss_mb=round(rss, 1),
        rss_peak_mb=round(peak, 1),
        frames_per_commit=round(frames / groups, 1) if groups else 0.0,
        acknowledged_missing=missing,
    )


def commits_of(box: Box) -> int:
    status = box.status()
    return 0 if status is None else int(status["store"]["groups"])


def show(figures: Figures) -> None:
    print(f"{figures.links} analyzers on TCP, one edge process, {figures.seconds} s, unpaced")
    print(f"  durable frames acknowledged   {figures.frames_per_s:>8,} /s   ({figures.messages_per_s:,} messages/s)")
    print(f"  this disk, one row a commit   {figures.disk_commits_per_s:>8,} /s   ratio {figures.ratio}")
    print(f"  ACK p50 / p99 / max           {figures.ack_p50_ms} / {figures.ack_p99_ms} / {figures.ack_max_ms} ms")
    print(f"  frames in one commit          {figures.frames_per_commit}")
    print(f"  CPU                           {figures.cpu_cores} cores")
    print(f"  RSS now / highest             {figures.rss_mb} / {figures.rss_peak_mb} MB")
    print(f"  acknowledged and missing      {figures.acknowledged_missing}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--links", type=int, nargs="+", default=[64, 16])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--instruments", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.instruments:
        print(json.dumps(play(json.loads(arguments.instruments), arguments.seconds)))
        return 0
    lost = 0
    for links in arguments.links:
        figures = measure(links, arguments.seconds)
        show(figures)
        print(json.dumps({"bench": "edge", **asdict(figures)}))
        lost += figures.acknowledged_missing
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
