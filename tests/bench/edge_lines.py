"""Sixty-four instruments on serial lines, served by the real daemon, quiet and beside bad neighbours."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.edge_process import cpu_seconds, memory_mb
from tests.support.box import Box
from tests.support.broker import free_port
from tests.support.waiting import eventually

BAD_KINDS = ("flood", "noise", "chatter", "begging", "dead", "flood on a pty")
_ROOT = Path(__file__).resolve().parents[2]
_WARM_S = 2.0
_SETTLE_S = 0.5
_ROUNDS = 3


@dataclass
class Figures:
    """Times in milliseconds from a frame's last byte to its ACK; `neighbours`: p99 beside one bad line, as a ratio."""

    lines: int
    seconds: float
    frames_per_s: float
    ack_p50_ms: float
    ack_p99_ms: float
    ack_max_ms: float
    slowest_line_p99_ms: float
    cpu_cores: float
    rss_mb: float
    rss_peak_mb: float
    sender_cores: float
    pacing_p99_ms: float
    acknowledged_missing: int = 0
    refused: int = 0
    neighbours: dict[str, float] = field(default_factory=dict)
    neighbours_p99_ms: dict[str, list[float]] = field(default_factory=dict)
    quiet_p99_ms: list[float] = field(default_factory=list)
    rss_mb_after_minutes: list[float] = field(default_factory=list)


class Sender:
    """The process of the good instruments."""

    def __init__(self, lines: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.edge_serial", str(lines)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
        )
        self.devices: list[str] = self._said()

    def _said(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the sender died"
        return json.loads(line)

    def _order(self, text: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        return self._said()

    def play(self, seconds: float) -> dict[str, Any]:
        said: dict[str, Any] = self._order(f"play {seconds}")
        return said

    def end(self) -> list[int]:
        """Frames acknowledged on each line."""
        said: list[int] = self._order("end")
        return said

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@contextmanager
def bad_instrument(kind: str, port: int) -> Iterator[None]:
    """On the TCP port, until the block ends."""
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.edge_bad", kind, str(port)], cwd=_ROOT)
    try:
        yield
    finally:
        process.kill()
        process.wait()


class _FloodingPty:
    """A serial line that floods when it is let: the process lives as long as the line, and is stopped meanwhile."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.edge_bad", "flood"], stdout=subprocess.PIPE, text=True, cwd=_ROOT
        )
        assert self._process.stdout is not None
        self.device = self._process.stdout.readline().strip()

    @contextmanager
    def flooding(self) -> Iterator[None]:
        self._process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def measure(lines: int, seconds: float, bad_seconds: float, soak_minutes: float = 0.0) -> Figures:
    with tempfile.TemporaryDirectory(prefix="bench-edge-", dir=Path.cwd()) as folder:
        sender, pty = Sender(lines), _FloodingPty()
        box = Box(Path(folder), broker_port=free_port(), max_megabytes=8192, reconnect_longest_s=60)
        for number, each in enumerate(sender.devices):
            box.add_serial(f"xn{number}", each)
        port = box.add_tcp("bad")
        box.add_serial("bad-serial", pty.device)
        box.start()
        try:
            eventually(lambda: _all_open(box), what="every line is open")
            figures = _quiet(box, sender, lines, seconds)
            if bad_seconds:
                _with_neighbours(figures, sender, port, pty, bad_seconds)
            for _ in range(round(soak_minutes)):
                sender.play(60)
                figures.rss_mb_after_minutes.append(round(memory_mb(box.pid)[0], 2))
            acknowledged = sender.end()
        finally:
            box.stop()
            sender.close()
            pty.close()
        stored = [len(box.frames(f"xn{number}")) for number in range(lines)]
        figures.acknowledged_missing = sum(max(0, a - s) for a, s in zip(acknowledged, stored, strict=True))
    return figures


def _all_open(box: Box) -> bool:
    status = box.status()
    return status is not None and all(each["state"] in ("open", "listening") for each in status["links"])


def _quiet(box: Box, sender: Sender, lines: int, seconds: float) -> Figures:
    sender.play(_WARM_S)
    cpu = cpu_seconds(box.pid)
    played = sender.play(seconds)
    cpu = cpu_seconds(box.pid) - cpu
    rss, peak = memory_mb(box.pid)
    return Figures(
        lines=lines,
        seconds=seconds,
        frames_per_s=round(played["frames"] / seconds),
        ack_p50_ms=played["p50"],
        ack_p99_ms=played["p99"],
        ack_max_ms=played["max"],
        slowest_line_p99_ms=played["slowest_line_p99"],
        cpu_cores=round(cpu / seconds, 3),
        rss_mb=round(rss, 1),
        rss_peak_mb=round(peak, 1),
        sender_cores=round(played["cpu"], 2),
        pacing_p99_ms=played["pacing_p99"],
        refused=played["refused"],
    )


def _with_neighbours(figures: Figures, sender: Sender, port: int, pty: _FloodingPty, seconds: float) -> None:
    """Bad and quiet spells take turns, so that what else this machine does falls on both; the middle ratio counts."""
    quiet = float(sender.play(seconds)["p99"])
    for kind in BAD_KINDS:
        ratios = []
        for _ in range(_ROUNDS):
            with pty.flooding() if kind == "flood on a pty" else bad_instrument(kind, port):
                sender.play(_SETTLE_S)
                beside = float(sender.play(seconds)["p99"])
            sender.play(_SETTLE_S)
            before, quiet = quiet, float(sender.play(seconds)["p99"])
            figures.quiet_p99_ms.append(quiet)
            figures.neighbours_p99_ms.setdefault(kind, []).append(beside)
            ratios.append(beside / statistics.mean((before, quiet)))
        figures.neighbours[kind] = round(statistics.median(ratios), 2)


def show(figures: Figures) -> None:
    print(f"{figures.lines} analyzers on serial lines at 115200 baud, 14 bytes at a time, {figures.seconds:g} s")
    print(f"  durable frames acknowledged   {figures.frames_per_s:>8,} /s")
    print(
        f"  ACK p50 / p99 / max           {figures.ack_p50_ms} / {figures.ack_p99_ms} / {figures.ack_max_ms} ms"
        f" (aim p99 20; slowest line's p99 {figures.slowest_line_p99_ms})"
    )
    print(f"  CPU                           {figures.cpu_cores} cores (aim 0.35)")
    print(f"  RSS now / highest             {figures.rss_mb} / {figures.rss_peak_mb} MB (aim 64)")
    print(
        f"  the sender itself             {figures.sender_cores} cores, its pacing late by {figures.pacing_p99_ms} ms"
    )
    print(f"  refused                       {figures.refused}")
    print(f"  acknowledged and missing      {figures.acknowledged_missing} (aim 0)")
    if figures.neighbours:
        quiet = f"{min(figures.quiet_p99_ms)} to {max(figures.quiet_p99_ms)}"
        print(f"  beside one bad line: the others' ACK p99 to its quiet self (aim 1.2; quiet p99 {quiet} ms)")
        for kind, ratio in figures.neighbours.items():
            times = ", ".join(str(each) for each in figures.neighbours_p99_ms[kind])
            print(f"    {kind:<27} {ratio:>6}   ({times} ms)")
    if len(figures.rss_mb_after_minutes) > 1:
        minutes = range(1, len(figures.rss_mb_after_minutes) + 1)
        slope = statistics.linear_regression(minutes, figures.rss_mb_after_minutes).slope
        print(f"  RSS over {len(minutes)} minutes            {slope * 60 * 24:+.1f} MB/day (aim 1)")
