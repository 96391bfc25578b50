"""How quickly one edge process keeps what analyzers on TCP send.

The real daemon on real TCP with the real driver; the analyzers are another process, written by hand (no encoder of
ours), unpaced: each sends its next frame when it has the ACK of the last. Beside it stands this disk's own rate of
durable single-row commits, measured in the same folder just before and just after, since disks differ more than
programs. Every ACKed frame is counted in the store afterwards.
"""

from __future__ import annotations

import json
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.edge_process import commits_of, cpu_seconds, disk_commits_per_s, memory_mb, message_frames
from tests.support.analyzer import ACK, ENQ, EOT
from tests.support.box import Box
from tests.support.broker import free_port

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
                [sys.executable, "-m", "tests.bench.edge_tcp", json.dumps(ports), str(seconds)],
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


def show(figures: Figures) -> None:
    print(f"{figures.links} analyzers on TCP, one edge process, {figures.seconds} s, unpaced")
    print(f"  durable frames acknowledged   {figures.frames_per_s:>8,} /s   ({figures.messages_per_s:,} messages/s)")
    print(f"  this disk, one row a commit   {figures.disk_commits_per_s:>8,} /s   ratio {figures.ratio} (aim 2.5)")
    print(f"  ACK p50 / p99 / max           {figures.ack_p50_ms} / {figures.ack_p99_ms} / {figures.ack_max_ms} ms")
    print(f"  frames in one commit          {figures.frames_per_commit}")
    print(f"  CPU                           {figures.cpu_cores} cores")
    print(f"  RSS now / highest             {figures.rss_mb} / {figures.rss_peak_mb} MB")
    print(f"  acknowledged and missing      {figures.acknowledged_missing} (aim 0)")


if __name__ == "__main__":
    print(json.dumps(play(json.loads(sys.argv[1]), float(sys.argv[2]))))
