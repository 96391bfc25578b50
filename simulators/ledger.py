"""A simulator's own account of what it did: one JSON object a line, appended and flushed, never rewritten.

A line is in the operating system's hands before the next act, so it outlives a killed simulator. Times are seconds
since the epoch (`t`) and are this machine's: all simulators of one run share one clock.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

Entry = dict[str, Any]


class Ledger:
    """Appends entries. Safe to share between the threads of one process."""

    def __init__(self, path: Path | None, source: str) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")

    def write(self, event: str, **fields: Any) -> Entry:
        """Append one entry and hand it back."""
        entry: Entry = {"t": time.time(), "source": self.source, "event": event, **fields}
        if self._file is not None:
            line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n"
            with self._lock:
                self._file.write(line)
                self._file.flush()
        return entry

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class LedgerReader:
    """Follows a ledger that another process is writing: each `new()` gives the entries since the last one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._rest = b""

    def new(self) -> list[Entry]:
        """Whole lines only; a line that is still being written is given next time."""
        try:
            if self.path.stat().st_size == self._offset:
                return []
        except FileNotFoundError:
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines if line]


def read_ledger(path: Path) -> Iterator[Entry]:
    """Every entry written so far."""
    yield from LedgerReader(path).new()
