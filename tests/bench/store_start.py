"""How long a start takes with a full buffer: ``./xinglin bench store-start --megabytes 400``.

The store's part of a start (open, the open frames of every link, how far each has come, the newest time), with a buffer
of some hundred megabytes beside an empty one, in the same run: after an orderly end, after a kill (a log of many pages
to go through), and with nothing of the file in the memory of the machine. Then what goes on behind the open links: the
check of the whole file, and the reading of it where a page is bad.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import structlog

from edge.clock import FLOOR, Moment
from edge.store.ledger import Ledger
from edge.store.rows import unread
from edge.store.store import Store
from tests.bench.edge_process import message_frames

_LINKS = 16
_GROUP = 500
_TRIES = 5
_LOG_MESSAGES = 300
_MB = 1024 * 1024


def fill(path: Path, size_bytes: int, *, close: bool = True) -> int:
    """A store of about this size, nothing delivered, one message of each link half received. How many messages."""
    frames = message_frames("2601")
    text = b"".join(each[2:-5] for each in frames)
    number = 0

    def group(ledger: Ledger) -> None:
        nonlocal number
        for _ in range(_GROUP):
            number += 1
            at = Moment(FLOOR + timedelta(seconds=number), True)
            ledger.keep(f"link-{number % _LINKS}", frames, at, (), unread(at, "sysmex_xn", text))

    store = Store(path, max_bytes=2**40)
    while path.stat().st_size < size_bytes:
        store.write(group)
    for link in range(_LINKS):
        at = Moment(FLOOR + timedelta(seconds=number), True)
        store.write(lambda ledger, link=link, at=at: ledger.keep(f"link-{link}", frames[:2], at))  # type: ignore[misc]
    store.close()
    return number


def start(path: Path) -> float:
    """Seconds until the daemon may open its ports, as far as the store is concerned."""
    began = time.perf_counter()
    with Store(path, max_bytes=2**40, check_after_s=3600) as store, closing(store.reader()) as reader:
        reader.newest_time()
        reader.open_frames()
        reader.positions()
        return time.perf_counter() - began


def killed(path: Path, folder: Path) -> Path:
    """A copy as a kill leaves it: the last messages stand in the log alone."""
    frames = message_frames("2602")
    with Store(path, max_bytes=2**40) as store:
        for number in range(_LOG_MESSAGES):
            at = Moment(FLOOR + timedelta(days=1, seconds=number), True)
            store.write(lambda ledger, at=at: ledger.keep("link-1", frames, at, (), unread(at, "sysmex_xn", b"x")))  # type: ignore[misc]
        for suffix in ("", "-wal"):
            shutil.copy(path.with_name(path.name + suffix), folder / f"killed.db{suffix}")
    return folder / "killed.db"


def _forgotten(path: Path) -> None:
    """Nothing of the file is in memory any more."""
    for each in path.parent.glob(path.name + "*"):
        descriptor = os.open(each, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _median_ms(prepare: Callable[[], Path]) -> float:
    return round(statistics.median(start(prepare()) for _ in range(_TRIES)) * 1000, 1)


def _behind_the_links(path: Path) -> dict[str, float | int]:
    """The check of a sound file, then a bad page: until it is known, and until everything is in the new file."""
    figures: dict[str, float | int] = {}
    path.with_name(path.name + "-wal").touch()  # as if nobody had closed it
    with Store(path, max_bytes=2**40, check_after_s=0) as store:
        began = time.perf_counter()
        while store.mending.checked == "under way":
            time.sleep(0.01)
        figures["check_s"] = round(time.perf_counter() - began, 1)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(random.Random(1).randbytes(4096))
    path.with_name(path.name + "-wal").touch()
    with Store(path, max_bytes=2**40, check_after_s=0) as store:
        began = time.perf_counter()
        longest, kept = 0.0, 0
        while store.mending.checked == "under way" or store.filling:
            at = Moment(FLOOR + timedelta(days=2), True)
            asked = time.perf_counter()
            store.write(lambda ledger, at=at: ledger.keep("link-1", [b"live"], at, (), unread(at, "sysmex_xn", b"x")))  # type: ignore[misc]
            longest, kept = max(longest, time.perf_counter() - asked), kept + 1
            time.sleep(0.005)
        figures["mended_s"] = round(time.perf_counter() - began, 1)
        figures["kept_meanwhile"], figures["longest_commit_ms"] = kept, round(longest * 1000, 1)
        [said] = store.condition()["damage"]["files"]
        figures |= {key: said[key] for key in ("frames", "messages", "rebuilt", "lost")}
    return figures


def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    parser = argparse.ArgumentParser(prog="./xinglin bench store-start", description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the system's temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="store-start-", dir=arguments.folder) as name:
        folder = Path(name)
        empty, full = folder / "empty.db", folder / "full.db"
        fill(empty, 0)
        began = time.perf_counter()
        messages = fill(full, arguments.megabytes * _MB)
        figures: dict[str, object] = {
            "megabytes": round(full.stat().st_size / _MB),
            "messages": messages,
            "filled_in_s": round(time.perf_counter() - began, 1),
        }
        log = killed(full, folder)

        def after_a_kill() -> Path:
            for suffix in ("", "-wal"):
                shutil.copy(log.with_name(log.name + suffix), folder / f"again.db{suffix}")
            return folder / "again.db"

        def cold() -> Path:
            _forgotten(full)
            return full

        figures["empty_ms"] = _median_ms(lambda: empty)
        figures["full_ms"] = _median_ms(lambda: full)
        figures["full_cold_ms"] = _median_ms(cold)
        figures["full_after_a_kill_ms"] = _median_ms(after_a_kill)
        figures["times_the_empty_one"] = round(float(str(figures["full_ms"])) / float(str(figures["empty_ms"])), 2)
        figures["behind_the_links"] = _behind_the_links(folder / "again.db")
        print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
