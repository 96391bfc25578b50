"""Captures that run: each is a task that writes what it hears, in the console's thread, until it is ended."""

from __future__ import annotations

import asyncio

import structlog

from edge.console.box import Box
from edge.console.captures import Capture, Captures
from edge.console.tap import Taps, Watch

_LOOK_S = 0.5

log = structlog.get_logger()


class Recording:
    def __init__(self, captures: Captures, taps: Taps, box: Box) -> None:
        self._captures, self._taps, self._box = captures, taps, box
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, link: str) -> Capture:
        """Raises `CaptureRefused`."""
        capture = self._captures.begin(link)
        self._tasks[link] = asyncio.create_task(self._run(link, capture))
        log.info("capture.began", link=link, file=capture.file.name)
        return capture

    async def end(self, link: str) -> None:
        """What was heard until now is in the file when this returns."""
        task = self._tasks.pop(link, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._captures.end(link)

    async def close(self) -> None:
        for link in list(self._tasks):
            await self.end(link)

    async def _run(self, link: str, capture: Capture) -> None:
        with Watch(self._taps, link) as watch:
            try:
                while not capture.ended:
                    pieces = await watch.pieces(_LOOK_S)
                    await self._box.work(self._captures.write, capture, pieces)
            finally:
                self._captures.write(capture, watch.rest())
        log.info("capture.ended", link=link, file=capture.file.name, bytes=capture.size)
