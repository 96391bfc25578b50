"""`python -m edge decode [--driver NAME] FILE...`: what a captured file holds, one JSON object a line.

Each line has its `kind` first; observations and controls always carry specimen, code, value, unit, flags, observed_at.
The same drivers and the same link read the file that serve the bench.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from protocols.capture import Found, read_capture
from protocols.driver import Driver, discover
from protocols.model import Kind
from protocols.uplink.items import item_to_json

_ALWAYS: dict[str, Any] = {
    "specimen": None,
    "code": None,
    "value": None,
    "unit": None,
    "flags": [],
    "observed_at": None,
}


def main(files: Sequence[Path], driver: str | None) -> int:
    """0 when every file could be read (also where something in it is undecoded), 2 for a wrong driver or file."""
    reader: Driver | None = None
    if driver is not None:
        reader = discover().get(driver)
        if reader is None:
            known = ", ".join(sorted(discover()))
            sys.stderr.write(f"There is no driver {driver!r}. Known drivers: {known}\n")
            return 2
    failed = False
    for file in files:
        try:
            data = file.read_bytes()
        except OSError as problem:
            sys.stderr.write(f"{file}: {problem.strerror or problem}\n")
            failed = True
            continue
        for line in lines(data, file.name, reader):
            sys.stdout.write(line + "\n")
    return 2 if failed else 0


def lines(data: bytes, name: str, driver: Driver | None = None) -> Iterator[str]:
    """The JSON lines of one capture; `name` is the file's."""
    for found in read_capture(data, driver):
        yield json.dumps({**as_json(found), "driver": found.driver, "file": name}, ensure_ascii=False)


def as_json(found: Found) -> dict[str, Any]:
    plain = item_to_json(found.item)
    if plain["kind"] in (Kind.OBSERVATION, Kind.QC):
        return {"kind": plain["kind"], **_ALWAYS, **plain}
    return plain
