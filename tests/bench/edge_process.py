"""What the benches of the box share: an XN's message as its frames, this disk's own rate, what a process costs."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from tests.support.analyzer import frame
from tests.support.box import Box

_RESULTS = 20
_FRAME_TEXT = 240
_BASELINE_ROW = 247


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


def commits_of(box: Box) -> int:
    status = box.status()
    return 0 if status is None else int(status["store"]["groups"])
