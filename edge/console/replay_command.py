"""`edge replay`: the raw archive of a box, or a captured file, read by a driver; nothing is stored or sent (GW-12).

From a box it prints one JSON object for each message with its items, what the box makes of it itself, and where both
differ; it reads the store beside the running daemon or without one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from edge.console.captures import instrument_bytes
from edge.console.replay import UnknownDriver, differences, driver_named, lines_of, reader_version
from edge.store.reader import Reader
from edge.terminal import json_line, write_line
from protocols.driver import Driver
from protocols.uplink.envelope import Message

_AT_ONCE = 50
_MOST_BYTES = 4 * 1024 * 1024


def replay_file(file: Path, driver_id: str | None) -> int:
    try:
        driver = driver_named(driver_id)
        data = instrument_bytes(file.read_bytes())
    except (UnknownDriver, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for each in lines_of(data, driver):
        write_line(json_line({**each.item, "driver": each.driver, "raw": each.source.decode("latin-1")}))
    return 0


def replay_store(store: Path, links: list[str], driver_id: str | None, first: int, last: int, *, changed: bool) -> int:
    """`changed`: only messages that are read differently now. 0: none is; 1: some are."""
    try:
        driver = driver_named(driver_id)
    except UnknownDriver as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not store.is_file():
        sys.stderr.write(f"there is no store at {store}\n")
        return 2
    read = differing = 0
    reader = Reader(store)
    try:
        for link in links:
            for message in _messages(reader, link, first, last):
                lines, found = differences(message, driver)
                read += 1
                differing += bool(found)
                if not changed or found:
                    write_line(
                        json_line(
                            {
                                "link": link,
                                "sequence": message.sequence,
                                "received_at": message.received_at.isoformat(),
                                "state": str(message.state),
                                "driver": message.driver,
                                "driver_version": message.driver_version,
                                "read_by": reader_version(driver or _one(lines[0].driver if lines else None)),
                                "items": [each.item for each in lines],
                                "differences": [asdict(each) for each in found],
                            }
                        )
                    )
    finally:
        reader.close()
    sys.stderr.write(f"{read} messages, {differing} of them read differently\n")
    return 1 if differing else 0


def _one(driver_id: str | None) -> Driver | None:
    return driver_named(driver_id)


def _messages(reader: Reader, link: str, first: int, last: int) -> Iterator[Message]:
    """In pieces: an archive does not fit into memory."""
    while True:
        found = reader.between(link, first, last, _AT_ONCE, _MOST_BYTES)
        if not found:
            return
        yield from found
        first = found[-1].sequence + 1
