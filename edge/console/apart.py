"""Reading with any driver in a process of its own: the daemon loads no other driver for it and waits for none.

    python -m edge.console.apart DRIVER < bytes

prints the driver's version, then one JSON object for each item.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from edge.console.replay import Line, UnknownDriver, driver_named, lines_of, reader_version
from protocols.driver import discover

_LONGEST_S = 30.0
_MOST_ITEMS = 2000


class CannotRead(Exception):
    """The reading process failed or took too long."""


async def read_apart(data: bytes, driver_id: str) -> tuple[str, list[Line]]:
    """The driver's version and what the bytes hold. Raises `UnknownDriver`, `CannotRead`."""
    if driver_id != "auto" and driver_id not in discover():
        raise UnknownDriver(driver_id)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edge.console.apart",
        driver_id,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_LONGEST_S):
            printed, _ = await process.communicate(data)
    except TimeoutError:
        raise CannotRead("it took too long") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise CannotRead(f"the reading process ended with {process.returncode}")
    head, *rest = printed.decode().splitlines()
    items = [json.loads(each) for each in rest]
    return head, [Line(each["driver"], each["item"], bytes.fromhex(each["source"])) for each in items]


def main() -> int:
    os.nice(10)  # the bench goes first
    driver = driver_named(sys.argv[1])
    lines = lines_of(sys.stdin.buffer.read(), driver, _MOST_ITEMS)
    out = [reader_version(driver)]
    out += [json.dumps({"driver": each.driver, "item": each.item, "source": each.source.hex()}) for each in lines]
    sys.stdout.write("\n".join(out) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
