"""JSON lines on standard error: one event per decision, ids and never names or values of patients.

A line that cannot be written (its file lies on the full disk, whoever read the pipe is gone) is counted and forgotten:
it must not become a fault of the task that wanted to say something, least of all of the one that watches the tasks.
"""

from __future__ import annotations

import io
import logging
import os
import sys

import structlog


class Lines:
    """What the logger writes to. Never raises."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._cut = False
        self.lost = 0
        """Lines that nobody can read, since the daemon started."""

    def write(self, text: str) -> None:
        data = (f"\n{text}" if self._cut else text).encode(errors="replace")
        try:
            written = os.write(self._standard_error(), data)
        except OSError:
            self.lost += 1
            return
        self.lost += written < len(data)
        self._cut = written < len(data)

    def flush(self) -> None:
        """Each line has gone already."""

    def _standard_error(self) -> int:
        if self._descriptor is None:
            try:
                self._descriptor = sys.stderr.fileno()
            except (AttributeError, ValueError, io.UnsupportedOperation):  # nobody gave us one, or a test's own
                self._descriptor = 2
        return self._descriptor


lines = Lines()


def set_up(level: int = logging.INFO) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(lines),  # type: ignore[arg-type]  # it needs no more of a file
        cache_logger_on_first_use=True,
    )
