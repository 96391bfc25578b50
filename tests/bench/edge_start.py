"""How long a box takes from its start until every line is open, and what it idles in."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.drain import fill
from tests.bench.edge_process import memory_mb
from tests.support.box import Box
from tests.support.broker import free_port

_ROOT = Path(__file__).resolve().parents[2]
_LINKS = 16
_STARTS = 3
_RESULTS = 20
_IDLE_S = 3.0


@dataclass(frozen=True)
class Figures:
    """Seconds from the start of the process until each of the ports takes a connection: the middle of three starts."""

    idle_rss_mb: float
    start_empty_s: float
    start_full_s: float
    buffer_mb: float


def measure(buffer_mb: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="bench-edge-", dir=Path.cwd()) as folder:
        box = Box(Path(folder), broker_port=free_port(), max_megabytes=8192, reconnect_longest_s=60)
        ports = [box.add_tcp(f"xn{number}") for number in range(_LINKS)]
        box.start()
        time.sleep(_IDLE_S)
        idle, _ = memory_mb(box.pid)
        box.stop()
        empty = _start_s(box, ports)
        if buffer_mb:
            message = fill(box.store, list(box.ports), _LINKS, _RESULTS)
            fill(box.store, list(box.ports), buffer_mb * 1024 * 1024 // (2 * message), _RESULTS)
        size = box.store.stat().st_size / 1024 / 1024
        return Figures(round(idle, 1), empty, _start_s(box, ports), round(size))


def _start_s(box: Box, ports: list[int]) -> float:
    """As an engineer would see it: the instruments can connect again."""
    took = []
    for _ in range(_STARTS):
        began = time.perf_counter()
        with (box.folder / "edge.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", str(box.config)], stderr=log, stdout=log, cwd=_ROOT
            )
        for port in ports:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, box.log()
                    time.sleep(0.002)
        took.append(time.perf_counter() - began)
        process.terminate()
        process.wait(20)
    return round(sorted(took)[_STARTS // 2], 3)


def show(figures: Figures) -> None:
    print(f"the daemon with {_LINKS} links")
    print(f"  idle RSS                      {figures.idle_rss_mb:>8} MB (aim 45)")
    print(f"  start to links open           {figures.start_empty_s:>8} s, empty store (aim 1)")
    print(f"  start to links open           {figures.start_full_s:>8} s, {figures.buffer_mb:g} MB buffer (aim 1)")
