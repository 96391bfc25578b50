"""A hundred analyzers on TCP at once, over ASTM and over MLLP: ``python -m tests.bench.links``.

The real daemon with its store; each analyzer keeps its connection and sends message after message, unpaced, each with a
specimen of its own. A session counts when its last frame was acknowledged (ASTM) or answered AA (MLLP), which the box
does after the commit; afterwards every acknowledged message is looked up in the store. Beside it stands this disk's own
rate of durable single-row commits, measured in the same folder just before and just after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.edge_process import commits_of, cpu_seconds, disk_commits_per_s, memory_mb
from tests.support.analyzer import ACK, ENQ, EOT, frame
from tests.support.box import Box
from tests.support.broker import free_port

_ROOT = Path(__file__).resolve().parents[2]
_RESULTS = 20
_FRAME_TEXT = 240
_SPECIMEN = re.compile(rb"S(\d{3})N(\d{7})E")
_DRIVERS = {"astm": "sysmex_xn", "astm-240": "sysmex_xn", "mllp": "generic_hl7"}


@dataclass(frozen=True)
class Figures:
    """`sessions_per_s` durable and acknowledged; times in ms from a session's first byte to its last answer."""

    line: str
    links: int
    seconds: float
    sessions: int
    sessions_per_s: float
    message_bytes: int
    session_p50_ms: float
    session_p99_ms: float
    session_max_ms: float
    disk_commits_per_s: float
    """Mean of the two that follow; far apart, something else used the disk, and the ratio says little."""
    disk_before_per_s: float
    disk_after_per_s: float
    ratio: float
    sessions_per_commit: float
    cpu_cores: float
    rss_peak_mb: float
    acknowledged_missing: int


def astm_message(specimen: str) -> bytes:
    """20 results of a blood count, about 1.4 kB."""
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
    return b"\r".join(records) + b"\r"


def hl7_message(specimen: str, number: int) -> bytes:
    """20 results, about 1.6 kB, in its MLLP block."""
    segments = [
        b"MSH|^~\\&|Analyzer|Maker|||20261123080000||ORU^R01|%d|P|2.3.1||||||UTF-8" % number,
        b"PID|1",
        b"OBR|1||%b|00001^Count^99MRC||20261123075500|20261123080000" % specimen.encode(),
        *(
            b"OBX|%d|NM|C%02d^Item %d^99MRC||%d.%02d|10*9/L|3.50-9.50|N|||F||||||" % (each, each, each, each * 3, each)
            for each in range(1, _RESULTS + 1)
        ),
    ]
    return b"\x0b" + b"\r".join(segments) + b"\r\x1c\r"


