"""Two-sided transcripts: what the instrument says and what we must answer, byte by byte, in a form a person can read.

A case is ``tests/transcripts/<driver>/<case>/dialogue.txt`` and ``items.jsonl`` (what it decodes to). In a dialogue::

    @ now 2026-11-02T08:30:00           the box's clock, for message headers
    @ order 202611020017 WBC RBC        what the worklist holds for a specimen (``@ order NUMBER S GLU`` is stat)
    @ charset gb18030                   of the text below (UTF-8 if absent)
    @ option model = "au5800"           of the link's driver, as in the box's configuration (TOML)
    @ xml                               the text is XML: control bytes are written {VT} instead of <VT>
    @ hex                               the lines of both sides are bytes in hexadecimal
    device: <ENQ>                       bytes from the instrument
    host: <ACK>                         bytes we must have written since the last line
    wait: 1.5                           seconds that pass
    # a remark

Control bytes are written by name. ``<sum>`` stands for the two digits of the frame's checksum, made here with a plain
sum, ``<bcc>`` for the one byte that is the exclusive or of all behind STX to ETX. A line that begins with two blanks
goes on with the one before.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

from protocols.driver import Driver
from protocols.links.contract import FrameReceived, MessageReceived
from protocols.model import HostQuery, Item, Order
from protocols.uplink.items import item_to_json

ROOT = Path(__file__).parent.parent / "transcripts"
_NAMES = {
    "STX": 2, "ETX": 3, "EOT": 4, "ENQ": 5, "ACK": 6, "LF": 10, "VT": 11, "CR": 13, "NAK": 21, "ETB": 23, "FS": 28,
    "NUL": 0, "SOH": 1, "FF": 12, "GS": 29, "RS": 30,
}  # fmt: skip
_NAME = re.compile("<(" + "|".join(_NAMES) + ")>")
_NAME_IN_XML = re.compile("{(" + "|".join(_NAMES) + ")}")
_CHECKED = re.compile(rb"\x02([^\x02]*?[\x03\x17])<bcc>")
_SUMMED = re.compile(rb"\x02([^\x02]*?[\x03\x17])<sum>")


@dataclass
class Case:
    name: str
    steps: list[tuple[str, bytes]] = field(default_factory=list)
    orders: dict[str, list[Order]] = field(default_factory=dict)
    now: datetime = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
    charset: str = "utf-8"
    options: dict[str, object] = field(default_factory=dict)
    xml: bool = False
    hex: bool = False
    items: list[dict[str, Any]] = field(default_factory=list)

    def device_bytes(self) -> bytes:
        return b"".join(data for kind, data in self.steps if kind == "device")


def cases_of(driver: str) -> list[Path]:
    folder = ROOT / driver
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def wire(text: str, charset: str = "utf-8", *, xml: bool = False) -> bytes:
    """The bytes of a readable line."""
    data = (_NAME_IN_XML if xml else _NAME).sub(lambda match: chr(_NAMES[match[1]]), text).encode(charset)
    data = _CHECKED.sub(lambda match: b"\x02" + match[1] + bytes([reduce(xor, match[1])]), data)
    return _SUMMED.sub(lambda match: b"\x02" + match[1] + b"%02X" % (sum(match[1]) % 256), data)


def read_case(folder: Path) -> Case:
    case = Case(folder.name)
    lines: list[str] = []
    for line in (folder / "dialogue.txt").read_text("utf-8").splitlines():
        if line.startswith("  "):
            lines[-1] += line[2:]
        elif line and not line.startswith("#"):
            lines.append(line)
    for line in lines:
        if line.startswith("@ option "):
            case.options |= tomllib.loads(line.removeprefix("@ option "))
        elif line.startswith("@ "):
            _setting(case, line[2:].split())
        else:
            kind, _, text = line.partition(":")
            data = text.strip()
            case.steps.append((kind, data.encode() if kind == "wait" else _bytes(case, data)))
    expected = folder / "items.jsonl"
    case.items = [json.loads(each) for each in expected.read_text("utf-8").splitlines() if each]
    return case


def _bytes(case: Case, text: str) -> bytes:
    return bytes.fromhex(text) if case.hex else wire(text, case.charset, xml=case.xml)


def _setting(case: Case, words: list[str]) -> None:
    if words[0] == "now":
        case.now = datetime.fromisoformat(words[1]).replace(tzinfo=UTC)
    elif words[0] == "charset":
        case.charset = words[1]
    elif words[0] == "xml":
        case.xml = True
    elif words[0] == "hex":
        case.hex = True
    elif words[0] == "order":
        priority = words[2] if words[2] == "S" else "R"
        codes = tuple(word for word in words[2:] if word != "S")
        case.orders.setdefault(words[1], []).append(Order(words[1], codes, priority))
    else:
        raise ValueError(f"unknown setting: {words}")


def known(case: Case, items: Sequence[Item]) -> Mapping[str, Sequence[Order]]:
    """The orders a session hands to `respond`: for each queried specimen, or all."""
    if any(isinstance(item, HostQuery) and item.everything for item in items):
        return case.orders
    asked = [specimen for item in items if isinstance(item, HostQuery) for specimen in item.specimens]
    return {specimen: case.orders.get(specimen, []) for specimen in asked}


@dataclass
class Replay:
    """What a dialogue came to: each (expected, written) of the host, the items, the payloads."""

    answers: list[tuple[bytes, bytes]] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    left: bytes = b""


def replay(driver: Driver, case: Case, *, piece: int | None = None) -> Replay:
    """Play the instrument's side; `piece` cuts its bytes into runs of that length."""
    driver = driver.configured(case.options)
    link = driver.new_link()
    found = Replay()
    now = 0.0
    written = b""

    def serve(data: bytes) -> None:
        events = [*link.wake(now), *link.receive(data, now)]
        while events:
            event = events.pop(0)
            if isinstance(event, FrameReceived):
                events += link.acknowledge(event.frame_id, now)
            elif isinstance(event, MessageReceived):
                decoded = driver.decode(event.payload)
                found.payloads.append(event.payload)
                found.items += [item_to_json(item) for item in decoded.items]
                for reply in driver.respond(event.payload, decoded, known(case, decoded.items), case.now):
                    link.send(reply, now)
            events += link.wake(now)

    for kind, data in case.steps:
        if kind == "device":
            step = piece or max(len(data), 1)
            for start in range(0, len(data), step):
                serve(data[start : start + step])
        elif kind == "wait":
            now += float(data)
            serve(b"")
        elif kind == "host":
            found.answers.append((data, link.bytes_to_send()))
        else:
            raise ValueError(f"unknown line in a dialogue: {kind}")
    found.left = written + link.bytes_to_send()
    return found
