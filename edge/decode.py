"""`edge decode [--driver NAME] [--raw] [--table] FILE...`: what captured files hold, one JSON object a line.

Each line has its `kind` first; observations and controls always carry specimen, code, value, unit, flags, observed_at.
The same drivers and the same link read the file that serve the bench. A file may be a folder (all files in it) or `-`
(what comes on standard input).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge.terminal import columns, json_line, write_line
from protocols.capture import Found, read_capture
from protocols.driver import Driver, discover
from protocols.model import Kind
from protocols.provenance import record_span
from protocols.uplink.items import item_to_json

_ALWAYS: dict[str, Any] = {
    "specimen": None,
    "code": None,
    "value": None,
    "unit": None,
    "flags": [],
    "observed_at": None,
}
_COLUMNS = ("kind", "specimen", "code", "value", "unit", "flags", "observed_at", "driver", "also")
_READING_ALOUD = ("name", "detail", "reason", "text", "action", "point", "specimens", "comments")
STDIN = Path("-")


def main(files: Sequence[Path], driver: str | None, *, raw: bool = False, table: bool = False) -> int:
    """0 when every file could be read (also where something in it is undecoded), 2 for a wrong driver or file."""
    reader: Driver | None = None
    if driver is not None:
        reader = discover().get(driver)
        if reader is None:
            known = ", ".join(sorted(discover()))
            sys.stderr.write(f"There is no driver {driver!r}. Known drivers: {known}\n")
            return 2
    failed = False
    for name, content in captured(files):
        if isinstance(content, OSError):
            sys.stderr.write(f"{name}: {content.strerror or content}\n")
            failed = True
        elif table:
            for line in as_table(content, name, reader, raw=raw):
                write_line(line)
        else:
            for line in lines(content, name, reader, raw=raw):
                write_line(line)
    return 2 if failed else 0


def captured(files: Sequence[Path]) -> Iterator[tuple[str, bytes | OSError]]:
    """Name and bytes of each file, of every file in a folder, of standard input for ``-``; or why it cannot be read."""
    for file in files:
        if file == STDIN:
            yield "-", sys.stdin.buffer.read()
            continue
        inside = sorted(each for each in file.rglob("*") if each.is_file()) if file.is_dir() else [file]
        for each in inside:
            name = each.name if each is file else str(each.relative_to(file))
            try:
                yield name, each.read_bytes()
            except OSError as problem:
                yield str(each), problem


def lines(data: bytes, name: str, driver: Driver | None = None, *, raw: bool = False) -> Iterator[str]:
    """The JSON lines of one capture; `name` is the file's."""
    for found in read_capture(data, driver):
        plain = {**as_json(found), "driver": found.driver, "file": name}
        if raw:
            plain |= source_of(found)
        yield json_line(plain)


def as_json(found: Found) -> dict[str, Any]:
    plain = item_to_json(found.item)
    if plain["kind"] in (Kind.OBSERVATION, Kind.QC):
        return {"kind": plain["kind"], **_ALWAYS, **plain}
    return plain


def source_of(found: Found) -> dict[str, Any]:
    """The bytes that an item was read from: message, place in it, and the bytes as Latin-1 text, a character each."""
    reader = discover().get(found.driver or "")
    start, end = record_span(found.payload, found.item.record, reader.protocol if reader is not None else "")
    return {
        "message": found.message,
        "raw_from": start,
        "raw_to": end,
        "raw": found.payload[start:end].decode("latin-1"),
    }


def as_table(data: bytes, name: str, driver: Driver | None = None, *, raw: bool = False) -> Iterator[str]:
    """The same for people: a line for each item, with `raw` the bytes it came from below it."""
    items = list(read_capture(data, driver))
    rows = [list(_COLUMNS), *(_row(found) for found in items)]
    head, *body = columns(rows, longest=40)
    yield f"{name}: {len(items)} items"
    yield head
    for line, found in zip(body, items, strict=True):
        yield line
        if raw:
            yield from columns([["   ", source_of(found)["raw"]]])


def _row(found: Found) -> list[str]:
    plain = as_json(found)
    also = [f"{key} {_text(plain[key])}" for key in _READING_ALOUD if plain.get(key)]
    if plain.get("qc"):
        also.insert(0, "control " + " ".join(str(each) for each in plain["qc"].values()))
    cells = {**plain, "driver": found.driver, "also": "; ".join(also)}
    return [_text(cells.get(key)) for key in _COLUMNS]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return " ".join(str(each) for each in value) if isinstance(value, list | tuple) else str(value)