class Instrument(asyncio.Protocol):
    """One connection; `sessions` were acknowledged, in order from 0."""

    def __init__(self, number: int, until: float, over: asyncio.Future[None]) -> None:
        self.number = number
        self.sessions = 0
        self.times: list[float] = []
        self._until = until
        self._over = over
        self._began_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.begin()

    @property
    def specimen(self) -> str:
        return f"S{self.number:03}N{self.sessions:07}E"

    def begin(self) -> None:
        self._began_at = time.perf_counter()
        self.open()

    @abstractmethod
    def open(self) -> None:
        """The first bytes of a session."""

    def done(self) -> None:
        self.times.append(time.perf_counter() - self._began_at)
        self.sessions += 1
        if time.perf_counter() < self._until:
            self.begin()
        elif not self._over.done():
            self._over.set_result(None)

    def fail(self, answer: bytes) -> None:
        if not self._over.done():
            self._over.set_exception(ConnectionError(f"the box answered {answer[:200]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over.done():
            self._over.set_exception(exc or ConnectionError("the box closed the connection"))


class AstmInstrument(Instrument):
    """ENQ, the frames, EOT; EOT goes out together with the next ENQ, as busy analyzers do."""

    frame_text = 64_000

    def open(self) -> None:
        text = astm_message(self.specimen)
        pieces = [text[start : start + self.frame_text] for start in range(0, len(text), self.frame_text)]
        self._frames = [frame(number, piece, last=number == len(pieces)) for number, piece in enumerate(pieces, 1)]
        self._position = 0
        self.transport.write(EOT + ENQ if self.sessions else ENQ)

    def data_received(self, data: bytes) -> None:
        if data != ACK:
            self.fail(data)
        elif self._position < len(self._frames):
            self._position += 1
            self.transport.write(self._frames[self._position - 1])
        else:
            self.done()


class AstmInstrumentOf240(AstmInstrument):
    """The same in frames of 240 characters (E1381-95)."""

    frame_text = _FRAME_TEXT


class MllpInstrument(Instrument):
    def open(self) -> None:
        self._answer = b""
        self.transport.write(hl7_message(self.specimen, self.sessions))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.endswith(b"\x1c\r"):
            return
        if b"MSA|AA|%d\r" % self.sessions in self._answer or b"MSA|AA|%d|" % self.sessions in self._answer:
            self.done()
        else:
            self.fail(self._answer)


_INSTRUMENTS: dict[str, type[Instrument]] = {
    "astm": AstmInstrument,
    "astm-240": AstmInstrumentOf240,
    "mllp": MllpInstrument,
}


async def play(line: str, ports: list[int], seconds: float) -> dict[str, object]:
    """The analyzers' process."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    instruments, ends = [], []
    for number, port in enumerate(ports):
        over: asyncio.Future[None] = loop.create_future()
        instrument = _INSTRUMENTS[line](number, began + seconds, over)
        await loop.create_connection(lambda made=instrument: made, "127.0.0.1", port)  # type: ignore[misc]
        instruments.append(instrument)
        ends.append(over)
    await asyncio.gather(*ends)
    elapsed = time.perf_counter() - began
    times = sorted(each for instrument in instruments for each in instrument.times)
    return {
        "elapsed": elapsed,
        "sessions": [each.sessions for each in instruments],
        "p50": times[len(times) // 2] * 1000,
        "p99": times[int(len(times) * 0.99)] * 1000,
        "max": times[-1] * 1000,
    }


def missing(box: Box, sessions: list[int]) -> int:
    """Acknowledged messages whose specimen stands in no durable message of their link."""
    lost = 0
    for number, count in enumerate(sessions):
        text = b"".join(box.frames(f"line{number}"))
        stored = {int(found[2]) for found in _SPECIMEN.finditer(text) if int(found[1]) == number}
        lost += len(set(range(count)) - stored)
        lost += max(0, count - len(box.messages(f"line{number}")))
    return lost


def measure(line: str, links: int, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="bench-links-", dir=Path.cwd()) as folder:
        before = disk_commits_per_s(Path(folder))
        box = Box(Path(folder), broker_port=free_port(), max_megabytes=8192, reconnect_longest_s=60)
        ports = [box.add_tcp(f"line{number}", driver=_DRIVERS[line]) for number in range(links)]
        box.start()
        try:
            cpu = cpu_seconds(box.pid)
            report = _instruments(line, ports, seconds)
            cpu = cpu_seconds(box.pid) - cpu
            peak = memory_mb(box.pid)[1]
            groups = commits_of(box)
        finally:
            box.stop()
        lost = missing(box, report["sessions"])
        after = disk_commits_per_s(Path(folder))
    sessions, elapsed = sum(report["sessions"]), report["elapsed"]
    commits = statistics.mean((before, after))
    return Figures(
        line=line,
        links=links,
        seconds=round(elapsed, 1),
        sessions=sessions,
        sessions_per_s=round(sessions / elapsed),
        message_bytes=len(hl7_message("", 0) if line == "mllp" else astm_message("")),
        session_p50_ms=round(report["p50"], 1),
        session_p99_ms=round(report["p99"], 1),
        session_max_ms=round(report["max"], 1),
        disk_commits_per_s=round(commits),
        disk_before_per_s=round(before),
        disk_after_per_s=round(after),
        ratio=round(sessions / elapsed / commits, 2),
        sessions_per_commit=round(sessions / groups, 1) if groups else 0.0,
        cpu_cores=round(cpu / elapsed, 2),
        rss_peak_mb=round(peak, 1),
        acknowledged_missing=lost,
    )


def _instruments(line: str, ports: list[int], seconds: float) -> Any:
    """What the analyzers, in a process of their own, report."""
    command = [sys.executable, "-m", "tests.bench.links", "--lines", line, "--instruments", json.dumps(ports)]
    played = subprocess.run(
        [*command, "--seconds", str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=_ROOT,
    )
    return json.loads(played.stdout)


def show(figures: Figures) -> None:
    title = {"astm": "ASTM, one frame a message", "astm-240": "ASTM, frames of 240 characters", "mllp": "HL7 over MLLP"}
    print(
        f"{title[figures.line]}: {figures.links} connections kept open, one edge process, {figures.seconds} s, unpaced"
    )
    print(f"  durable sessions              {figures.sessions_per_s:>8,} /s   ({figures.message_bytes:,} bytes each)")
    print(
        f"  this disk, one row a commit   {figures.disk_commits_per_s:>8,} /s   ratio {figures.ratio}"
        f"   (before {figures.disk_before_per_s:,}, after {figures.disk_after_per_s:,})"
    )
    print(
        f"  session p50 / p99 / max       "
        f"{figures.session_p50_ms} / {figures.session_p99_ms} / {figures.session_max_ms} ms"
    )
    print(f"  sessions in one commit        {figures.sessions_per_commit}")
    print(f"  CPU / highest RSS             {figures.cpu_cores} cores / {figures.rss_peak_mb} MB")
    print(f"  acknowledged and missing      {figures.acknowledged_missing}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--lines", nargs="+", choices=list(_INSTRUMENTS), default=list(_INSTRUMENTS))
    parser.add_argument("--links", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--instruments", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.instruments:
        ports = json.loads(arguments.instruments)
        print(json.dumps(asyncio.run(play(arguments.lines[0], ports, arguments.seconds))))
        return 0
    lost = 0
    for line in arguments.lines:
        figures = measure(line, arguments.links, arguments.seconds)
        show(figures)
        print(json.dumps({"bench": "links", **asdict(figures)}))
        lost += figures.acknowledged_missing
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
