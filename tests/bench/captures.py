"""``./xinglin bench captures [FOLDER]``: every captured file of real instruments, held against decoded.

What a file holds is counted by `captures_count.py`, which imports nothing of the project and runs as a process of its
own; what is decoded comes from the same code as `edge decode`. Exit 1 where anything held is not decoded, where bytes
stay undecoded or no driver is named; 2 where the captures are not at hand.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.terminal import columns, write_line
from protocols.capture import Found, read_capture
from protocols.model import HostQuery, Observation, Undecoded

CAPTURES = Path(__file__).parents[3] / "shared" / "transcripts"
COUNTER = Path(__file__).with_name("captures_count.py")
COUNTED = ("results", "units", "flags", "controls", "queries")


@dataclass
class Row:
    """One file: what a plain split counts in it and what the drivers made of it."""

    file: str
    sha256: str
    format: str
    held: dict[str, int]
    decoded: dict[str, int]
    drivers: list[str] = field(default_factory=list)
    events: int = 0
    undecoded: list[str] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        found = [
            f"{name}: {self.held[name]} held, {self.decoded[name]} decoded"
            for name in COUNTED
            if self.decoded[name] < self.held[name]
        ]
        if self.decoded["results"] > self.held["results"]:
            found.append(f"results: {self.held['results']} held, {self.decoded['results']} decoded")
        found += [f"undecoded: {reason}" for reason in self.undecoded]
        return found if self.drivers else [*found, "no driver is named"]


def held_in(folder: Path) -> dict[str, dict[str, Any]]:
    """The independent counts, from a process that cannot import anything of ours (isolated mode)."""
    command = [sys.executable, "-I", str(COUNTER), str(folder)]
    counted: dict[str, dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return counted


def decoded_of(items: list[Found]) -> dict[str, int]:
    count: Counter[str] = Counter()
    for found in items:
        item = found.item
        if isinstance(item, Observation):
            count["results"] += 1
            count["units"] += item.unit is not None
            count["flags"] += bool(item.flags)
            count["controls"] += item.qc is not None
        elif isinstance(item, HostQuery):
            count["queries"] += 1
    return {name: count[name] for name in COUNTED}


def measure(folder: Path) -> list[Row]:
    rows = []
    for file, held in held_in(folder).items():
        items = list(read_capture((folder / file).read_bytes()))
        undecoded = [found.item.reason for found in items if isinstance(found.item, Undecoded)]
        decoded = decoded_of(items)
        rows.append(
            Row(
                file=file,
                sha256=held["sha256"],
                format=held["format"],
                held={name: held[name] for name in COUNTED},
                decoded=decoded,
                drivers=sorted({found.driver for found in items if found.driver is not None}),
                events=len(items) - decoded["results"] - decoded["queries"] - len(undecoded),
                undecoded=undecoded,
            )
        )
    return rows


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="xinglin bench captures")
    parser.add_argument("folder", nargs="?", type=Path, default=CAPTURES)
    parser.add_argument("--json", action="store_true", help="one JSON object a file")
    chosen = parser.parse_args(arguments)
    if not chosen.folder.is_dir():
        write_line(f"The captures are not at hand: there is no folder {chosen.folder}")
        return 2
    rows = measure(chosen.folder)
    if chosen.json:
        for row in rows:
            write_line(json.dumps({**vars(row), "complaints": row.complaints}))
    else:
        table(rows)
    complaints = [f"{row.file}: {each}" for row in rows for each in row.complaints]
    for each in complaints:
        write_line(each)
    if not rows:
        write_line(f"{chosen.folder} holds no files")
    return 1 if complaints or not rows else 0


def table(rows: list[Row]) -> None:
    """Counts as decoded/held."""
    lines = [["file", "driver", *COUNTED, "events", "undecoded", "sha256"]]
    for row in rows:
        counts = [f"{row.decoded[name]}/{row.held[name]}" for name in COUNTED]
        drivers = " ".join(row.drivers) or "-"
        lines.append([row.file, drivers, *counts, str(row.events), str(len(row.undecoded)), row.sha256])
    for line in columns(lines):
        write_line(line)
    held: Counter[str] = Counter()
    decoded: Counter[str] = Counter()
    for row in rows:
        held.update(row.held)
        decoded.update(row.decoded)
    sums = ", ".join(f"{name} {decoded[name]}/{held[name]}" for name in COUNTED)
    write_line(f"{len(rows)} files; decoded/held: {sums}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
